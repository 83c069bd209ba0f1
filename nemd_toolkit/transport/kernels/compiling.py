"""How kernels are compiled, and kept on disk."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numba

__all__ = ["kernel", "loose_kernel", "part"]


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile with IEEE arithmetic, for whatever is compared or certified in float64."""
    return _compiled(function, fastmath=False)


def part(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile as part of its one caller: in all, a quarter faster than each on its own."""
    return _compiled(function, fastmath=False, inline="always")


def loose_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile so that sums may be reordered to fill vector registers; inputs must be finite."""
    return _compiled(function, fastmath=True)


def _sources() -> str:
    """Digest of all kernels. Numba looks only at a function's own file, not at what it calls."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


_VERSION = _sources()


def _compiled(
    function: Callable[..., Any], *, fastmath: bool, inline: Literal["never", "always"] = "never"
) -> Callable[..., Any]:
    function.__qualname__ += f"_{_VERSION}"  # names the file of compiled code
    compiler = partial(numba.njit, nogil=True, fastmath=fastmath, inline=inline)
    try:
        return compiler(function, cache=True)
    except RuntimeError:  # no folder to keep the result in: compiled anew by every process
        return compiler(function)
