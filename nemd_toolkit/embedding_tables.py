"""Embeddings as Parquet tables: a list column, or one numeric column per coordinate."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from nemd_toolkit.checkpoints import shown
from nemd_toolkit.embedding_pages import count_values
from nemd_toolkit.errors import InputError, UnsafeFile
from nemd_toolkit.scratch import block_rows
from nemd_toolkit.unit_rows import Part, RowParts

__all__ = ["read_parquet", "write_parquet"]

_LISTS = ("vector", "vectors", "embedding", "embeddings")
_COLUMNS = {"labels": ("labels", "label"), "groups": ("groups", "group"), "ids": ("ids", "id")}
_INDEX = "__index_level_"  # how pandas names a saved index
_UNPACKED = 64 << 20  # bytes of values from which a file must not shrink…
_RATIO = 100  # …to less than one part in this many: real embeddings never do
_WIDEST = 8  # bytes per value
_BATCH = 65_536  # values
_BUFFER = 1 << 20  # bytes
_DAMAGE = (pa.ArrowException, OSError, ValueError, LookupError, TypeError, MemoryError)


def read_parquet(path: Path) -> dict[str, Any]:
    """Read labels, groups and ids, as far as present, and give the vectors to be read in blocks.

    Raises InputError for damaged files and for tables without vectors; the blocks raise it, without
    the path, for damage and for rows without numbers.
    """
    try:
        # not read_table: that one makes columns of folder names such as label=3
        with _opened(path) as file:
            _check_size(path, file)
            found: dict[str, Any] = {"vectors": _vectors(path, file)}
            for name, spellings in _COLUMNS.items():
                spelling = next((s for s in spellings if s in file.schema_arrow.names), None)
                if spelling is not None:
                    found[name] = _column(path, file.read(columns=[spelling]), spelling)
    except _DAMAGE as error:
        raise InputError(f"{path}: {_damaged(error)}") from None
    return found


def _opened(path: Path) -> Any:
    return pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)  # no column chunk as a whole


def _damaged(error: Exception) -> str:
    return (
        f"expected a Parquet table, got a damaged or foreign file ({shown(error)}); "
        "save or copy it again"
    )


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


def _vectors(path: Path, file: Any) -> RowParts:
    schema, count = file.schema_arrow, file.metadata.num_rows
    name = next((name for name in _LISTS if name in schema.names), None)
    if name is not None:
        names, dim = [name], _list_length(path, file, name)
    else:
        taken = {spelling for spellings in _COLUMNS.values() for spelling in spellings}
        names = [
            field.name
            for field in schema
            if field.name not in taken
            and not field.name.startswith(_INDEX)
            and (pa.types.is_integer(field.type) or pa.types.is_floating(field.type))
        ]
        dim = len(names)
    if not names:
        held = shown(", ".join(schema.names[:6])) or "no columns"
        raise InputError(
            f"{path}: expected a list column called {', '.join(_LISTS)}, or numeric columns, got "
            f"{held}; rename the column of vectors"
        )
    part = Part(name="embeddings", count=count, blocks=_blocks(path, names, dim, name is not None))
    return RowParts(dim=dim, parts=[part])


def _list_length(path: Path, file: Any, name: str) -> int:
    """Numbers in the first row, which every other must have; 0 without rows."""
    kind = file.schema_arrow.field(name).type
    checks = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(check(kind) for check in checks):
        raise InputError(
            f"{path}: expected a list of numbers in every row of {name}, got {kind}; "
            "save lists of numbers"
        )
    for batch in file.iter_batches(batch_size=1, columns=[name]):
        return pc.list_value_length(batch.column(0))[0].as_py() or 0
    return 0


def _blocks(path: Path, names: list[str], dim: int, lists: bool) -> Iterator[Float[Tensor, "b d"]]:
    start = 0
    try:
        with _opened(path) as file:
            for batch in file.iter_batches(batch_size=block_rows(max(1, dim)), columns=names):
                columns = [batch.column(name) for name in names]
                block = _of_lists(columns[0], names[0], dim, start) if lists else _of(columns)
                yield torch.from_numpy(block)
                start += len(block)
    except _DAMAGE as error:  # who reads the rows names the file
        raise InputError(_damaged(error)) from None


def _of(columns: list[Any]) -> NDArray[np.float64]:
    wide = [column.to_numpy(zero_copy_only=False).astype(np.float64) for column in columns]
    return np.stack(wide, axis=1)


def _of_lists(column: Any, name: str, dim: int, start: int) -> NDArray[np.float64]:
    lengths = pc.list_value_length(column).fill_null(-1).to_numpy(zero_copy_only=False)
    odd = np.flatnonzero(lengths != dim)
    if len(odd):
        got = "none" if lengths[odd[0]] < 0 else str(lengths[odd[0]])
        raise InputError(
            f"expected lists of {dim} numbers in every row of {name}, as in the first, got {got} "
            f"in row {start + odd[0]}; make them equal"
        )
    values: NDArray[Any] = pc.list_flatten(column).to_numpy(zero_copy_only=False)
    return values.astype(np.float64).reshape(len(column), dim)


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
