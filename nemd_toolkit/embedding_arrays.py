"""Embeddings in NumPy's files: .npy with the vectors alone, .npz with named arrays.

Headers are checked against the bytes that are there before anything is allocated.
"""

import zipfile
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nemd_toolkit.checkpoints import shown
from nemd_toolkit.errors import InputError
from nemd_toolkit.numpy_files import GARBAGE, mapped_npy, read_entry

__all__ = ["read_npy", "read_npz"]

_COLUMNS = ("labels", "groups", "ids")
_VECTORS = ("vectors", "embeddings")


def read_npy(path: Path) -> dict[str, NDArray[Any]]:
    """Map the array of a .npy file. Raises InputError for damage, UnsafeFile for objects."""
    try:
        return {"vectors": mapped_npy(path)}
    except GARBAGE as error:
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
            return {to: read_entry(path, archive, entries[name]) for to, name in wanted.items()}
    except GARBAGE as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path}: expected a NumPy file, got a damaged or foreign one "
        f"({shown(error)}); save or copy it again"
    )
