"""Pickles of plain data, read without executing them: what CIFAR's Python version holds.

Dictionaries of text, numbers, lists of these and arrays of unsigned bytes; whatever asks for any
other name is refused. Text of Python 2 comes back as str through latin-1, its bytes one to one.
"""

import math
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from nemd_toolkit.checkpoints.calls import Global
from nemd_toolkit.checkpoints.pickles import read_pickle
from nemd_toolkit.checkpoints.stubs import Stub
from nemd_toolkit.errors import InputError, UnsafeFile

__all__ = ["read_plain_pickle"]

_LARGEST = 1 << 30  # bytes; CIFAR-100's largest file has 155 MB
_ARRAYS = {"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"}
_NAMES = {*_ARRAYS, "numpy.ndarray", "numpy.dtype", "_codecs.encode"}


def read_plain_pickle(path: Path) -> dict[str, Any]:
    """Read a dict of text, numbers, lists of these, and uint8 arrays; nothing of it is ever run.

    Raises UnsafeFile for anything else in it, InputError for damaged files.
    """
    if path.stat().st_size > _LARGEST:
        raise InputError(f"{path}: expected at most 1 GiB, got more; the file is not CIFAR's")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pickletools remarks on damaged bytes
            found = read_pickle(BytesIO(path.read_bytes()), path)
    except UnsafeFile:
        raise _refused(path, "what such data never holds") from None
    except InputError:
        raise _damaged(path, "no whole pickle") from None
    foreign = sorted(found.names - _NAMES)
    if foreign or isinstance(found.value, Stub):
        raise _refused(path, f"the name {(foreign or [found.value.name])[0][:80]!r}")
    try:
        return _finished(path, found.value)
    except (ValueError, TypeError, AttributeError) as error:
        raise _damaged(path, type(error).__name__) from None


def _finished(path: Path, value: Any) -> dict[str, Any]:
    """Put arrays in the place of their parts; a dict may hold lists, and lists only plain values.

    No deeper: a list that holds itself, or lists of lists of one list, would never end.
    """
    if type(value) is not dict:
        raise TypeError(type(value).__name__)
    return {_text(key): _entry(path, item) for key, item in value.items()}


def _entry(path: Path, item: Any) -> Any:
    if isinstance(item, Stub):
        return _array(path, item)
    for part in item if type(item) is list else [item]:
        if type(part) not in (str, bytes, int, bool, type(None)):
            raise TypeError(type(part).__name__)
    return item


def _text(key: Any) -> str:
    return key.decode("latin-1") if isinstance(key, bytes) else str(key)


def _array(path: Path, value: Stub) -> np.ndarray:
    # NumPy's own order: version, shape, type, whether columns come first, bytes
    if value.name not in _ARRAYS or value.arguments[:1] != (Global("numpy.ndarray"),):
        raise _refused(path, "a call of something else than NumPy's arrays of bytes")
    _, shape, dtype, columns_first, body = value.state
    if not isinstance(dtype, Stub) or (dtype.name, dtype.arguments[:1]) != ("numpy.dtype", ("u1",)):
        raise _refused(path, "arrays of something else than bytes")
    content = body.encode("latin-1") if isinstance(body, str) else body
    if math.prod(shape) != len(content) or min(shape, default=0) < 1:
        raise ValueError
    flat = np.frombuffer(content, dtype=np.uint8)
    return flat.reshape(shape[::-1]).T if columns_first else flat.reshape(shape)


def _refused(path: Path, what: str) -> UnsafeFile:
    return UnsafeFile(
        f"{path}: expected a pickle of plain arrays and lists, got {what}; nothing was run, "
        "download the file again from its source"
    )


def _damaged(path: Path, what: str) -> InputError:
    return InputError(
        f"{path}: expected a pickle of plain arrays and lists, got a damaged or foreign file "
        f"({what}); download it again"
    )
