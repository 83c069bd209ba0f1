"""Folders of embeddings in many files: .npy or .parquet, read one after the other.

The order is that of the names, numbers in them by value. A shard that is truncated, damaged or
missing is an error that names it; none is ever left out.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from nemd_toolkit.checked_rows import mapped_shard
from nemd_toolkit.checkpoints import shown
from nemd_toolkit.embedding_tables import read_parquet
from nemd_toolkit.errors import InputError
from nemd_toolkit.numpy_files import GARBAGE
from nemd_toolkit.unit_rows import RowParts, one_part

__all__ = ["is_sharded", "read_shards", "shard_files"]

_SUFFIXES = (".npy", ".parquet")
_NUMBER = re.compile(r"(\d+)")
_OF_TOTAL = re.compile(r"(.*?)(\d+)-of-(\d+)", re.ASCII)
_NUMBERED = re.compile(r"(.*?)(\d+)", re.ASCII)
_OURS = re.compile(r"rows-(\d{12})", re.ASCII)  # named after the rows before it
_KEY = "key.json"  # what `nemd embed` is to leave in the end


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shard:
    """One file of rows, and its place among all."""

    path: Path
    name: str  # in errors
    columns: Mapping[str, Any]

    @property
    def rows(self) -> RowParts:
        found: RowParts = self.columns["vectors"]
        return found


def is_sharded(path: Path) -> bool:
    """Whether a folder holds files of rows, and not a model."""
    return path.is_dir() and not (path / "config.json").exists() and bool(shard_files(path))


def shard_files(folder: Path) -> list[Path]:
    """List the .npy files of a folder, or else its .parquet files, in the order of their rows.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for number in (10, 9):
    ...     np.save(folder / f"part-{number}.npy", np.eye(2))
    >>> [path.name for path in shard_files(folder)]
    ['part-9.npy', 'part-10.npy']
    """
    files = [path for path in folder.iterdir() if path.is_file() and path.name[0] != "."]
    if (folder / _KEY).exists():  # an unfinished copy of all rows may lie beside our own shards
        files = [path for path in files if path.stem != "whole"]
    for suffix in _SUFFIXES:
        found = [path for path in files if path.suffix.lower() == suffix]
        if found:
            return sorted(found, key=_natural)
    return []


def read_shards(folder: Path) -> dict[str, Any]:
    """Give the rows of all shards to be read in blocks, and their columns, as far as they have any.

    Raises InputError, naming the shard, for one that is damaged, missing, of other dimension, or
    with other columns than the first.
    """
    files = shard_files(folder)
    _require_all(files)
    shards = []
    for number, path in enumerate(files, 1):
        shards.append(_read(path, f"shard {number} of {len(files)} ({path.name})"))
        _require_alike(shards[0], shards[-1])
    _require_continued(folder, shards)
    parts = [
        replace(part, name=s.name, blocks=_naming(part.blocks, s.name))
        for s in shards
        for part in s.rows.parts
    ]
    found: dict[str, Any] = {"vectors": RowParts(dim=shards[0].rows.dim, parts=parts)}
    for column in shards[0].columns:
        if column != "vectors":
            found[column] = np.concatenate([shard.columns[column] for shard in shards])
    return found


def _natural(path: Path) -> list[tuple[int, str]]:
    words = _NUMBER.split(path.stem)
    return [(int(word), word) if word.isdecimal() else (-1, word) for word in words]


def _read(path: Path, name: str) -> _Shard:
    try:
        if path.suffix.lower() == ".parquet":
            return _Shard(path=path, name=name, columns=read_parquet(path))
        return _Shard(path=path, name=name, columns={"vectors": one_part(mapped_shard(path), name)})
    except InputError as error:
        raise type(error)(str(error).replace(str(path), name)) from None
    except GARBAGE as error:
        raise InputError(
            f"{name}: expected a NumPy file, got a damaged or foreign one ({shown(error)}); "
            "write it again"
        ) from None


def _naming(blocks: Iterable[Tensor], name: str) -> Iterator[Tensor]:
    try:
        yield from blocks
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _require_alike(first: _Shard, other: _Shard) -> None:
    if other.rows.dim != first.rows.dim:
        raise InputError(
            f"{other.name}: expected rows of {first.rows.dim} numbers as in {first.path.name}, got "
            f"{other.rows.dim}; move what is of another set away"
        )
    if set(other.columns) != set(first.columns):
        there, here = (", ".join(sorted({*s.columns} - {"vectors"})) for s in (first, other))
        raise InputError(
            f"{other.name}: expected the columns of {first.path.name} ({there or 'none'}), got "
            f"{here or 'none'}; make them equal"
        )


def _require_all(files: Sequence[Path]) -> None:
    """Look for gaps where names are numbered one by one, or say how many there are."""
    of_total = [_OF_TOTAL.fullmatch(path.stem) for path in files]
    numbered = [_NUMBERED.fullmatch(path.stem) for path in files]
    totals = {int(found[3]) for found in of_total if found}
    if len(totals) == 1 and all(of_total):
        numbers, total = [int(found[2]) for found in of_total if found], totals.pop()
        least = 1 if total in numbers else 0
        wanted = range(least, least + total)
    elif all(numbered) and len({found[1] for found in numbered if found}) == 1:
        numbers = [int(found[2]) for found in numbered if found]
        if 1 not in np.diff(numbers):
            return  # numbered by something else, such as rows
        wanted = range(numbers[0], numbers[-1] + 1)
    else:
        return
    missing = sorted(set(wanted) - set(numbers))
    if missing:
        raise InputError(
            f"{len(wanted)} shards, numbers {wanted[0]} to {wanted[-1]}: expected all of them, got "
            f"none numbered {', '.join(map(str, missing[:5]))}; bring back what is missing, or "
            "rename the rest"
        )


def _require_continued(folder: Path, shards: Sequence[_Shard]) -> None:
    """Our own shards are named after the rows before them, and a key says how many there are."""
    if not all(_OURS.fullmatch(shard.path.stem) for shard in shards):
        return
    count = 0
    for shard in shards:
        if int(shard.path.stem.removeprefix("rows-")) != count:
            raise InputError(
                f"{shard.name}: expected a shard that begins with row {count:,} before it, got "
                "none; bring back what is missing, or embed anew"
            )
        count += shard.rows.count
    wanted = _announced(folder / _KEY)
    if wanted is not None and wanted != count:
        raise InputError(
            f"{len(shards)} shards: expected {wanted:,} rows in them, got {count:,}; let "
            "`nemd embed` finish first"
        )


def _announced(key: Path) -> int | None:
    try:
        return int(json.loads(key.read_text(encoding="utf-8"))["count"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
