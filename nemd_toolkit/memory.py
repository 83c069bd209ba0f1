"""How much memory one process may take: what decides whether rows are held in it or in a file."""

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from nemd_toolkit.errors import InputError

__all__ = ["for_one_matrix", "in_words", "memory_limit", "the_limit", "within_memory"]

FIXED = 900_000_000  # bytes: the libraries, a few blocks of rows, samples of bounded size
PER_ROW = 120  # bytes of columns: lengths, assignments, orders, members
MATRICES = 4  # rows, those of two nulls, and one to spare
SHARE = 0.5  # of what is available: the default limit
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([KMGT]?I?B)", re.ASCII)
_CGROUP = Path("/sys/fs/cgroup")  # of this process alone in a container
_given: ContextVar[int | None] = ContextVar("nemd_memory_limit", default=None)
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


@contextmanager
def memory_limit(size: int | str | None) -> Iterator[None]:
    """Keep a process to about so many bytes inside this block: a number, or text such as "4GB".

    None changes nothing. It bounds where matrices of rows lie, which changes no number. Beside them
    k-means holds the rows that it fits to, see `rows_to_fit`. Raises InputError for what is no
    size, and for less than the libraries themselves take (0.9 GB).

    >>> with memory_limit("4GB"):
    ...     the_limit()
    4000000000
    """
    token = _given.set(_given.get() if size is None else _parsed(size))
    try:
        yield
    finally:
        _given.reset(token)


def within_memory(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Let a function's option `memory` be the limit while it runs."""

    @wraps(function)
    def limited(*args: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
        size: Any = options.get("memory")
        with memory_limit(size):
            return function(*args, **options)

    return limited


def the_limit() -> int | None:
    """Bytes that a process may take: as given, else half of those available; None if unknown.

    Available is what the machine has, or the process's control group if that is less.
    """
    given = _given.get()
    if given is not None:
        return given
    available = [size for size in (_of_machine(), *_of_groups()) if size is not None]
    return int(SHARE * min(available)) if available else None


def for_one_matrix(rows: int) -> float:
    """Bytes that one matrix of so many rows may take in memory, where four of them are needed.

    Raises InputError where a limit that was given does not even leave room for columns of as many.
    """
    limit = the_limit()
    if limit is None:
        return float("inf")
    needed = FIXED + PER_ROW * rows
    if _given.get() is not None and limit < needed:
        raise InputError(
            f"memory: expected at least {in_words(math.ceil(needed / 1e8) * 1e8)} for {rows:,} "
            f"rows, got {in_words(limit)}; allow more"
        )
    return max(0.0, (limit - needed) / MATRICES)


def in_words(size: float | int) -> str:
    """Write a number of bytes.

    >>> in_words(5_120_000_000), in_words(600_000), in_words(4_000_000_000)
    ('5.1 GB', '0.6 MB', '4 GB')
    """
    unit, name = (1e9, "GB") if size >= 1e8 else (1e6, "MB")
    return f"{size / unit:,.1f}".removesuffix(".0") + f" {name}"


def _parsed(size: object) -> int:
    found = _SIZE.fullmatch(size.strip().upper()) if isinstance(size, str) else None
    if found is not None:
        wanted = int(float(found[1]) * _UNITS[found[2]])
    elif isinstance(size, int):
        wanted = size
    else:
        raise InputError(
            f"memory: expected a size such as 4GB or 1500MB, got {size!r}; write number and unit"
        )
    if wanted < FIXED:
        raise InputError(
            f"memory: expected at least {in_words(FIXED)}, which the libraries themselves take, "
            f"got {in_words(wanted)}; allow more"
        )
    return wanted


def _of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # no Linux
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(found[0]) if found else None


def _of_groups() -> Iterator[int]:
    """Give what the control group leaves, where it has a limit (version 2, or version 1)."""
    names = (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    )
    for most, used in names:
        try:
            limit, taken = ((_CGROUP / name).read_text(encoding="ascii") for name in (most, used))
        except OSError:
            continue
        if limit.strip().isdigit():  # else "max"
            yield max(0, int(limit) - int(taken))
