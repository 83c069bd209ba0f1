"""Matrices of rows, in memory or in a temporary file that is mapped into it: the same numbers.

What exceeds the limit of memory.py lies in a file that has no name, so that it goes when the matrix
does, however the process ends. Its folder is TMPDIR if that is set, else /var/tmp: /tmp is often
memory itself. Pages of a mapped file count as the process's own until they are given back, so rows
are walked over in blocks (`blocks`) and gathered a few at a time (`rows_at`).
"""

import mmap
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from weakref import WeakValueDictionary

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from nemd_toolkit.errors import InputError
from nemd_toolkit.memory import for_one_matrix, in_words, the_limit

__all__ = [
    "block_rows",
    "blocks",
    "empty_rows",
    "mapped_rows",
    "release",
    "rows_at",
    "scratch_size",
]

_ROWS, _ENTRIES = 4_096, 524_288  # of a block at most: 4 MB in float64
_GATHERED, _SPAN = 4_096, 1 << 27  # rows at a time, from so many bytes of the file;
_SCATTERED = 128  # of more: each row can map 2 MB, all that the system reads and keeps together
_PAGE = mmap.PAGESIZE
_ZEROS = 1 << 24
# by the address of the first number
_mappings: WeakValueDictionary[int, mmap.mmap] = WeakValueDictionary()


def empty_rows(rows: int, dim: int) -> Float[Tensor, "n d"]:
    """Give a float32 matrix to fill, in memory or, where that would exceed the limit, in a file.

    Raises InputError where there is no room for the file.

    >>> empty_rows(2, 3).shape
    torch.Size([2, 3])
    """
    size = 4 * rows * dim
    if size <= for_one_matrix(rows):
        return torch.empty(rows, dim)
    folder = _folder()
    try:
        with tempfile.TemporaryFile(dir=folder, prefix="nemd-") as file:
            _reserve(file, size)
            mapping = mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise InputError(
            f"temporary file: expected {in_words(size)} of free space in {folder} for rows beyond "
            f"the memory limit of {in_words(the_limit() or 0)}, got {error.strerror or error}; "
            "free some, set TMPDIR to another folder, or allow more memory"
        ) from None
    found = torch.from_numpy(np.frombuffer(mapping, dtype=np.float32).reshape(rows, dim))
    _mappings[found.data_ptr()] = mapping
    return found


def mapped_rows(array: NDArray[np.generic]) -> Tensor:
    """Take an array as a tensor that nobody writes to; one mapped from a file can be given back.

    Not one that was mapped copy-on-write: what was written to it would be lost. Raises TypeError
    for what torch has no type for.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        found = torch.as_tensor(array)
    mapping = getattr(array, "_mmap", None)
    if isinstance(mapping, mmap.mmap) and found.numel() and getattr(array, "mode", "c") != "c":
        _mappings[found.untyped_storage().data_ptr()] = mapping
    return found


def scratch_size(rows: Tensor) -> int:
    """Bytes of the file that rows lie in; 0 where they are in memory.

    >>> scratch_size(torch.zeros(2, 3))
    0
    """
    mapping = _mapping(rows)
    return 0 if mapping is None else len(mapping)


def block_rows(dim: int) -> int:
    """Rows of a block: 4,096, fewer above d = 128; a multiple of 16, as null.py asks.

    Larger ones leave the cache of a core, and their copies in float64 are new pages each time: 16
    times as many took half as long again for a whole analysis of 1,000,000 x 128.

    >>> block_rows(64), block_rows(2048)
    (4096, 256)
    """
    return max(16, min(_ROWS, _ENTRIES // dim) // 16 * 16)


def blocks(rows: Float[Tensor, "n d"], most: int | None = None) -> Iterator[Float[Tensor, "b d"]]:
    """Split rows; each block is given back to the system when the next one is asked for.

    >>> [len(block) for block in blocks(torch.zeros(5, 2), 2)]
    [2, 2, 1]
    """
    for block in rows.split(most or block_rows(rows.shape[1])):
        yield block
        release(block)


def rows_at(rows: Float[Tensor, "n d"], places: Int[Tensor, "*m"]) -> Float[Tensor, "*m d"]:
    """Copy some rows, a few at a time where they lie in a file.

    >>> rows_at(torch.eye(3), torch.tensor([2]))
    tensor([[0., 0., 1.]])
    """
    if _mapping(rows) is None:
        return rows[places]
    wanted = places.flatten()
    found = rows.new_empty(len(wanted), rows.shape[1])
    for some, out in zip(wanted.split(_GATHERED), found.split(_GATHERED), strict=True):
        span = 4 * rows.shape[1] * int(some.max() - some.min()) if len(some) else 0
        step = _GATHERED if span <= _SPAN else _SCATTERED
        for few, into in zip(some.split(step), out.split(step), strict=True):
            torch.index_select(rows, 0, few, out=into)
            release(rows)
    return found.view(*places.shape, rows.shape[1])


def release(rows: Tensor) -> None:
    """Give the memory of mapped rows back; they are read again from the file when needed."""
    mapping = _mapping(rows)
    if mapping is None or not hasattr(mmap, "MADV_DONTNEED"):  # Linux; its pages are shared
        return
    first = rows.untyped_storage().data_ptr()
    start, length = 0, len(mapping)
    if rows.is_contiguous():
        # an array begins within the first page of its mapping
        start = (rows.data_ptr() - first + first % _PAGE) // _PAGE * _PAGE
        length = min(rows.nbytes + _PAGE, len(mapping) - start)
    mapping.madvise(mmap.MADV_DONTNEED, start, length)


def _mapping(rows: Tensor) -> mmap.mmap | None:
    return _mappings.get(rows.untyped_storage().data_ptr()) if rows.device.type == "cpu" else None


def _folder() -> Path:
    usual = Path(os.environ.get("TMPDIR") or "/var/tmp")
    return usual if usual.is_dir() else Path(tempfile.gettempdir())


def _reserve(file: IO[bytes], size: int) -> None:
    """Take the space now: a mapped file for which it runs out later ends the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    for start in range(0, size, _ZEROS):
        file.write(bytes(min(_ZEROS, size - start)))
    file.flush()
