"""Embeddings as Parquet tables: a list column, or one numeric column per coordinate."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from torch import Tensor

from nemd_toolkit.checkpoints import shown
from nemd_toolkit.embedding_pages import count_values
from nemd_toolkit.errors import InputError, UnsafeFile

__all__ = ["read_parquet", "write_parquet"]

_LISTS = ("vector", "vectors", "embedding", "embeddings")
_COLUMNS = {"labels": ("labels", "label"), "groups": ("groups", "group"), "ids": ("ids", "id")}
_INDEX = "__index_level_"  # how pandas names a saved index
_UNPACKED = 64 << 20  # bytes of values from which a file must not shrink…
_RATIO = 100  # …to less than one part in this many: real embeddings never do
_WIDEST = 8  # bytes per value
_BATCH = 65_536  # values


def read_parquet(path: Path) -> dict[str, Any]:
    """Read vectors, labels, groups and ids, as far as present, as NumPy arrays.

    Raises InputError for damaged files and for tables without vectors.
    """
    try:
        # not read_table: that one makes columns of folder names such as label=3
        with pq.ParquetFile(path) as file:
            _check_size(path, file)
            table = file.read()
        found = {"vectors": _vectors(path, table)}
        for name, spellings in _COLUMNS.items():
            spelling = next((s for s in spellings if s in table.column_names), None)
            if spelling is not None:
                found[name] = _column(path, table, spelling)
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, MemoryError) as error:
        raise InputError(
            f"{path}: expected a Parquet table, got a damaged or foreign file "
            f"({shown(error)}); save or copy it again"
        ) from None
    return found


def write_parquet(path: Path, vectors: Tensor, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write vectors as the list column `vector`, the others under their names."""
    values = pa.array(vectors.numpy().ravel())  # (n, d) -> (n·d,)
    lists = pa.FixedSizeListArray.from_arrays(values, vectors.shape[1])
    pq.write_table(pa.table({"vector": lists, **dict(columns)}), path)


def _check_size(path: Path, file: Any) -> None:
    metadata = file.metadata
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    encoded = sum(group.total_byte_size for group in groups)
    _require_size(path, max(encoded, metadata.num_rows * metadata.num_columns * _WIDEST))
    for column in range(metadata.num_columns):
        # decodes in batches and keeps nothing, and raises for a damaged column, where asking for
        # its metadata would abort the whole process (pyarrow 26: "histogram size mismatch")
        file.reader.scan_contents([column], _BATCH)
    # a row counted once there, however long its list
    _require_size(path, count_values(path, metadata) * _WIDEST)


def _require_size(path: Path, claimed: int) -> None:
    held = path.stat().st_size
    if claimed > max(_UNPACKED, _RATIO * held):
        raise UnsafeFile(
            f"{path}: expected at most {_RATIO} times its {held:,} bytes of values, got a table "
            f"that claims {claimed:,}; the file is damaged or hostile"
        )


def _vectors(path: Path, table: Any) -> NDArray[Any]:
    name = next((name for name in _LISTS if name in table.column_names), None)
    if name is not None:
        return _lists(path, table.column(name), name)
    taken = {spelling for spellings in _COLUMNS.values() for spelling in spellings}
    numeric = [
        field.name
        for field in table.schema
        if field.name not in taken
        and not field.name.startswith(_INDEX)
        and (pa.types.is_integer(field.type) or pa.types.is_floating(field.type))
    ]
    if not numeric:
        held = shown(", ".join(table.column_names[:6])) or "no columns"
        raise InputError(
            f"{path}: expected a list column called {', '.join(_LISTS)}, or numeric columns, got "
            f"{held}; rename the column of vectors"
        )
    return np.stack([table.column(n).to_numpy().astype(np.float64) for n in numeric], axis=1)


def _lists(path: Path, column: Any, name: str) -> NDArray[Any]:
    kind = column.type
    is_list = any(
        check(kind)
        for check in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    )
    if not is_list or column.null_count:
        raise InputError(
            f"{path}: expected a list of numbers in every row of {name}, got {kind} with "
            f"{column.null_count} empty rows; fill or remove them"
        )
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(lengths) != 1:
        raise InputError(
            f"{path}: expected lists of one length in {name}, got lengths {sorted(lengths)[:6]}; "
            "make them equal"
        )
    values: NDArray[Any] = pc.list_flatten(column).to_numpy()
    return values.astype(np.float64).reshape(len(column), -1)


def _column(path: Path, table: Any, name: str) -> NDArray[Any]:
    column = table.column(name)
    if column.null_count:
        raise InputError(
            f"{path}: expected a value in every row of {name}, got {column.null_count} empty "
            "ones; fill or remove them"
        )
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    values: NDArray[Any] = column.to_numpy()
    return values
