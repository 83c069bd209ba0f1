"""Which of a checkpoint's encoders a course reads: the one that is trained."""

from pathlib import Path

from nemd_toolkit.checkpoints import read_checkpoint
from nemd_toolkit.errors import NemdError

__all__ = ["SLOW", "TRAINED", "trained_branch"]

SLOW = ("key", "teacher", "target", "momentum")  # slow means of the trained encoder
TRAINED = ("query", "student", "online")


def trained_branch(path: Path) -> str | None:
    """Give the trained encoder where the layout takes its slow mean by default; else None.

    A mean of many steps shows a sudden collapse epochs later. None as well for what is no
    checkpoint of a known layout: opening it says what is wrong.
    """
    try:
        checkpoint = read_checkpoint(path)
    except NemdError:
        return None
    if checkpoint.default_branch not in SLOW:
        return None
    return next((name for name in TRAINED if name in checkpoint.branches), None)
