"""Reading checkpoints safely, and knowing whose they are."""

from nemd_toolkit.checkpoints.checkpoint import Checkpoint, checkpoint_from, read_checkpoint
from nemd_toolkit.checkpoints.columns import embedding_columns
from nemd_toolkit.checkpoints.content import Content
from nemd_toolkit.checkpoints.layouts import (
    STATE_DICT,
    Branch,
    Head,
    ImageInfo,
    OwnPrototypes,
    State,
    layout_names,
)
from nemd_toolkit.checkpoints.layouts.configured import timm_image
from nemd_toolkit.checkpoints.layouts.inputs import channelled
from nemd_toolkit.checkpoints.safe_reading import read_content, sha256
from nemd_toolkit.checkpoints.stubs import Stub
from nemd_toolkit.checkpoints.training_log import LoggedLoss, TrainingLog, epoch_of_line
from nemd_toolkit.checkpoints.wording import shown

__all__ = [
    "STATE_DICT",
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
    "channelled",
    "checkpoint_from",
    "embedding_columns",
    "epoch_of_line",
    "layout_names",
    "read_checkpoint",
    "read_content",
    "sha256",
    "shown",
    "timm_image",
]
