"""Embeddings kept for later: what a pass through an encoder depends on, and a folder of results.

The folder is `--cache DIR`, or the environment's NEMD_CACHE; without either nothing is kept. Files
are named by a digest of everything that the rows depend on, so that none is ever taken for another.
Nothing is removed: delete files, or the folder, at will.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.checked_rows import read_rows, write_rows
from nemd_toolkit.checkpoints import Checkpoint
from nemd_toolkit.errors import InputError
from nemd_toolkit.images import Images
from nemd_toolkit.progress import note

__all__ = ["Key", "cache_folder", "cached_rows", "keep_rows", "pass_key"]

Key = Mapping[str, str]
_SCHEMA = "nemd-rows/3"


def pass_key(checkpoint: Checkpoint, images: Images, **options: object) -> Key | None:
    """All that the rows of a pass depend on; None if nobody knows what the images rest on.

    That is the digest of the checkpoint's file, the images' name, split, number, size, ids and
    stamp (bytes in memory, or sizes and times of files), the options given here, and torch's
    version. Not the number of threads, which moves the last bit on some processors.
    """
    if images.stamp is None:
        return None
    ids = "\n".join(map(str, images.ids.tolist()))
    return {
        "schema": _SCHEMA,
        "torch": torch.__version__,
        "weights": checkpoint.sha256,
        "images": f"{images.name} ({images.split})",
        "count": str(images.count),
        "shape": f"{images.channels} x {images.size[0]} x {images.size[1]}",
        "ids": hashlib.sha256(ids.encode()).hexdigest(),
        "stamp": images.stamp,
    } | {name: str(value) for name, value in options.items()}


def cache_folder(given: Path | str | None) -> Path | None:
    """Give the folder to keep rows in: the one given, else that of NEMD_CACHE, else none.

    Raises InputError for one that cannot be made or written to.
    """
    named = given or os.environ.get("NEMD_CACHE")
    if not named:
        return None
    folder = Path(named)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
        reason = "no permission to write there"
    except OSError as error:
        writable, reason = False, error.strerror or str(error)
    if not writable:
        raise InputError(
            f"{folder}: expected a folder to keep embeddings in, got {reason}; choose another "
            "--cache or NEMD_CACHE"
        )
    return folder


def cached_rows(folder: Path | None, key: Key | None, count: int) -> Float[Tensor, "n d"] | None:
    """Rows as an earlier pass with this key gave them, mapped into memory; None if there are none.

    A damaged file counts as none, with a note.
    """
    if folder is None or key is None:
        return None
    path = _path(folder, key)
    rows = read_rows(path)
    if path.is_file() and (rows is None or len(rows) != count):
        note(f"{path} is damaged: embedding anew")
        return None
    return rows


def keep_rows(
    folder: Path | None, key: Key | None, chunks: Iterable[Tensor], count: int, dim: int
) -> None:
    """Keep (count, dim) rows for `cached_rows`; a disk that is full costs a note, not the rows."""
    if folder is None or key is None:
        return
    try:
        write_rows(_path(folder, key), chunks, count, dim)
    except OSError as error:
        note(f"{folder}: embeddings are not kept for later ({error.strerror or error})")


def _path(folder: Path, key: Key) -> Path:
    text = json.dumps(dict(key), sort_keys=True)
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()}.npy"
