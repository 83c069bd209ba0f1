"""Pickles of plain data, read without executing them: what CIFAR's Python version holds.

A tiny interpreter over `pickletools.genops`. It knows dicts, lists, tuples, text, bytes, whole
numbers and arrays of unsigned bytes; whatever asks for any other name, or would call anything, is
refused. Text of Python 2 comes back as str through latin-1, its bytes one to one.
"""

import math
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nemd_toolkit.errors import InputError, UnsafeFile

__all__ = ["read_plain_pickle"]

_LARGEST = 1 << 30  # bytes; CIFAR-100's largest file has 155 MB
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_VALUES = {
    *("BININT", "BININT1", "BININT2", "LONG1", "INT", "LONG"),
    *("BINSTRING", "SHORT_BINSTRING", "STRING"),
    *("BINUNICODE", "SHORT_BINUNICODE", "UNICODE", "BINBYTES", "SHORT_BINBYTES"),
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "_codecs")
_NAMES = {"ndarray", "dtype", "_reconstruct", "encode"}
_MARK = object()


class _Name(str):
    """A name that the file asks for; never looked up."""

    __slots__ = ()


class _Array:
    """An array, or the type of one, on its way."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.state: Any = None


def read_plain_pickle(path: Path) -> dict[str, Any]:
    """Read a dict of text, numbers, lists of these, and uint8 arrays; nothing of it is ever run.

    Raises UnsafeFile for anything else in it, InputError for damaged files.
    """
    if path.stat().st_size > _LARGEST:
        raise InputError(f"{path}: expected at most 1 GiB, got more; the file is not CIFAR's")
    try:
        found: dict[str, Any] = _finished(_interpreted(path))
    except (ValueError, IndexError, TypeError, KeyError, EOFError, RecursionError) as error:
        raise InputError(
            f"{path}: expected a pickle of plain arrays and lists, got a damaged or foreign file "
            f"({type(error).__name__}); download it again"
        ) from None
    return found


def _interpreted(path: Path) -> Any:
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    with path.open("rb") as file:
        for opcode, argument, _ in pickletools.genops(file):
            name = opcode.name
            if name == "STOP":
                return stack.pop()
            if name in ("PROTO", "FRAME"):
                continue
            if name in _VALUES:
                stack.append(argument)
            elif name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            elif name in _EMPTY:
                stack.append(_EMPTY[name]())
            elif name == "MARK":
                stack.append(_MARK)
            elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
                memo[argument] = stack[-1]
            elif name == "MEMOIZE":
                memo[len(memo)] = stack[-1]
            elif name in ("BINGET", "LONG_BINGET", "GET"):
                stack.append(memo[argument])
            else:
                _assemble(path, name, argument, stack)
    raise EOFError


def _assemble(path: Path, name: str, argument: Any, stack: list[Any]) -> None:
    """Do the opcodes that make one thing out of several."""
    if name in _TUPLES:
        count = _TUPLES[name]
        stack[-count:] = [tuple(stack[-count:])]
    elif name == "TUPLE":
        stack.append(tuple(_since_mark(stack)))
    elif name in ("APPENDS", "SETITEMS"):
        _add(stack, _since_mark(stack), name)
    elif name in ("APPEND", "SETITEM"):
        count = 1 if name == "APPEND" else 2
        items = stack[-count:]
        del stack[-count:]
        _add(stack, items, name + "S")
    elif name in ("GLOBAL", "STACK_GLOBAL"):
        pair = tuple(argument.split(" ")) if name == "GLOBAL" else (stack.pop(-2), stack.pop())
        stack.append(_known(path, pair))
    elif name == "REDUCE":
        arguments = stack.pop()
        stack.append(_reduced(path, stack.pop(), arguments))
    elif name == "BUILD":
        state = stack.pop()
        if not isinstance(stack[-1], _Array):
            raise _refused(path, "the state of an unknown object")
        stack[-1].state = state
    else:
        raise _refused(path, f"the instruction {name}")


def _since_mark(stack: list[Any]) -> list[Any]:
    start = len(stack) - 1
    while stack[start] is not _MARK:
        start -= 1
        if start < 0:
            raise IndexError
    items = stack[start + 1 :]
    del stack[start:]
    return items


def _add(stack: list[Any], items: list[Any], name: str) -> None:
    target = stack[-1]
    if name == "APPENDS" and type(target) is list:
        target.extend(items)
    elif name == "SETITEMS" and type(target) is dict:
        target.update(zip(items[::2], items[1::2], strict=True))
    else:
        raise TypeError


def _known(path: Path, pair: tuple[Any, ...]) -> _Name:
    if len(pair) != 2 or pair[0] not in _MODULES or pair[1] not in _NAMES:
        asked = ".".join(str(part) for part in pair)
        raise _refused(path, f"the name {asked[:80]!r}")
    return _Name(pair[1])


def _reduced(path: Path, name: Any, arguments: Any) -> Any:
    if isinstance(name, _Name) and isinstance(arguments, tuple):
        if name == "_reconstruct" and arguments[:1] == ("ndarray",):
            return _Array("ndarray")
        if name == "dtype" and arguments[:1] == ("u1",):
            return _Array("dtype")
        if name == "encode" and len(arguments) == 2 and type(arguments[0]) is str:
            return arguments[0].encode("latin-1")  # how Python 3 writes bytes for Python 2
    raise _refused(path, "a call of something else than NumPy's arrays of bytes")


def _finished(value: Any) -> Any:
    """Put arrays in the place of their parts; a dict may hold lists, and lists only plain values.

    No deeper: a list that holds itself, or lists of lists of one list, would never end.
    """
    if type(value) is not dict:
        raise TypeError(type(value).__name__)
    return {_text(key): _entry(item) for key, item in value.items()}


def _entry(item: Any) -> Any:
    if isinstance(item, _Array):
        return _array(item)
    for part in item if type(item) is list else [item]:
        if type(part) not in (str, bytes, int, bool, type(None)):
            raise TypeError(type(part).__name__)
    return item


def _text(key: Any) -> str:
    return key.decode("latin-1") if isinstance(key, bytes) else str(key)


def _array(value: _Array) -> np.ndarray:
    # NumPy's own order: version, shape, type, whether columns come first, bytes
    _, shape, dtype, columns_first, body = value.state
    if value.kind != "ndarray" or not isinstance(dtype, _Array) or dtype.kind != "dtype":
        raise TypeError
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
