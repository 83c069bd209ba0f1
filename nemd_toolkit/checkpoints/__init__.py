"""Reading checkpoints safely, and knowing whose they are."""

from nemd_toolkit.checkpoints.checkpoint import (
    Checkpoint,
    ImageInfo,
    OwnPrototypes,
    checkpoint_from,
    read_checkpoint,
)
from nemd_toolkit.checkpoints.columns import embedding_columns
from nemd_toolkit.checkpoints.safe_reading import Content, read_content, sha256
from nemd_toolkit.checkpoints.training_log import LoggedLoss, TrainingLog
from nemd_toolkit.checkpoints.wording import shown

__all__ = [
    "Checkpoint",
    "Content",
    "ImageInfo",
    "LoggedLoss",
    "OwnPrototypes",
    "TrainingLog",
    "checkpoint_from",
    "embedding_columns",
    "read_checkpoint",
    "read_content",
    "sha256",
    "shown",
]
