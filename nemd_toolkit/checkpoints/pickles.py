"""Following a checkpoint's pickle without building anything, to see what it would ask for.

A pickle is a program for a stack machine. This one runs it on stand-ins: globals are names, calls
are names of calls, tensors are claims about bytes. So a global off the list, a tensor larger than
its file, a tuple that doubles a thousand times or a text encoded over and over is refused before
`torch.load` sees the file.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from math import prod
from mmap import mmap
from pathlib import Path
from typing import IO, Any, cast

from nemd_toolkit.checkpoints.allowed import CALLS, GLOBALS, REBUILDS, STATEFUL, item_bytes
from nemd_toolkit.checkpoints.wording import shown
from nemd_toolkit.errors import InputError, UnsafeFile

__all__ = ["Claim", "follow_pickle"]

_PROTOCOL = 2  # torch.save's default
_HEAVIEST = 1_000_000  # leaves a tuple may have once unfolded: hashing visits them all
_DEEPEST = 50  # tuples within tuples: hashing recurses
_MOST_NUMBERS = 129  # an offset, and shape and stride of 64 axes: torch's most
_OVERLAP = 1 << 24  # bytes a tensor may show beyond its storage, its rows repeated by expand()
_SPARE = 1 << 20  # entries and letters that calls may copy beyond the bytes of the pickle so far
_GARBAGE = (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a pickle says of one storage: the type of its elements, and how many there are."""

    kind: str
    count: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.count * item_bytes(self.kind)


@dataclass(frozen=True, slots=True)
class _Global:
    name: str


@dataclass(slots=True, eq=False)
class _Made:
    """A list, a dictionary, or the result of calling a global."""

    name: str
    weight: int = 0  # what a copy of it costs: entries or letters


@dataclass(frozen=True, slots=True, eq=False)
class _Tuple:
    items: list[Any]
    weight: int  # leaves once unfolded
    depth: int


_OPAQUE = object()  # None, truth values, floats


def follow_pickle(stream: BytesIO | mmap, path: Path) -> tuple[Any, dict[str | int, Claim]]:
    """Follow one pickle to its end; give the object on top and the claims by storage key.

    Strings and integers come as they are. Raises UnsafeFile for a global off the list or a claim
    that cannot be true, InputError for bytes that are no pickle of torch's.

    >>> import pickle
    >>> follow_pickle(BytesIO(pickle.dumps(7, 2)), Path("seven"))
    (7, {})
    >>> follow_pickle(BytesIO(pickle.dumps(print, 2)), Path("bad.pt"))
    Traceback (most recent call last):
    ...
    nemd_toolkit.errors.UnsafeFile: bad.pt: expected only tensors, containers, text and numbers, \
got a request for builtins.print; nothing was run, save state dicts and plain values only
    """
    machine = _Machine(path)
    try:
        for opcode, argument, place in pickletools.genops(cast(IO[bytes], stream)):
            machine.read = place or 0
            machine.step(opcode.name, argument)
        result = machine.stack.pop()
    except _GARBAGE:
        raise InputError(
            f"{path}: expected a checkpoint saved by torch.save or safetensors, got bytes that "
            "are neither; the file is damaged or of another kind, copy or save it again"
        ) from None
    if machine.protocols != {_PROTOCOL}:
        raise machine.foreign(", ".join(map(str, sorted(machine.protocols))) or "an older one")
    return result, machine.claims


@dataclass(slots=True)
class _Machine:
    path: Path
    stack: list[Any] = field(default_factory=list)
    outer: list[list[Any]] = field(default_factory=list)  # stacks below each open mark
    memo: dict[int, Any] = field(default_factory=dict)
    claims: dict[str | int, Claim] = field(default_factory=dict)
    protocols: set[int] = field(default_factory=set)
    read: int = 0  # bytes
    copied: int = 0  # entries and letters

    def step(self, code: str, argument: Any) -> None:
        if code in _PLAIN:
            self.stack.append(argument)
        elif code in _UNREAD:
            self.stack.append(_OPAQUE)
        elif code in _ACTIONS:
            _ACTIONS[code](self, argument)
        elif code not in _FRAMING:
            raise self.foreign(f"the instruction {code}")

    def foreign(self, got: str) -> InputError:
        return InputError(
            f"{self.path}: expected pickle protocol {_PROTOCOL}, which torch reads safely, got "
            f"{got}; save it again with torch.save's defaults"
        )

    def refuse(self, wanted: str) -> UnsafeFile:
        return UnsafeFile(
            f"{self.path}: expected only tensors, containers, text and numbers, got {wanted}; "
            "nothing was run, save state dicts and plain values only"
        )

    def name(self, argument: str | None) -> None:
        # only STACK_GLOBAL, of protocol 4, takes the two words from the stack
        module, name = self.last(2) if argument is None else argument.split(" ", 1)
        full = f"{'builtins' if module == '__builtin__' else module}.{name}"
        if full not in GLOBALS:
            raise self.refuse(f"a request for {shown(full)}")
        self.stack.append(_Global(full))

    def mark(self) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.outer.pop()
        return items

    def last(self, count: int) -> list[Any]:
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def push_tuple(self, items: list[Any]) -> None:
        inner = [item for item in items if isinstance(item, _Tuple)]
        weight = 1 + len(items) + sum(item.weight for item in inner)
        depth = 1 + max((item.depth for item in inner), default=0)
        if weight > _HEAVIEST or depth > _DEEPEST:
            raise self.refuse(f"tuples nested {depth} deep with {weight:,} entries")
        self.stack.append(_Tuple(items, weight, depth))

    def call(self) -> None:
        function, arguments = self.last(2)
        name = function.name if isinstance(function, _Global) else "an object"
        if name not in CALLS:
            raise self.refuse(f"a call of {name}")
        if name == "_codecs.encode" and arguments.items[1:] != ["latin1"]:
            raise self.refuse("a call of _codecs.encode for another encoding than latin1")
        if name in REBUILDS:
            self.check_view(arguments.items, REBUILDS[name])
        self.stack.append(_Made(name, self.charge(arguments.items)))

    def charge(self, items: list[Any]) -> int:
        """Count what a call copies: the same few bytes may be handed to many calls."""
        weight = 1 + sum(len(i) if isinstance(i, str) else getattr(i, "weight", 1) for i in items)
        self.copied += weight
        if self.copied > self.read + _SPARE:
            raise self.refuse(f"calls that copy {self.copied:,} entries and letters")
        return weight

    def add(self, items: list[Any]) -> None:
        self.stack[-1].weight += len(items)

    def build(self) -> None:
        state = self.last(1)
        self.charge(state + (state[0].items if isinstance(state[0], _Tuple) else []))
        target = self.stack[-1]
        if not (isinstance(target, _Made) and target.name in STATEFUL):
            raise self.refuse("attributes for something that is no dictionary")

    def storage(self) -> None:
        word, kind, key, _, count, *_ = self.stack.pop().items
        if word != "storage" or type(key) not in (str, int) or type(count) is not int or count < 0:
            raise ValueError(word)
        claim = Claim(kind.name, count)
        if self.claims.setdefault(key, claim) != claim:
            raise self.refuse(f"two sizes for storage {shown(key)}")
        self.stack.append(claim)

    def check_view(self, arguments: list[Any], kind_at: int | None) -> None:
        """Check that a tensor stays within its storage: torch would enlarge the storage."""
        claim, offset, shape, strides = arguments[:4]
        item = item_bytes(claim.kind if kind_at is None else arguments[kind_at].name)
        numbers = [offset, *shape.items, *strides.items]
        if len(numbers) > _MOST_NUMBERS or any(type(n) is not int or n < 0 for n in numbers):
            raise ValueError(len(numbers))
        axes = list(zip(shape.items, strides.items, strict=True))
        shown = prod(shape.items) * item
        reach = (offset + 1 + sum((length - 1) * stride for length, stride in axes)) * item
        if shown and (reach > claim.size or shown > claim.size + _OVERLAP):
            raise self.refuse(
                f"a tensor of shape {tuple(shape.items)} in {claim.size:,} bytes of storage"
            )


def _memorise(machine: _Machine, place: int | None) -> None:
    machine.memo[len(machine.memo) if place is None else place] = machine.stack[-1]


_FRAMING = {"FRAME", "STOP"}
_PLAIN = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINSTRING"} | {
    # not torch's, but needed to name what a pickle of another protocol asks for
    *("SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "BINSTRING", "INT", "LONG")
}
_UNREAD = {"NONE", "NEWTRUE", "NEWFALSE", "BINFLOAT"}
_ACTIONS: dict[str, Callable[[_Machine, Any], object]] = {
    "PROTO": lambda machine, protocol: machine.protocols.add(protocol),
    "GLOBAL": _Machine.name,
    "INST": _Machine.name,
    "STACK_GLOBAL": _Machine.name,
    "MARK": lambda machine, _: machine.mark(),
    "POP_MARK": lambda machine, _: machine.since_mark(),
    "EMPTY_LIST": lambda machine, _: machine.stack.append(_Made("list")),
    "EMPTY_DICT": lambda machine, _: machine.stack.append(_Made("dict")),
    "EMPTY_SET": lambda machine, _: machine.stack.append(_Made("set")),
    "EMPTY_TUPLE": lambda machine, _: machine.push_tuple([]),
    "TUPLE1": lambda machine, _: machine.push_tuple(machine.last(1)),
    "TUPLE2": lambda machine, _: machine.push_tuple(machine.last(2)),
    "TUPLE3": lambda machine, _: machine.push_tuple(machine.last(3)),
    "TUPLE": lambda machine, _: machine.push_tuple(machine.since_mark()),
    "APPEND": lambda machine, _: machine.add(machine.last(1)),
    "SETITEM": lambda machine, _: machine.add(machine.last(2)),
    "APPENDS": lambda machine, _: machine.add(machine.since_mark()),
    "SETITEMS": lambda machine, _: machine.add(machine.since_mark()),
    "BINGET": lambda machine, place: machine.stack.append(machine.memo[place]),
    "LONG_BINGET": lambda machine, place: machine.stack.append(machine.memo[place]),
    "BINPUT": _memorise,
    "LONG_BINPUT": _memorise,
    "MEMOIZE": _memorise,
    "REDUCE": lambda machine, _: machine.call(),
    "NEWOBJ": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.storage(),
}
