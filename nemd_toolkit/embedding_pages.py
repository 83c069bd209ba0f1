"""How many values the pages of a Parquet file hold, from the pages' own headers.

The footer's number of values does not bind: a page may hold more, and pyarrow reads them all.
"""

from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

__all__ = ["count_values"]

_COMPRESSED_SIZE = 3  # fields of a PageHeader; github.com/apache/parquet-format, parquet.thrift
_KINDS = (5, 7, 8)  # data page, dictionary page, data page v2: each begins with its num_values
_DEEPEST = 8  # structs within structs; a page header has three


def count_values(path: Path, metadata: Any) -> int:
    """Sum the values of all pages of all columns. Raises ValueError or IndexError for damage."""
    total = 0
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        for i in range(metadata.num_row_groups):
            for j in range(metadata.num_columns):
                chunk = metadata.row_group(i).column(j)
                starts = (chunk.data_page_offset, chunk.dictionary_page_offset)
                start = min(start for start in starts if start and start > 0)
                total += _in_chunk(data, start, start + chunk.total_compressed_size)
    return total


def _in_chunk(data: mmap, start: int, end: int) -> int:
    compact, total = _Compact(data, start), 0
    while compact.at < end:
        header = compact.struct()
        total += sum(header[kind][1] for kind in _KINDS if kind in header)
        if header[_COMPRESSED_SIZE] < 0:
            raise ValueError("a page of negative size")
        compact.at += header[_COMPRESSED_SIZE]
    return total


class _Compact:
    """Thrift's compact protocol, as far as page headers use it."""

    def __init__(self, data: mmap, at: int) -> None:
        self.data = data
        self.at = at

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise ValueError("a number of more than 64 bits")

    def struct(self, depth: int = 0) -> dict[int, Any]:
        if depth > _DEEPEST:
            raise ValueError("structs nested without end")
        fields: dict[int, Any] = {}
        number = 0
        while head := self.byte():
            number = number + (head >> 4) if head >> 4 else self.signed()
            fields[number] = self.value(head & 0x0F, depth)
        return fields

    def signed(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def value(self, kind: int, depth: int) -> Any:
        match kind:
            case 1 | 2:
                return kind == 1
            case 3:
                return self.byte()
            case 4 | 5 | 6:
                return self.signed()
            case 7 | 8:  # a double, or bytes
                length = 8 if kind == 7 else self.varint()
                self.at += length
                return None
            case 12:
                return self.struct(depth + 1)
        raise ValueError(f"Thrift's type {kind}")
