"""Reading and writing Embeddings: .npy, .npz, .pt, .safetensors, .parquet.

Nothing is unpickled into objects, sizes in headers are checked against the file first, and writing
is atomic.
"""

import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from nemd_toolkit.checkpoints import Content, embedding_columns, read_content, shown
from nemd_toolkit.embedding_arrays import read_npy, read_npz
from nemd_toolkit.embedding_shards import is_sharded, read_shards
from nemd_toolkit.embedding_tables import read_parquet, write_parquet
from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.errors import InputError
from nemd_toolkit.files import replacing
from nemd_toolkit.unit_rows import RowParts

__all__ = ["embeddings_from", "load_embeddings", "require_writable", "save_embeddings"]

Columns = Mapping[str, Any]
_COLUMNS = ("labels", "groups", "ids")


def load_embeddings(path: Path | str) -> Embeddings:
    """Read embeddings; the suffix tells the format, and a folder holds files of them.

    .npy holds the (n, d) array; .npz, .pt and .safetensors hold it as `vectors` (or `embeddings`),
    with `labels`, `groups` and `ids` beside it; .pt may also be a bare tensor; .parquet holds a
    list column `vector(s)` or `embedding(s)`, or one numeric column per coordinate. A folder holds
    .npy files, or else .parquet files, that follow one another by name. A block is held in memory,
    and the unit rows (memory.py); .pt and .safetensors are mapped as a whole, which the system may
    take back, and files of torch < 1.6 are copied.

    Raises InputError, naming the file, for anything that is not finite numbers in rows, and
    UnsafeFile for files that ask for code or claim more than they hold.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two.npz"
    >>> save_embeddings(Embeddings([[0.0, 1.0], [1.0, 0.0]], labels=["a", "b"]), path)
    >>> load_embeddings(path).labels
    array(['a', 'b'], dtype='<U1')
    """
    path = Path(path)
    if is_sharded(path):
        return _embeddings(path, _sharded(path))
    reader = _known(path, _READERS)
    _require_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy remarks on odd headers
        columns = reader(path)
    return _embeddings(path, columns)


def embeddings_from(content: Content) -> Embeddings:
    """Interpret a torch or safetensors file that was read already.

    Raises InputError if it holds no (n, d) tensor.
    """
    return _embeddings(content.path, _torch_columns(content))


def save_embeddings(embeddings: Embeddings, path: Path | str) -> None:
    """Write embeddings atomically; the suffix tells the format, as in `load_embeddings`.

    Raises InputError for what a format cannot hold (.npy: anything but vectors; .safetensors:
    text), and for paths that cannot be written.
    """
    path = Path(path)
    writer = _known(path, _WRITERS)
    values = {name: getattr(embeddings, name) for name in _COLUMNS}
    columns = {name: value for name, value in values.items() if value is not None}
    try:
        with replacing(path) as part:
            writer(part, embeddings.vectors, columns)
    except OSError as error:
        raise InputError(
            f"{path}: expected a place to write to, got {error.strerror or error}; "
            "choose another path"
        ) from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _sharded(folder: Path) -> Columns:
    try:
        return read_shards(folder)
    except InputError as error:
        raise type(error)(f"{folder}: {error}") from None


def _require_file(path: Path) -> None:
    try:
        got = "a folder" if path.is_dir() else "no file"
        if path.is_file():
            with path.open("rb") as file:
                if file.read(1):
                    return
            got = "an empty file"
    except OSError as error:
        got = str(error.strerror)
    raise InputError(f"{path}: expected a file of embeddings, got {got}; check the path")


def require_writable(path: Path | str) -> None:
    """Raise InputError unless `save_embeddings` knows a format for this suffix."""
    _known(Path(path), _WRITERS)


def _known(path: Path, table: Mapping[str, Any]) -> Any:
    if path.suffix.lower() not in table:
        raise InputError(
            f"{path}: expected a file name that ends in {', '.join(table)}, got "
            f"{path.suffix or 'none of these'}; convert the file"
        )
    return table[path.suffix.lower()]


def _embeddings(path: Path, columns: Columns) -> Embeddings:
    try:
        return Embeddings(**{name: _plain(value) for name, value in columns.items()})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path}: expected vectors and columns of numbers or text, got something else "
            f"({shown(error)}); save plain arrays"
        ) from None


def _plain(value: Any) -> Any:
    """Pass rows, arrays, tensors and lists; columns in this machine's byte order."""
    if not isinstance(value, RowParts | np.ndarray | Tensor | list):
        raise TypeError(type(value).__name__)
    if isinstance(value, np.ndarray) and value.ndim == 1 and not value.dtype.isnative:
        return value.astype(value.dtype.newbyteorder("="))
    return value


def _read_torch(path: Path) -> Columns:
    return _torch_columns(read_content(path))


def _torch_columns(content: Content) -> Columns:
    columns = embedding_columns(content)
    if columns is None:
        raise InputError(
            f"{content.path}: expected a 2-D tensor, or one under vectors or embeddings, got "
            "something else; if it is a checkpoint, embed images with it first"
        )
    return columns


def _write_npy(path: Path, vectors: Tensor, columns: Mapping[str, NDArray[Any]]) -> None:
    if columns:
        raise InputError(f"expected vectors alone, got {', '.join(columns)}, too; use .npz")
    np.save(path, vectors.numpy(), allow_pickle=False)


def _write_npz(path: Path, vectors: Tensor, columns: Mapping[str, NDArray[Any]]) -> None:
    arrays: dict[str, Any] = {"vectors": vectors.numpy(), **columns}
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():  # as np.savez, but for the time: same rows, same bytes
            entry = zipfile.ZipInfo(f"{name}.npy")
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def _write_torch(path: Path, vectors: Tensor, columns: Mapping[str, NDArray[Any]]) -> None:
    text = {name: c.tolist() for name, c in columns.items() if c.dtype.kind in "US"}
    numbers = {name: torch.tensor(c) for name, c in columns.items() if name not in text}
    with path.open("wb") as file:  # given a path, torch writes its name into the file
        torch.save({"vectors": vectors, **numbers, **text}, file)


def _write_safetensors(path: Path, vectors: Tensor, columns: Mapping[str, NDArray[Any]]) -> None:
    text = [name for name, column in columns.items() if column.dtype.kind in "US"]
    if text:
        raise InputError(f"expected numbers only, got text in {', '.join(text)}; use .npz")
    numbers = {name: torch.tensor(column) for name, column in columns.items()}
    safetensors.torch.save_file({"vectors": vectors.contiguous(), **numbers}, path)


_READERS: dict[str, Callable[[Path], Columns]] = {
    ".npy": read_npy,
    ".npz": read_npz,
    ".pt": _read_torch,
    ".pth": _read_torch,
    ".safetensors": _read_torch,
    ".parquet": read_parquet,
}
_WRITERS: dict[str, Callable[[Path, Tensor, Mapping[str, NDArray[Any]]], None]] = {
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".pt": _write_torch,
    ".pth": _write_torch,
    ".safetensors": _write_safetensors,
    ".parquet": write_parquet,
}
