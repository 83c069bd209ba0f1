"""Embeddings in NumPy's files: .npy with the vectors alone, .npz with named arrays.

Headers are checked against the bytes that are there before anything is allocated.
"""

import tokenize
import zipfile
import zlib
from io import BufferedIOBase
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from nemd_toolkit.checkpoints import shown
from nemd_toolkit.errors import InputError, UnsafeFile

__all__ = ["read_npy", "read_npz"]

_COLUMNS = ("labels", "groups", "ids")
_VECTORS = ("vectors", "embeddings")
_PACKED = 64 << 20  # bytes from which an archive entry must not shrink…
_RATIO = 100  # …to less than one part in this many: real embeddings never do
_WIDEST = 8  # bytes per number once it is read, however narrow in the file
# What zipfile and NumPy's header parser raise on damaged files.
_GARBAGE = (
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


def read_npy(path: Path) -> dict[str, NDArray[Any]]:
    """Map the array of a .npy file. Raises InputError for damage, UnsafeFile for objects."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            _check_header(path, file, size, size)
        # copy-on-write: torch warns about memory it may not write to
        return {"vectors": np.load(path, mmap_mode="c", allow_pickle=False)}
    except _GARBAGE as error:
        raise _damaged(path, error) from None


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Read vectors, labels, groups and ids of a .npz file. Raises as `read_npy`."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {e.filename.removesuffix(".npy"): e for e in archive.infolist()}
            vectors = next((name for name in _VECTORS if name in entries), None)
            if vectors is None:
                held = shown(", ".join(list(entries)[:6])) or "none"
                raise InputError(
                    f"{path}: expected an array called vectors, got {held}; "
                    "save with np.savez(vectors=…)"
                )
            wanted = {"vectors": vectors} | {name: name for name in _COLUMNS if name in entries}
            return {to: _read_entry(path, archive, entries[name]) for to, name in wanted.items()}
    except _GARBAGE as error:
        raise _damaged(path, error) from None


def _read_entry(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    _require_proportion(path, entry.file_size, entry.compress_size)
    with archive.open(entry) as file:
        _check_header(path, file, entry.file_size, entry.compress_size)
    with archive.open(entry) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _require_proportion(path: Path, unpacked: int, packed: int) -> None:
    if unpacked > max(_PACKED, _RATIO * packed):
        raise UnsafeFile(
            f"{path}: expected arrays of at most {_RATIO} times their bytes in the file, got "
            f"{unpacked:,} bytes from {packed:,}; the file is hostile"
        )


def _check_header(path: Path, file: IO[bytes] | BufferedIOBase, size: int, packed: int) -> None:
    """Check that the bytes after the header are as many as the header says."""
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"array format {version}")
    shape, _, dtype = readers[version](file)
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


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path}: expected a NumPy file, got a damaged or foreign one "
        f"({shown(error)}); save or copy it again"
    )
