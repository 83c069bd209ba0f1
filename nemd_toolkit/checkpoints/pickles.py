"""Reading a pickle without executing it.

A pickle is a program for a stack machine. This machine knows containers, text and numbers; what
the program names is kept as a name, what it calls is decided by `calls`, and nothing is imported.
So a pickle of any protocol can be read, whatever classes it names. What would take more time or
memory than the file's own size justifies (tuples within tuples within tuples, one text encoded
over and over) is refused.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from mmap import mmap
from pathlib import Path
from typing import IO, Any, cast

from nemd_toolkit.checkpoints.calls import (
    KNOWN,
    BadClaim,
    Claim,
    Global,
    Storages,
    claimed,
    make,
    plain_key,
)
from nemd_toolkit.checkpoints.stubs import Stub
from nemd_toolkit.checkpoints.wording import shown
from nemd_toolkit.errors import InputError, UnsafeFile

__all__ = ["Pickled", "read_pickle"]

_HEAVIEST = 1_000_000  # leaves a tuple may have once unfolded: hashing visits them all
_DEEPEST = 50  # tuples within tuples: hashing recurses
_SPARE = 1 << 20  # entries and letters that calls may copy beyond the bytes of the pickle so far
_GARBAGE = (
    *(ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError),
    RecursionError,
    RuntimeError,  # torch's
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pickled:
    """What a pickle makes, and what it names on the way."""

    value: Any
    claims: dict[str | int, Claim]  # storages, by key
    names: frozenset[str]  # of all classes and functions that it asks for, known ones too

    @property
    def stubs(self) -> tuple[str, ...]:
        """Classes and functions that were not executed, sorted, fit to print."""
        return tuple(sorted(shown(name) for name in self.names - KNOWN))


def read_pickle(stream: BytesIO | mmap, path: Path, storages: Storages | None = None) -> Pickled:
    """Read one pickle, leaving the stream behind it; tensors only where `storages` holds bytes.

    Objects of classes become `Stub`s. Raises UnsafeFile for claims that cannot be true, InputError
    for bytes that are no pickle.

    >>> import pickle
    >>> read_pickle(BytesIO(pickle.dumps({"a": [7]})), Path("a.pkl")).value
    {'a': [7]}
    >>> read_pickle(BytesIO(pickle.dumps(print)), Path("a.pkl")).stubs
    ('builtins.print',)
    """
    machine = _Machine(path, storages)
    try:
        for opcode, argument, place in pickletools.genops(cast(IO[bytes], stream)):
            machine.read = place or 0
            machine.step(opcode.name, argument)
        value = machine.stack.pop()
    except BadClaim as claim:
        raise machine.refuse(str(claim)) from None
    except _GARBAGE:
        raise InputError(
            f"{path}: expected a checkpoint saved by torch.save or safetensors, got bytes that "
            "are neither; the file is damaged or of another kind, copy or save it again"
        ) from None
    value = Stub(value.name) if isinstance(value, Global) else value
    return Pickled(value=value, claims=machine.claims, names=frozenset(machine.names))


@dataclass(slots=True)
class _Machine:
    path: Path
    storages: Storages | None
    stack: list[Any] = field(default_factory=list)
    outer: list[list[Any]] = field(default_factory=list)  # stacks below each open mark
    memo: dict[int, Any] = field(default_factory=dict)
    claims: dict[str | int, Claim] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    # of tuples by identity, which are kept so that it stays theirs: leaves once unfolded, depth
    weights: dict[int, tuple[int, int, tuple[Any, ...]]] = field(default_factory=dict)
    read: int = 0  # bytes
    copied: int = 0  # entries and letters

    def step(self, code: str, argument: Any) -> None:
        if code in _LITERALS:
            self.stack.append(argument)
        elif code in _ACTIONS:
            _ACTIONS[code](self, argument)
        elif code not in _FRAMING:
            raise ValueError(code)

    def refuse(self, wanted: str) -> UnsafeFile:
        return UnsafeFile(
            f"{self.path}: expected only what the file's own size can hold, got {wanted}; "
            "the file is damaged or hostile, nothing of it was run, download it again"
        )

    def name(self, argument: str | None) -> None:
        # only STACK_GLOBAL, of protocol 4, takes the two words from the stack
        module, name = self.last(2) if argument is None else argument.split(" ", 1)
        if not (isinstance(module, str) and isinstance(name, str)):
            raise ValueError(module)  # noqa: TRY004  (garbage as any other)
        place = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
        full = f"{place}.{name}"
        self.names.add(full)
        self.stack.append(Global(full))

    def mark(self) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.outer.pop()
        return items

    def last(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise IndexError(count)
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def push(self, value: Any) -> None:
        """Put a value on the stack; a tuple made of tuples is weighed."""
        if isinstance(value, tuple | frozenset):
            inner = [self.weights[id(item)] for item in value if id(item) in self.weights]
            weight = 1 + len(value) + sum(known[0] for known in inner)
            depth = 1 + max((known[1] for known in inner), default=0)
            if weight > _HEAVIEST or depth > _DEEPEST:
                raise BadClaim(f"tuples nested {depth} deep with {weight:,} entries")
            self.weights[id(value)] = (weight, depth, value)  # type: ignore[assignment]
        self.stack.append(value)

    def call(self, function: Any, arguments: Any) -> None:
        if not isinstance(arguments, tuple):
            raise ValueError(arguments)  # noqa: TRY004  (garbage as any other)
        self.charge(arguments)
        self.push(make(function, arguments, self.storages))

    def charge(self, items: tuple[Any, ...]) -> None:
        """Count what a call copies: the same few bytes may be handed to many calls."""
        self.copied += 1 + sum(len(i) if hasattr(i, "__len__") else 1 for i in items)
        if self.copied > self.read + _SPARE:
            raise BadClaim(f"calls that copy {self.copied:,} entries and letters")

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Stub):
            target.items.extend(items)
        elif isinstance(target, list):
            target.extend(items)
        elif isinstance(target, set):
            target.update(map(plain_key, items))
        else:
            raise ValueError(target)  # noqa: TRY004  (garbage as any other)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        entries = target.attributes if isinstance(target, Stub) else target
        if not isinstance(entries, dict):
            raise ValueError(entries)  # noqa: TRY004  (garbage as any other)
        for key, value in zip(items[::2], items[1::2], strict=True):
            entries[plain_key(key)] = value

    def build(self) -> None:
        """Give a stub its attributes; containers and tensors do without them."""
        state = self.last(1)[0]
        target = self.stack[-1]
        if isinstance(target, dict) and not isinstance(state, dict | tuple):
            raise BadClaim("a state for a dictionary that cannot have one")
        if not isinstance(target, Stub):
            return
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        self.charge(parts)
        for part in parts:
            if isinstance(part, dict):
                target.attributes.update(part)
            elif part is not None:
                target.state = state

    def storage(self, items: Any) -> None:
        if items[:1] == ("module",):  # a class, and beside it its source code, which is not read
            self.stack.append(items[1])
            return
        claim = claimed(items)
        if self.claims.setdefault(claim.key, claim) != claim:
            raise BadClaim(f"two sizes for storage {shown(claim.key)}")
        self.stack.append(claim)

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.stack = self.outer.pop()

    def instance(self, arguments: list[Any]) -> None:
        self.call(arguments[0], tuple(arguments[1:]))


def _memorise(machine: _Machine, place: int | None) -> None:
    machine.memo[len(machine.memo) if place is None else place] = machine.stack[-1]


def _inst(machine: _Machine, argument: str) -> None:
    items = machine.since_mark()
    machine.name(argument)
    machine.call(machine.stack.pop(), tuple(items))


def _dict(machine: _Machine, _: None) -> None:
    items = machine.since_mark()
    machine.stack.append({})
    machine.set_items(items)


_FRAMING = {"FRAME", "STOP", "PROTO"}
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_ACTIONS: dict[str, Callable[[_Machine, Any], object]] = {
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "BYTEARRAY8": lambda machine, argument: machine.stack.append(bytes(argument)),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name,
    "INST": _inst,
    "OBJ": lambda machine, _: machine.instance(machine.since_mark()),
    "MARK": lambda machine, _: machine.mark(),
    "POP_MARK": lambda machine, _: machine.since_mark(),
    "POP": lambda machine, _: machine.pop(),
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_SET": lambda machine, _: machine.stack.append(set()),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "LIST": lambda machine, _: machine.stack.append(machine.since_mark()),
    "DICT": _dict,
    "FROZENSET": lambda machine, _: machine.push(frozenset(map(plain_key, machine.since_mark()))),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.last(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.last(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.last(3))),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "APPEND": lambda machine, _: machine.extend(machine.last(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "ADDITEMS": lambda machine, _: machine.extend(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.set_items(machine.last(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "GET": lambda machine, place: machine.stack.append(machine.memo[place]),
    "BINGET": lambda machine, place: machine.stack.append(machine.memo[place]),
    "LONG_BINGET": lambda machine, place: machine.stack.append(machine.memo[place]),
    "PUT": _memorise,
    "BINPUT": _memorise,
    "LONG_BINPUT": _memorise,
    "MEMOIZE": _memorise,
    "REDUCE": lambda machine, _: machine.call(*machine.last(2)),
    "NEWOBJ": lambda machine, _: machine.call(*machine.last(2)),
    "NEWOBJ_EX": lambda machine, _: machine.call(*machine.last(3)[:2]),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.storage(machine.last(1)[0]),
}
