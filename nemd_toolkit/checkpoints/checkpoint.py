"""A checkpoint as the rest of the toolkit sees it: encoders, their input, their prototypes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nemd_toolkit.checkpoints.columns import embedding_columns
from nemd_toolkit.checkpoints.content import Container, Content
from nemd_toolkit.checkpoints.layouts import Branch, ImageInfo, OwnPrototypes, State, read_layout
from nemd_toolkit.checkpoints.layouts.names import tensors
from nemd_toolkit.checkpoints.safe_reading import read_content, sha256
from nemd_toolkit.checkpoints.training_log import TrainingLog
from nemd_toolkit.errors import InputError, UnknownLayout

__all__ = ["Checkpoint", "checkpoint_from", "read_checkpoint"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """Encoders read from a file, with what the file says of their training."""

    path: Path
    sha256: str
    container: Container
    stubs: tuple[str, ...]  # classes and functions that the file names, not executed
    layout: str  # one of `layout_names()`
    title: str  # whose layout that is
    why: str  # what in the file told the layout
    arch: str | None
    epoch: int | None
    method: str | None
    data: str | None  # the spec of the images it was trained on
    image: ImageInfo
    branches: Mapping[str, Branch] = field(repr=False)
    default_branch: str  # the one that prototypes are made from
    settings: Mapping[str, object] = field(repr=False)  # hyper-parameters, text and numbers only
    log: TrainingLog | None = field(repr=False, default=None)  # of its training, as far as known
    tensors: State = field(repr=False, default_factory=dict)  # all, by the names in the file

    @property
    def prototypes(self) -> tuple[OwnPrototypes, ...]:
        """Own prototypes of the default branch; `branch(name).prototypes` are those of another."""
        return self.branch().prototypes

    def branch(self, name: str | None = None) -> Branch:
        """Give a branch, by default the one that prototypes are made from.

        Raises InputError for a branch that this checkpoint lacks.
        """
        name = name or self.default_branch
        if name not in self.branches:
            raise InputError(
                f"{self.path}: expected one of the branches {', '.join(self.branches)}, got "
                f"{name!r}; choose one of those"
            )
        return self.branches[name]


def read_checkpoint(path: Path | str, layout: str | None = None) -> Checkpoint:
    """Read a checkpoint, recognising its layout by its keys unless `layout` names it.

    Raises InputError for missing, damaged or unsafe files, UnknownLayout if no layout fits.
    """
    return checkpoint_from(read_content(path), layout)


def checkpoint_from(content: Content, layout: str | None = None) -> Checkpoint:
    """Interpret what was read from a file; as `read_checkpoint`, without reading twice."""
    if embedding_columns(content) is not None:
        raise UnknownLayout(
            f"{content.path}: expected a checkpoint, got embeddings; use load_embeddings"
        )
    reading = read_layout(content, layout)
    return Checkpoint(
        path=content.path,
        sha256=sha256(content.path),
        container=content.container,
        stubs=content.stubs,
        layout=reading.layout,
        title=reading.title,
        why=reading.why,
        arch=reading.arch,
        epoch=reading.epoch,
        method=reading.method,
        data=reading.data,
        image=reading.image,
        branches=reading.branches,
        default_branch=reading.default_branch,
        settings=reading.settings,
        log=reading.log,
        tensors=tensors(content.data),
    )
