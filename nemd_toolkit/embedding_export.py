"""Embedding images into a file, going on where a killed run stopped: `nemd embed`."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit import ranks
from nemd_toolkit.embedding_cache import cache_folder, cached_rows, keep_rows
from nemd_toolkit.embedding_files import require_writable, save_embeddings
from nemd_toolkit.embedding_parts import Parts
from nemd_toolkit.embedding_run import embed_into
from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.encoder_choice import LoadReport
from nemd_toolkit.encoding_pass import EncodingPass
from nemd_toolkit.errors import InputError
from nemd_toolkit.folder_lock import alone_at
from nemd_toolkit.sphere import to_sphere

__all__ = ["EmbeddedFile", "embed_to_file"]

_ROWS = 65_536  # at a time in memory, for .npy


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedFile:
    """What was written, and how it came about."""

    path: Path
    count: int
    dim: int  # 0 in processes other than the first, which writes
    transform: str  # what happened to the pixels, in a sentence
    precision: str
    resumed: int  # rows that an earlier run had left
    from_cache: bool
    loaded: LoadReport  # which weights are in the encoder
    left_out: tuple[str, ...]  # labels and ids, where the format holds vectors alone


def embed_to_file(
    ready: EncodingPass, path: Path, cache: Path | str | None = None, *, seconds: float = 10.0
) -> EmbeddedFile:
    """Embed and write unit vectors, labels and ids; the suffix tells the format.

    Rows are kept in `PATH.parts/` until the file is there: a run that was killed goes on from
    them, with the same bytes in the end, and loses `seconds` of work at most. Only .npy is written
    without holding all rows in memory. `cache` is as in `embed`.

    Raises InputError for formats that cannot hold the ids, for a transform that is a function, for
    images of which nobody knows whether they changed, a file that another run is writing, and as
    `embed`.
    """
    _require_fitting(ready, path)
    assert ready.key is not None  # looked at before
    folder = cache_folder(cache)
    with ExitStack() as held:
        try:
            ranks.first("the file", lambda: held.enter_context(alone_at(path)))
            rows = cached_rows(folder, ready.key, ready.images.count)
            if ranks.everywhere(rows is not None) and rows is not None:
                parts, before = Parts(_folder(path), {0: rows}, seconds), 0
            else:
                rows = None
                parts, before = embed_into(ready, _folder(path), ready.key, seconds=seconds)
            dim = ranks.first("the file", lambda: _whole(ready, parts, path, folder, rows is None))
        except OSError as error:
            raise InputError(
                f"{path}: expected a place to write to, got {error.strerror or error}; free or "
                "choose another, the rows so far are kept"
            ) from None
    alone = path.suffix.lower() == ".npy"
    return EmbeddedFile(
        path=path,
        count=ready.images.count,
        dim=dim or 0,
        transform=ready.described,
        precision=ready.precision,
        resumed=before,
        from_cache=rows is not None,
        loaded=ready.loaded,
        left_out=tuple(_columns(ready)) if alone else (),
    )


def _require_fitting(ready: EncodingPass, path: Path) -> None:
    require_writable(path)  # before the work, not after it
    text = [name for name, column in _columns(ready).items() if column.dtype.kind in "US"]
    if path.suffix.lower() == ".safetensors" and text:
        raise InputError(
            f"{path}: expected numbers only, got text in {', '.join(text)}; use .npz or .parquet"
        )
    if ready.key is None:
        raise InputError(
            f"{path}: expected images from files, transform and encoder by name, got others: "
            "such a run cannot go on later; use embed and save_embeddings"
        )


def _columns(ready: EncodingPass) -> dict[str, np.ndarray]:
    columns = {"labels": ready.images.labels, "ids": ready.images.ids}
    return {name: column for name, column in columns.items() if column is not None}


def _folder(path: Path) -> Path:
    return path.with_name(f"{path.name}.parts")


def _whole(ready: EncodingPass, parts: Parts, path: Path, cache: Path | None, new: bool) -> int:
    """Write the file from its parts, and remove them."""
    dim = int(next(iter(parts.pieces.values())).shape[1])
    if new:
        keep_rows(cache, ready.key, parts.blocks(_ROWS), parts.count, dim)
    parts.folder.mkdir(parents=True, exist_ok=True)
    _write(ready, parts, path)
    parts.remove()
    return dim


def _write(ready: EncodingPass, parts: Parts, path: Path) -> None:
    """Write in the folder of parts, where a killed run's leftovers are found, then move."""
    whole = parts.folder / f"whole{path.suffix}"
    try:
        if path.suffix.lower() == ".npy":
            _write_mapped(parts, whole, ready.images.count)
        else:
            rows, images = torch.cat(list(parts.blocks(_ROWS))), ready.images
            save_embeddings(Embeddings(rows, labels=images.labels, ids=images.ids), whole)
    except InputError as error:
        raise InputError(str(error).replace(str(whole), str(path))) from None
    whole.replace(path)


def _write_mapped(parts: Parts, path: Path, count: int) -> None:
    shape = (count, next(iter(parts.pieces.values())).shape[1])
    mapped = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    start = 0
    for unit in _unit_blocks(parts):
        mapped[start : start + len(unit)] = unit.numpy()
        start += len(unit)
    mapped.flush()


def _unit_blocks(parts: Parts) -> Iterator[Float[Tensor, "n d"]]:
    start = 0
    for block in parts.blocks(_ROWS):
        stop = start + len(block)
        name = "embeddings" if stop == parts.count else f"embeddings {start:,}…{stop - 1:,}"
        yield to_sphere(block, name=name)
        start = stop
