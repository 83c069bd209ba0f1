"""A checkpoint as the rest of the toolkit sees it: encoders, their input, their prototypes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from nemd_toolkit.checkpoints.columns import embedding_columns
from nemd_toolkit.checkpoints.layouts import (
    LAYOUTS,
    ImageInfo,
    OwnPrototypes,
    describe_contents,
)
from nemd_toolkit.checkpoints.safe_reading import Content, read_content, sha256
from nemd_toolkit.checkpoints.training_log import TrainingLog
from nemd_toolkit.errors import InputError, UnknownLayout

__all__ = ["Checkpoint", "ImageInfo", "OwnPrototypes", "checkpoint_from", "read_checkpoint"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """Encoders read from a file, with what the file says of their training."""

    path: Path
    sha256: str
    layout: str  # a key of LAYOUTS
    why: str  # what in the file told the layout
    arch: str | None
    epoch: int | None
    method: str | None
    data: str | None  # the spec of the images it was trained on
    image: ImageInfo
    branches: Mapping[str, Mapping[str, Tensor]] = field(repr=False)  # encoder state dicts
    default_branch: str  # the one that prototypes are made from
    prototypes: tuple[OwnPrototypes, ...] = field(repr=False)
    log: TrainingLog | None = field(repr=False, default=None)  # of its training, as far as known

    def branch(self, name: str | None = None) -> Mapping[str, Tensor]:
        """State dict of a branch, by default the one that prototypes are made from.

        Raises InputError for a branch that this checkpoint lacks.
        """
        name = name or self.default_branch
        if name not in self.branches:
            raise InputError(
                f"{self.path}: expected one of the branches {', '.join(self.branches)}, got "
                f"{name!r}; choose one of those"
            )
        return self.branches[name]


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint, recognising its layout by its keys.

    Raises InputError for missing, damaged or unsafe files, UnknownLayout if no layout fits.
    """
    return checkpoint_from(read_content(path))


def checkpoint_from(content: Content) -> Checkpoint:
    """Interpret what was read from a file; as `read_checkpoint`, without reading twice."""
    for name, read in LAYOUTS.items():
        reading = read(content)
        if reading is not None:
            return Checkpoint(
                path=content.path,
                sha256=sha256(content.path),
                layout=name,
                why=reading.why,
                arch=reading.arch,
                epoch=reading.epoch,
                method=reading.method,
                data=reading.data,
                image=reading.image,
                branches=reading.branches,
                default_branch=reading.default_branch,
                prototypes=reading.prototypes,
                log=reading.log,
            )
    if embedding_columns(content) is not None:
        raise UnknownLayout(
            f"{content.path}: expected a checkpoint, got embeddings; use load_embeddings"
        )
    raise UnknownLayout(
        f"{content.path}: expected one of the layouts {', '.join(LAYOUTS)}, got "
        f"{describe_contents(content)}; save the encoder's state dict, or embed the images "
        "yourself and give the embeddings"
    )
