"""How kernels are compiled, and kept on disk."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

__all__ = ["kernel", "loose_kernel"]


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile with IEEE arithmetic, for whatever is compared or certified in float64."""
    return _compiled(function, fastmath=False)


def loose_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile so that sums may be reordered to fill vector registers; inputs must be finite."""
    return _compiled(function, fastmath=True)


def _sources() -> str:
    """Digest of all kernels. Numba looks only at a function's own file, not at what it calls."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


_VERSION = _sources()


def _compiled(function: Callable[..., Any], *, fastmath: bool) -> Callable[..., Any]:
    function.__qualname__ += f"_{_VERSION}"  # names the file of compiled code
    try:
        return numba.njit(function, cache=True, nogil=True, fastmath=fastmath)  # type: ignore[no-any-return]
    except RuntimeError:  # no folder to keep the result in: compiled anew by every process
        return numba.njit(function, nogil=True, fastmath=fastmath)  # type: ignore[no-any-return]
