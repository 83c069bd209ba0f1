"""Embeddings in NumPy's files: .npy with the vectors alone, .npz with named arrays.

Headers are checked against the bytes that are there before anything is allocated.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from nemd_toolkit.checkpoints import shown
from nemd_toolkit.errors import InputError
from nemd_toolkit.numpy_files import GARBAGE, entry_blocks, entry_shape, mapped_npy, read_entry
from nemd_toolkit.scratch import block_rows
from nemd_toolkit.unit_rows import Part, RowParts, plain_blocks

__all__ = ["read_npy", "read_npz"]

_COLUMNS = ("labels", "groups", "ids")
_VECTORS = ("vectors", "embeddings")


def read_npy(path: Path) -> dict[str, NDArray[Any]]:
    """Map the array of a .npy file. Raises InputError for damage, UnsafeFile for objects."""
    try:
        return {"vectors": mapped_npy(path)}
    except GARBAGE as error:
        raise _damaged(path, error) from None


def read_npz(path: Path) -> dict[str, Any]:
    """Read labels, groups and ids of a .npz file, and give its vectors to be read in blocks.

    Raises as `read_npy`.
    """
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
            columns = [name for name in _COLUMNS if name in entries]
            return {"vectors": _vectors(path, archive, entries[vectors])} | {
                name: read_entry(path, archive, entries[name]) for name in columns
            }
    except GARBAGE as error:
        raise _damaged(path, error) from None


def _vectors(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Any:
    shape, by_columns, dtype = entry_shape(path, archive, entry)
    if by_columns or len(shape) != 2 or min(shape) < 1 or dtype.kind not in "biuf":
        return read_entry(path, archive, entry)

    def blocks() -> Iterator[Float[Tensor, "b d"]]:
        try:
            for block in entry_blocks(path, entry.filename, block_rows(shape[1])):
                yield from plain_blocks(block)
        except GARBAGE as error:  # who reads the rows names the file
            raise InputError(_garbage(error)) from None

    part = Part(name="embeddings", count=shape[0], blocks=blocks())
    return RowParts(dim=shape[1], parts=[part])


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: {_garbage(error)}")


def _garbage(error: Exception) -> str:
    return (
        f"expected a NumPy file, got a damaged or foreign one ({shown(error)}); "
        "save or copy it again"
    )
