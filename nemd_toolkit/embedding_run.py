"""A pass into a folder of parts: each process embeds a share of what is not there yet."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit import ranks
from nemd_toolkit.embedding_cache import Key, cached_rows, keep_rows
from nemd_toolkit.embedding_parts import Parts, open_parts
from nemd_toolkit.encoding_pass import EncodingPass
from nemd_toolkit.errors import InputError
from nemd_toolkit.progress import note

__all__ = ["embed_into", "embedded_rows"]

_FOLDER = "embeddings.parts"
_SECONDS = 10.0  # of work that a kill can cost
_BLOCK = 65_536  # rows at a time in memory
_TRIES = 3  # a disk on which files are not as they were written so often is broken


def embed_into(
    ready: EncodingPass,
    folder: Path,
    key: Key,
    *,
    seconds: float = _SECONDS,
    to_disk: bool = True,
) -> tuple[Parts, int]:
    """Embed what the folder does not hold; the parts, and how many rows were there before.

    Images are shared in whole batches, so that rows do not depend on the number of processes. The
    first process has all the parts in the end: what others wrote it reads with its checksum, and
    files that are not whole are made anew. to_disk=False: where nothing needed to be written
    before the end, rows stay in memory (`Parts.unwritten`).
    """
    count = ready.images.count

    def opened() -> Parts:
        return open_parts(folder, key, batch=ready.batch, count=count, seconds=seconds)

    parts = ranks.first("the folder of parts", opened) or Parts(folder, {}, seconds)
    before = parts.count
    if before:
        note(f"going on after {before:,} of {count:,} rows in {folder}")
    for _ in range(_TRIES):
        gaps = parts.missing(count) if ranks.rank() == 0 else []
        gaps = ranks.gathered(torch.tensor(gaps, dtype=torch.long).reshape(-1, 2)).tolist()
        if not gaps:
            return parts, before
        for first, stop in _share(gaps, ready.batch):
            for place, rows in zip(
                range(first, stop, ready.batch), ready.rows(first, stop), strict=True
            ):
                parts.append(place, rows)
        if parts.pieces or to_disk or ranks.workers() > 1:
            parts.flush()
            _hand_over(parts)
        else:
            return parts, before
    raise InputError(f"{folder}: expected files as they were written, got others; check the disk")


def _share(gaps: Sequence[Sequence[int]], batch: int) -> list[tuple[int, int]]:
    """Give the runs of this process: of all batches of the gaps, in order, an equal part."""
    starts = [start for first, stop in gaps for start in range(first, stop, batch)]
    ends = [min(start + batch, stop) for first, stop in gaps for start in range(first, stop, batch)]
    edges = ranks.cuts(len(starts))
    rank = ranks.rank() if ranks.workers() > 1 else 0
    own: list[tuple[int, int]] = []
    for place in range(edges[rank], edges[rank + 1]):
        first = own.pop()[0] if own and own[-1][1] == starts[place] else starts[place]
        own.append((first, ends[place]))
    return own


def _hand_over(parts: Parts) -> None:
    """Let the first process have the pieces of all."""
    if ranks.workers() == 1:
        return
    written = ranks.gathered(torch.tensor(sorted(parts.pieces), dtype=torch.long)).tolist()
    if ranks.rank():
        parts.pieces = {}
        return
    for first in written:
        if first not in parts.pieces and not parts.take(first):
            note(f"{parts.folder}: rows from {first:,} on are damaged: embedding them anew")


def embedded_rows(ready: EncodingPass, place: Path, cache: Path | None) -> Float[Tensor, "n d"]:
    """Give all rows of a pass, which a run that was killed goes on with from parts in `place`.

    Several processes map them from one file there. `cache` is where they are kept for later.
    """
    key = ready.key or {"once": str(int(ranks.agreed(torch.tensor(_random()))))}
    found = [cached_rows(folder, ready.key, ready.images.count) for folder in (cache, place)]
    for rows in found:
        if ranks.everywhere(rows is not None) and rows is not None:
            return rows
    alone = ranks.workers() == 1
    parts, _ = embed_into(ready, place / _FOLDER, key, to_disk=not alone)
    rows = parts.unwritten()
    if rows is None:
        ranks.first("the file of embeddings", lambda: _keep(parts, place, key))
        rows = cached_rows(place, key, ready.images.count)
    if not ranks.everywhere(rows is not None) or rows is None:
        raise InputError(
            f"{place}: expected a file of embeddings that all processes can read, got none; give "
            "an --out with enough room, on storage that they share"
        )
    if ranks.rank() == 0:
        keep_rows(cache, ready.key, rows.split(_BLOCK), *rows.shape)
        if (place / _FOLDER).is_dir():
            parts.remove()
    return rows


def _random() -> int:
    return int.from_bytes(os.urandom(7))


def _keep(parts: Parts, place: Path, key: Key) -> None:
    dim = next(iter(parts.pieces.values())).shape[1]
    keep_rows(place, key, parts.blocks(_BLOCK), parts.count, dim)
