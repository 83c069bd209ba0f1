"""NumPy's files checked before they are read: no pickled objects, no more than the bytes hold."""

import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from nemd_toolkit.errors import InputError, UnsafeFile

__all__ = [
    "GARBAGE",
    "check_header",
    "entry_blocks",
    "entry_shape",
    "mapped_npy",
    "read_entry",
    "read_header",
]

_PACKED = 64 << 20  # bytes from which an archive entry must not shrink…
_RATIO = 100  # …to less than one part in this many: real numbers never do
_WIDEST = 8  # bytes per number once it is read, however narrow in the file
# What zipfile and NumPy's header parser raise on damaged files.
GARBAGE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    OverflowError,
    MemoryError,
    SyntaxError,
    tokenize.TokenError,
    RuntimeError,  # encrypted, or packed by a method Python does not know
)


def mapped_npy(path: Path) -> NDArray[Any]:
    """Map the array of a .npy file, to be read alone.

    Raises InputError and UnsafeFile as `check_header`, and one of GARBAGE for damaged files.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        check_header(path, file, size, size)
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def read_entry(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    """Read one array of a .npz file. Raises as `mapped_npy`."""
    entry_shape(path, archive, entry)
    with archive.open(entry) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def entry_shape(
    path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Check one array of a .npz file; gives its shape, whether it lies by columns, and its type.

    Raises as `mapped_npy`.
    """
    _require_proportion(path, entry.file_size, entry.compress_size)
    with archive.open(entry) as file:
        return check_header(path, file, entry.file_size, entry.compress_size)


def entry_blocks(path: Path, name: str, rows: int) -> Iterator[NDArray[Any]]:
    """Read an (n, d) array of a .npz file, checked by `entry_shape`, so many rows at a time.

    Raises one of GARBAGE for damaged files.
    """
    with zipfile.ZipFile(path) as archive, archive.open(name) as file:
        shape, _, dtype = read_header(file)
        for start in range(0, shape[0], rows):
            size = min(rows, shape[0] - start) * shape[1] * dtype.itemsize
            data = file.read(size)
            if len(data) != size:
                raise EOFError(f"{size - len(data)} bytes less than its header says")
            yield np.frombuffer(bytearray(data), dtype).reshape(-1, shape[1])


def check_header(
    path: Path, file: IO[bytes] | BufferedIOBase, size: int, packed: int
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Check that the bytes after the header are as many as the header says, and give what it says.

    Raises InputError for other numbers of bytes, UnsafeFile for pickled objects and for arrays out
    of all proportion to their `packed` bytes.
    """
    shape, by_columns, dtype = read_header(file)
    if dtype.hasobject:
        raise UnsafeFile(
            f"{path}: expected numbers or text, got pickled Python objects; nothing was run, "
            "save plain arrays (text as astype(str))"
        )
    claimed, held = prod(shape) * dtype.itemsize, size - file.tell()
    if claimed != held:
        raise InputError(
            f"{path}: expected {claimed:,} bytes for shape {shape}, got {held:,}; "
            "the file is damaged, save or copy it again"
        )
    _require_proportion(path, prod(shape) * _WIDEST, packed)
    return shape, by_columns, dtype


def read_header(
    file: IO[bytes] | BufferedIOBase,
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, whether the array lies by columns, and type; ValueError for what is none."""
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"array format {version}")
    return readers[version](file)


def _require_proportion(path: Path, unpacked: int, packed: int) -> None:
    if unpacked > max(_PACKED, _RATIO * packed):
        raise UnsafeFile(
            f"{path}: expected arrays of at most {_RATIO} times their bytes in the file, got "
            f"{unpacked:,} bytes from {packed:,}; the file is hostile"
        )
