"""Whose checkpoint is it? One table line per layout; the first whose names fit answers."""

from nemd_toolkit.checkpoints.layouts.parts import (
    Activation,
    Branch,
    Head,
    ImageInfo,
    OwnPrototypes,
    Reading,
    State,
)
from nemd_toolkit.checkpoints.layouts.reading import LAYOUTS, STATE_DICT, layout_names, read_layout

__all__ = [
    "LAYOUTS",
    "STATE_DICT",
    "Activation",
    "Branch",
    "Head",
    "ImageInfo",
    "OwnPrototypes",
    "Reading",
    "State",
    "layout_names",
    "read_layout",
]
