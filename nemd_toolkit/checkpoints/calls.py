"""What a pickle's calls become: plain containers, tensors over storages, or stubs.

Nothing that a file names is looked up, imported or called. A handful of names mean something here
(`OrderedDict`, torch's `_rebuild_tensor_v2`); all others become a `Stub`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from nemd_toolkit.checkpoints.stubs import Stub

__all__ = ["KNOWN", "BadClaim", "Claim", "Global", "Storages", "claimed", "make", "plain_key"]

_OVERLAP = 1 << 24  # bytes a tensor may show beyond its storage, its rows repeated by expand()
_MOST_NUMBERS = 129  # an offset, and shape and stride of 64 axes: torch's most
_LARGEST_KEY = 1 << 60  # larger numbers can be made to share one hash
_MOST_BYTES = 1 << 62  # that shape and stride may come to: torch counts in 64 bits

_STORAGES = {
    f"torch.{place}{kind}Storage": dtype
    for place in ("", "cuda.")
    for kind, dtype in (
        ("Double", torch.float64),
        ("Float", torch.float32),
        ("Half", torch.float16),
        ("BFloat16", torch.bfloat16),
        ("Long", torch.int64),
        ("Int", torch.int32),
        ("Short", torch.int16),
        ("Char", torch.int8),
        ("Byte", torch.uint8),
        ("Bool", torch.bool),
        ("ComplexDouble", torch.complex128),
        ("ComplexFloat", torch.complex64),
    )
}
_UNTYPED = dict.fromkeys(("torch.storage.UntypedStorage", "torch.UntypedStorage"), torch.uint8)
_DTYPES = {f"torch.{name}": v for name, v in vars(torch).items() if isinstance(v, torch.dtype)}
_KINDS = {**_STORAGES, **_UNTYPED, **_DTYPES}


class BadClaim(Exception):
    """A claim that cannot be true, in words."""


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function by name, module first."""

    name: str


@dataclass(frozen=True, slots=True)
class Claim:
    """What a pickle says of one storage: its key, the type and the number of its elements."""

    key: str | int
    kind: str
    count: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.count * _KINDS[self.kind].itemsize


# Gives the bytes of a claim.
Storages = Callable[[Claim], torch.UntypedStorage]


def claimed(items: Sequence[Any]) -> Claim:
    """Read a storage's persistent id. Raises ValueError for anything else.

    >>> claimed(("storage", Global("torch.HalfStorage"), "0", "cpu", 3)).size
    6
    """
    word, kind, key, _, count, *view = items
    if any(part is not None for part in view):
        raise BadClaim("a storage that is a part of another one")
    if word != "storage" or not isinstance(kind, Global) or kind.name not in _KINDS:
        raise ValueError(word)
    if type(key) not in (str, int) or type(count) is not int or count < 0:
        raise ValueError(key)
    return Claim(key, kind.name, count)


def make(function: Any, arguments: tuple[Any, ...], storages: Storages | None) -> Any:
    """Give what a call makes; without `storages` tensors are left out (None)."""
    if not isinstance(function, Global):
        return Stub("an object that was called", arguments)
    name = function.name
    if name in _REBUILDS:
        return _tensor(arguments, _REBUILDS[name], storages)
    if name == "torch._tensor._rebuild_from_type_v2":  # a tensor of a subclass, with its state
        return make(arguments[0], tuple(arguments[2]), storages)
    if name in _PLAIN:
        return _PLAIN[name](arguments)
    if name in _OF_CLASS and arguments and isinstance(arguments[0], Global):
        return Stub(arguments[0].name, arguments[1:])
    return Stub(name, arguments)


def _tensor(
    arguments: tuple[Any, ...], kind_at: int | None, storages: Storages | None
) -> Tensor | None:
    claim, offset, shape, strides = arguments[:4]
    if not isinstance(claim, Claim):
        raise ValueError(claim)  # noqa: TRY004  (garbage as any other)
    kind = claim.kind if kind_at is None else arguments[kind_at].name
    shape, strides = tuple(shape), tuple(strides)
    _check_view(claim, kind, offset, shape, strides)
    if storages is None:
        return None
    empty = torch.empty(0, dtype=_KINDS[kind])
    return empty.set_(storages(claim), offset, shape, strides)


def _check_view(
    claim: Claim, kind: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    """Check that a tensor stays within its storage: torch would enlarge the storage."""
    item = _KINDS[kind].itemsize
    numbers = [offset, *shape, *strides]
    if len(numbers) > _MOST_NUMBERS or any(type(n) is not int or n < 0 for n in numbers):
        raise ValueError(len(numbers))
    axes = list(zip(shape, strides, strict=True))
    seen = prod(shape) * item
    reach = (offset + 1 + sum((length - 1) * stride for length, stride in axes)) * item
    numberless = seen == 0 and max(numbers) * item > max(claim.size, _OVERLAP)
    if numberless or max(numbers) > _MOST_BYTES:
        raise BadClaim(f"a tensor of shape {shape} without elements")
    if seen and (reach > claim.size or seen > claim.size + _OVERLAP):
        raise BadClaim(f"a tensor of shape {shape} in {claim.size:,} bytes of storage")


def _pairs(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """Make a dictionary from nothing, a dictionary, or a list of pairs (Python 2 wrote that)."""
    given = arguments[0] if arguments else ()
    found = dict(given) if isinstance(given, Mapping) else {}
    if isinstance(given, list | tuple):
        for key, value in given:
            found[plain_key(key)] = value
    return found


def _encoded(arguments: tuple[Any, ...]) -> bytes:
    text, *encoding = arguments
    if encoding not in (["latin1"], ["latin-1"]) or not isinstance(text, str):
        raise BadClaim("a text to be encoded other than as latin1")
    return text.encode("latin1")  # how protocol 2 writes bytes


def plain_key(value: Any) -> Any:
    """Give back a key or a member of a set; refuse those that are made to be slow.

    >>> plain_key("a")
    'a'
    """
    if isinstance(value, int) and abs(value) > _LARGEST_KEY:
        raise BadClaim("a key of more than 60 bits")
    return value


def _first(arguments: tuple[Any, ...]) -> Any:
    return arguments[0]


# Functions that make a tensor over a storage, and where their arguments name the element type
# (None: the storage's own).
_REBUILDS: dict[str, int | None] = {
    "torch._utils._rebuild_tensor": None,
    "torch._utils._rebuild_tensor_v2": None,
    "torch._utils._rebuild_tensor_v3": 6,
}
_PLAIN: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "collections.OrderedDict": _pairs,
    "builtins.dict": _pairs,
    "collections.defaultdict": lambda arguments: _pairs(arguments[1:]),
    "builtins.list": lambda arguments: list(*arguments),
    "builtins.set": lambda arguments: set(map(plain_key, *(arguments or ((),)))),
    "builtins.frozenset": lambda arguments: frozenset(map(plain_key, *(arguments or ((),)))),
    "builtins.tuple": lambda arguments: tuple(*arguments),
    "builtins.bytearray": lambda arguments: _encoded(arguments) if arguments else b"",
    "builtins.complex": lambda arguments: complex(*arguments),
    "torch.Size": lambda arguments: tuple(*arguments),
    "torch.device": lambda arguments: ":".join(str(part)[:40] for part in arguments),
    "_codecs.encode": _encoded,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    # TorchScript's containers
    "torch.jit._pickle.build_intlist": _first,
    "torch.jit._pickle.build_doublelist": _first,
    "torch.jit._pickle.build_boollist": _first,
    "torch.jit._pickle.build_tensorlist": _first,
    "torch.jit._pickle.restore_type_tag": _first,
}
# These make an object of the class that is their first argument.
_OF_CLASS = {"copyreg._reconstructor", "copy_reg._reconstructor", "copyreg.__newobj__"}
# Names that mean something here; all others are listed as not executed.
KNOWN = {*_REBUILDS, *_PLAIN, *_OF_CLASS, *_KINDS, "torch._tensor._rebuild_from_type_v2"}
