"""Reading checkpoints safely, and knowing whose they are."""

from nemd_toolkit.checkpoints.checkpoint import Checkpoint, checkpoint_from, read_checkpoint
from nemd_toolkit.checkpoints.columns import embedding_columns
from nemd_toolkit.checkpoints.content import Content
from nemd_toolkit.checkpoints.layouts import (
    Branch,
    Head,
    ImageInfo,
    OwnPrototypes,
    State,
    layout_names,
)
from nemd_toolkit.checkpoints.safe_reading import read_content, sha256
from nemd_toolkit.checkpoints.stubs import Stub
from nemd_toolkit.checkpoints.training_log import LoggedLoss, TrainingLog
from nemd_toolkit.checkpoints.wording import shown

__all__ = [
    "Branch",
    "Checkpoint",
    "Content",
    "Head",
    "ImageInfo",
    "LoggedLoss",
    "OwnPrototypes",
    "State",
    "Stub",
    "TrainingLog",
    "checkpoint_from",
    "embedding_columns",
    "layout_names",
    "read_checkpoint",
    "read_content",
    "sha256",
    "shown",
]
