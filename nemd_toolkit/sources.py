"""From what a user points at (a checkpoint, embeddings, an array) to embeddings to analyse."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemd_toolkit import ranks
from nemd_toolkit.checkpoints import (
    STATE_DICT,
    Checkpoint,
    TrainingLog,
    embedding_columns,
    read_content,
    sha256,
)
from nemd_toolkit.embedding_arrays import read_npy
from nemd_toolkit.embedding_files import embeddings_from, load_embeddings
from nemd_toolkit.embedding_shards import is_sharded, shard_files
from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.encoder_choice import Encoder
from nemd_toolkit.encoding import checkpoint_for, embed_pass, prepare_pass
from nemd_toolkit.encoding_pass import EncodingPass
from nemd_toolkit.errors import InputError
from nemd_toolkit.images import Images
from nemd_toolkit.measures.neural_collapse import LinearHead

__all__ = ["Opened", "open_source", "read_labels"]

_TABLES = {".npy", ".npz", ".parquet"}  # never checkpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Embeddings, and what is known of where they come from."""

    embeddings: Embeddings
    checkpoint: Checkpoint | None
    name: str
    sha256: str | None
    layout: str
    layer: str | None
    data: str | None
    spec: str | None  # `data` as it was given
    labels: str | None  # where labels came from, if not with the embeddings
    branch: str | None = None  # of the checkpoint
    encoder: str | None = None  # that the user gave, as a report names it
    images: Images | None = None  # that were embedded, in the order of the rows

    @property
    def default_branch(self) -> bool:
        """Whether the branch is the one that the layout takes by itself."""
        return self.checkpoint is None or self.branch == self.checkpoint.default_branch

    @property
    def log(self) -> TrainingLog | None:
        """Of the training that the checkpoint comes from, where it is known."""
        return self.checkpoint.log if self.checkpoint else None

    @property
    def head(self) -> LinearHead | None:
        """Classifier of a plain ResNet, where it reads the layer analysed and knows as many labels.

        Which row is which label no file says: rows are taken in the labels' sorted order, as
        torchvision's ImageFolder numbers classes.
        """
        labels = self.embeddings.labels
        if self.checkpoint is None or labels is None or self.layer != "backbone":
            return None
        if self.encoder is not None:  # what it gives need not be what the classifier read
            return None
        head = self.checkpoint.branch(self.branch).head("classifier")
        weights = head.state.get("weight") if head else None
        bias = head.state.get("bias") if head else None
        if weights is None or bias is None:
            return None
        fits = tuple(weights.shape) == (len(np.unique(labels)), self.embeddings.dim)
        trained = bool(weights.any() & weights.isfinite().all() & bias.isfinite().all())
        return LinearHead(weights=weights.float(), bias=bias.float()) if fits and trained else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Embedding:
    """How a checkpoint's encoder is to embed images; nothing of it is for embeddings."""

    data: str | None
    layer: str | None
    split: str
    device: str
    cache: Path | str | None
    layout: str | None
    branch: str | None
    encoder: Encoder | None

    def refuse(self) -> None:
        """Raise InputError for the first of these that was asked for, with embeddings."""
        asked = {
            "data": self.data,
            "layer": self.layer,
            "split": None if self.split == "train" else self.split,
            "device": None if self.device == "cpu" else self.device,
            "layout": self.layout,
            "branch": self.branch,
            "encoder": self.encoder,
        }
        for option, value in asked.items():
            if value is not None:
                given = repr(value) if isinstance(value, str) else type(value).__name__
                raise InputError(
                    f"--{option}: expected with a checkpoint only, got {given} with embeddings; "
                    "leave it out"
                )


def open_source(
    source: Any,
    data: str | None,
    *,
    layer: str | None = None,
    split: str = "train",
    labels: Sequence[Any] | NDArray[Any] | Path | str | None = None,
    device: str = "cpu",
    cache: Path | str | None = None,
    layout: str | None = None,
    branch: str | None = None,
    encoder: Encoder | None = None,
) -> Opened:
    """Give the embeddings of a source: Embeddings, an array, a Checkpoint, or a path to a file.

    A checkpoint needs `data`, the images to embed; `layer` is then by default the projector, where
    the losses and NEMD live, or the backbone where there is none; `cache`, `layout`, `branch` and
    `encoder` as in `embed`. `labels` replace the ones that came along. Raises InputError for
    anything that cannot be opened.
    """
    options = _Embedding(
        data=data,
        layer=layer,
        split=split,
        device=device,
        cache=cache,
        layout=layout,
        branch=branch,
        encoder=encoder,
    )
    if isinstance(source, (str, Path)):
        opened = _open_file(Path(source), options)
    elif isinstance(source, Checkpoint):
        opened = _open_checkpoint(source, options)
    else:
        options.refuse()
        embeddings = source if isinstance(source, Embeddings) else Embeddings(source)
        opened = _given(embeddings, "array in memory", None, "array")
    if labels is None:
        return opened
    named = isinstance(labels, (str, Path))
    values = read_labels(labels) if isinstance(labels, (str, Path)) else labels
    if ranks.workers() > 1:
        ranks.alike({"labels": hashlib.sha256(repr(list(values)).encode()).hexdigest()})
    return replace(
        opened,
        embeddings=opened.embeddings.with_labels(values),
        labels=str(labels) if named else "LABELS",
    )


def _open_file(path: Path, options: _Embedding) -> Opened:
    if is_sharded(path):
        options.refuse()
        files = ranks.together(str(path), lambda: shard_files(path))
        embeddings = ranks.together(str(path), lambda: load_embeddings(path))
        layout = f"embeddings ({len(files):,} shards, {files[0].suffix[1:].lower()})"
        return _given(embeddings, str(path), sha256(path, files), layout)
    if path.suffix.lower() in _TABLES and not path.is_dir():
        embeddings = ranks.together(str(path), lambda: load_embeddings(path))
    else:
        content = ranks.together(str(path), lambda: read_content(path))
        if embedding_columns(content) is None:
            checkpoint = checkpoint_for(content, options.layout, options.encoder)
            return _open_checkpoint(checkpoint, options)
        embeddings = embeddings_from(content)
    options.refuse()
    return _given(embeddings, str(path), sha256(path), f"embeddings ({path.suffix[1:].lower()})")


def _given(embeddings: Embeddings, name: str, digest: str | None, layout: str) -> Opened:
    ranks.alike({name: digest})
    return Opened(
        embeddings=embeddings,
        checkpoint=None,
        name=name,
        sha256=digest,
        layout=layout,
        layer=None,
        data=None,
        spec=None,
        labels=None,
    )


def _open_checkpoint(checkpoint: Checkpoint, options: _Embedding) -> Opened:
    data = options.data
    if data is None:
        raise _without_images(checkpoint)
    layer = options.layer or _default_layer(checkpoint, options)
    ready = _prepared(checkpoint, data, layer, options)
    return Opened(
        embeddings=embed_pass(ready, options.cache),
        checkpoint=checkpoint,
        name=str(checkpoint.path),
        sha256=checkpoint.sha256,
        layout=checkpoint.layout,
        layer=layer,
        data=data if options.split == "train" else f"{data} ({options.split})",
        spec=data,
        labels=None,
        branch=ready.branch,
        encoder=ready.encoder,
        images=ready.images,
    )


def _without_images(checkpoint: Checkpoint) -> InputError:
    known = f" (it was trained on {checkpoint.data})" if checkpoint.data else ""
    own = any(branch.prototypes for branch in checkpoint.branches.values())
    alone = (
        f"; without images, nemd inspect {checkpoint.path} shows whether the vectors of its "
        "own prototypes repeat one another or collapse, and no more than that"
    )
    return InputError(
        f"{checkpoint.path}: expected images to embed with this checkpoint{known}, got none; "
        f"add for instance --data digits or --data folder:DIR{alone if own else ''}"
    )


def _prepared(checkpoint: Checkpoint, data: str, layer: str, options: _Embedding) -> EncodingPass:
    """Prepare a pass that is the same in all processes."""
    # float32: an analysis looks for collapse down to the level of rounding
    prepare = partial(
        prepare_pass,
        checkpoint,
        data,
        layer,
        split=options.split,
        layout=options.layout,
        branch=options.branch,
        encoder=options.encoder,
        device=options.device,
        precision="float32",
    )
    ready: EncodingPass = ranks.together("images and encoder", prepare)
    ranks.alike({str(checkpoint.path): checkpoint.sha256, data: repr(ready.key)})
    return ready


def _default_layer(checkpoint: Checkpoint, options: _Embedding) -> str:
    if checkpoint.layout == STATE_DICT.name:  # its branches are known when its encoder is
        return "backbone"
    return checkpoint.branch(options.branch).default_layer


def read_labels(path: Path | str) -> NDArray[Any]:
    """Read labels, one per row: .npy (one-dimensional), or text with one label per line."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a file of labels, got none; check the path")
    if path.suffix.lower() == ".npy":
        return read_npy(path)["vectors"]
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(
            f"{path}: expected .npy, or UTF-8 text with one label per line, got other bytes"
        ) from None
    return np.array([line.rstrip("\r") for line in text.removesuffix("\n").split("\n")])
