"""Tensors by name into a network, and the report of which found their place."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from nemd_toolkit.checkpoints import State, shown
from nemd_toolkit.errors import InputError

__all__ = ["LoadReport", "load_into", "prefixes_that_fit", "report_of", "some_of"]

_SHOWN = 3  # names in a message
_STATISTICS = ("running_mean", "running_var")  # buffers that are learned
_COUNTER = "num_batches_tracked"  # evaluation does not read it


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """Names of the tensors that were loaded into an encoder, and of those that were not.

    >>> LoadReport(matched=("a", "b"), missing=("c",)).sentence()
    "WARNING: only 2 of the encoder's 3 tensors were in the checkpoint, the others are random (c)"
    """

    matched: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()  # of the encoder, not in the checkpoint: they stay random
    unexpected: tuple[str, ...] = ()  # of the checkpoint, beside loaded ones, not in the encoder
    ignored: tuple[str, ...] = ()  # of the checkpoint, known to be of no use here: heads and so on

    @property
    def complete(self) -> bool:
        """Whether encoder and checkpoint fit, apart from what is known to be of no use."""
        return not (self.missing or self.unexpected)

    def sentence(self) -> str:
        """Say what was loaded; it begins with WARNING where something does not fit."""
        count, total = len(self.matched), len(self.matched) + len(self.missing)
        if not total:
            return "the checkpoint's weights were not loaded: the encoder is a function"
        said = f"all {total} tensors of the encoder were in the checkpoint"
        if self.missing:
            said = (
                f"only {count} of the encoder's {total} tensors were in the checkpoint, the others "
                f"are random ({some_of(self.missing)})"
            )
        if self.unexpected:
            said += (
                f"; {len(self.unexpected)} of the checkpoint's have no place in this encoder "
                f"({some_of(self.unexpected)})"
            )
        if self.ignored:
            said += f"; {len(self.ignored)} others were left out ({some_of(self.ignored)})"
        return said if self.complete else f"WARNING: {said}"


def load_into(module: nn.Module, state: State, *, ignored: Iterable[str] = ()) -> LoadReport:
    """Load by name what the module knows, and say what did and what did not find its place.

    `ignored` are beginnings of names of no use here. Raises InputError if nothing fits, or if a
    shape differs.

    >>> import torch
    >>> load_into(nn.Linear(2, 1), {"weight": torch.ones(1, 2), "head": torch.ones(1)}).missing
    ('bias',)
    """
    own = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    useless = tuple(ignored)
    given = {n: value for n, value in state.items() if n in own and not n.startswith(useless)}
    unexpected = [name for name in state if name not in own]
    report = report_of(module, state, own.keys() - given.keys(), unexpected, useless)
    different = [name for name, value in given.items() if not _fits(own[name], value)]
    if different:
        name, more = different[0], len(different) - 1
        raise InputError(
            f"encoder: expected {shown(name)} to be {_kind(own[name])} as in the encoder, got "
            f"{_kind(state[name])} in the checkpoint{f' ({more} more differ)' if more else ''}; "
            "choose the encoder that these weights were trained with"
        )
    module.load_state_dict(given, strict=False)
    return report


def report_of(
    module: nn.Module,
    state: State,
    missing: Collection[str],
    unexpected: Collection[str],
    ignored: tuple[str, ...] = (),
) -> LoadReport:
    """Sort what is missing in a state dict, and what is left over in it, by what it means.

    Left-over names count as unexpected where others below the same module were loaded, and else as
    ignored: a projector beside an encoder is none of its parts. `ignored` are beginnings of names.
    Raises InputError if nothing was loaded.

    >>> import torch
    >>> one = torch.ones(1)
    >>> state = {"weight": one, "bias": one, "head.bias": one}
    >>> report_of(nn.Linear(2, 1), state, missing=(), unexpected=("head.bias",)).ignored
    ('head.bias',)
    """
    needed = [name for name in _needed(module) if not name.startswith(ignored)]
    absent = tuple(name for name in needed if name in set(missing))
    if len(absent) == len(needed):
        raise InputError(
            f"encoder: expected names such as {some_of(needed)} in the checkpoint, got "
            f"{some_of(state)}, and none in common; choose the encoder that these weights were "
            "trained with"
        )
    useless = {name for name in state if name.startswith(ignored) or name.endswith(_COUNTER)}
    left = {*unexpected, *useless}
    parts = {name.partition(".")[0] for name in state if name not in left}
    strange = [n for n in unexpected if n not in useless and n.partition(".")[0] in parts]
    return LoadReport(
        matched=tuple(name for name in needed if name not in set(missing)),
        missing=absent,
        unexpected=tuple(strange),
        ignored=tuple(
            name
            for name in state
            if name in left and name not in strange and not name.endswith(_COUNTER)
        ),
    )


def prefixes_that_fit(own: State, state: State) -> tuple[str, ...]:
    """Beginnings of the state's names behind which most of an encoder's own names stand.

    Of those, the ones with most of its shapes; several if they are alike in both, none if no name
    of the state ends with one of the encoder's.

    >>> import torch
    >>> one = torch.ones(1)
    >>> state = {"q.a.w": one, "q.b": one, "k.a.w": one, "k.b": one, "k.c": one}
    >>> prefixes_that_fit({"a.w": one, "b": one}, state)
    ('q.', 'k.')
    """
    names, shapes = Counter[str](), Counter[str]()
    for name, value in state.items():
        words = name.split(".")
        for place in range(len(words)):
            found = own.get(".".join(words[place:]))
            if found is not None:
                prefix = ".".join([*words[:place], ""])
                names[prefix] += 1
                shapes[prefix] += found.shape == value.shape
    best = max(((names[prefix], shapes[prefix]) for prefix in names), default=(0, 0))
    return tuple(prefix for prefix in names if (names[prefix], shapes[prefix]) == best)


def some_of(names: Collection[str]) -> str:
    """List the first few names, and how many more there are.

    >>> some_of(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    first = ", ".join(shown(name) for name in list(names)[:_SHOWN])
    more = len(names) - _SHOWN
    return (first + (f" and {more} more" if more > 0 else "")) or "no names"


def _needed(module: nn.Module) -> tuple[str, ...]:
    """Names that a checkpoint must hold: all but counters and constants, which networks make."""
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    return tuple(
        name for name in module.state_dict() if name in parameters or name.endswith(_STATISTICS)
    )


def _fits(own: Tensor, value: Tensor) -> bool:
    return own.shape == value.shape and own.is_floating_point() == value.is_floating_point()


def _kind(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
