"""Numbers on disk that are whole or not there: .npy, with a checksum after the numbers."""

import hashlib
from collections.abc import Iterable, Sequence
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from nemd_toolkit.errors import InputError
from nemd_toolkit.files import replacing
from nemd_toolkit.numpy_files import GARBAGE, check_header, read_header
from nemd_toolkit.scratch import mapped_rows

__all__ = ["mapped_shard", "read_arrays", "read_rows", "write_arrays", "write_rows"]

_DIGEST = 32  # bytes of a SHA-256
_CHUNK = 1 << 22


def write_rows(path: Path, chunks: Iterable[Tensor], count: int, dim: int) -> None:
    """Write (count, dim) float32 rows, which come in chunks, atomically.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "rows.npy"
    >>> write_rows(path, [torch.zeros(2, 3), torch.ones(1, 3)], 3, 3)
    >>> read_rows(path).sum()
    tensor(3.)
    >>> _ = path.write_bytes(path.read_bytes()[:-1])
    >>> read_rows(path) is None
    True
    """
    header = {"descr": "<f4", "fortran_order": False, "shape": (count, dim)}
    with replacing(path) as part, part.open("wb+") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in chunks:
            file.write(np.ascontiguousarray(chunk.numpy(), dtype="<f4").data)
        _finish(file)


def read_rows(path: Path) -> Float[Tensor, "n d"] | None:
    """Map the rows into memory; None where the file is missing, damaged or of another kind."""
    try:
        size = path.stat().st_size - _DIGEST
        with path.open("rb") as file:
            if not _whole(file, size):
                return None
            check_header(path, file, size, size)
        rows = mapped_rows(np.load(path, mmap_mode="r", allow_pickle=False))
    except (*GARBAGE, InputError):
        return None
    return rows if rows.ndim == 2 and rows.dtype == torch.float32 else None


def mapped_shard(path: Path) -> NDArray[Any]:
    """Map the array of a .npy file; where a checksum follows its numbers, that must be right.

    Raises InputError, UnsafeFile and one of GARBAGE as `mapped_npy`, and InputError for another
    checksum.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        shape, _, dtype = read_header(file)
        if size - file.tell() == prod(shape) * dtype.itemsize + _DIGEST:
            size -= _DIGEST
            if not _whole(file, size):
                raise InputError(
                    f"{path}: expected numbers that the checksum after them belongs to, got "
                    "others; the file is damaged, write it again"
                )
        file.seek(0)
        check_header(path, file, size, size)
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def write_arrays(path: Path, arrays: Sequence[NDArray[Any]]) -> None:
    """Write arrays of numbers, one after the other, atomically.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.stage"
    >>> write_arrays(path, [np.arange(3), np.eye(2)])
    >>> read_arrays(path)[0]
    array([0, 1, 2])
    >>> _ = path.write_bytes(path.read_bytes()[:-1])
    >>> read_arrays(path) is None
    True
    """
    with replacing(path) as part, part.open("wb+") as file:
        for array in arrays:
            np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
        _finish(file)


def read_arrays(path: Path) -> list[NDArray[Any]] | None:
    """Read what `write_arrays` wrote; None where the file is missing or damaged."""
    found: list[NDArray[Any]] = []
    try:
        size = path.stat().st_size - _DIGEST
        with path.open("rb") as file:
            if not _whole(file, size):
                return None
            while file.tell() < size:
                found.append(np.lib.format.read_array(file, allow_pickle=False))
    except GARBAGE:
        return None
    return found


def _finish(file: IO[bytes]) -> None:
    """Write the checksum of all that stands in the file after it."""
    file.write(_digest(file, file.seek(0, 2)))


def _whole(file: IO[bytes], size: int) -> bool:
    """Whether the checksum of the first `size` bytes follows them, and no more; begin anew."""
    whole = size >= 0 and _digest(file, size) == file.read()
    file.seek(0)
    return whole


def _digest(file: IO[bytes], size: int) -> bytes:
    """Hash the first `size` bytes, and stand after them."""
    digest = hashlib.sha256()
    file.seek(0)
    while size > 0:
        chunk = file.read(min(_CHUNK, size))
        if not chunk:
            break
        digest.update(chunk)
        size -= len(chunk)
    return digest.digest()
