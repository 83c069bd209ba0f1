"""Bytes of a file as torch storages, mapped and not copied."""

from collections.abc import Callable
from pathlib import Path

import torch

__all__ = ["mapped"]

_ALIGNED = 16  # bytes: no element is larger


def mapped(path: Path) -> Callable[[int, int], torch.UntypedStorage]:
    """Give a function from (start, size) to these bytes of the file.

    They are read when they are used, and what is written to them stays in memory. Bytes that do
    not start at a multiple of 16 are copied. Raises IndexError beyond the file's end.
    """
    size = path.stat().st_size
    whole = torch.UntypedStorage.from_file(str(path), False, size)

    def part(start: int, length: int) -> torch.UntypedStorage:
        if not 0 <= start <= start + length <= size:
            raise IndexError(start + length)
        found: torch.UntypedStorage = whole[start : start + length]
        return found if start % _ALIGNED == 0 else found.clone()

    return part
