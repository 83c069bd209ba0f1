"""Where in training a checkpoint was saved: what it says itself, else the numbers in its name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from nemd_toolkit.checkpoints import read_content
from nemd_toolkit.errors import NemdError

__all__ = ["Order", "Position", "natural_key", "order_of", "stored_position"]

_STEPS = ("global_step", "step", "iteration", "iter", "num_updates")
_TABLES = {".npy", ".npz", ".parquet"}
_MOST = 1 << 53
_LONGEST_LABEL = 40
_NUMBER = re.compile(r"\d{1,15}")
_EPOCH = re.compile(r"(?:^|[^a-z])(?:epoch|ep|e)[-_=\s]*$", re.IGNORECASE)
_STEP = re.compile(r"(?:step|iter|iteration|it|update)s?[-_=\s]*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Epoch and step as a checkpoint states them, counted as its program counts."""

    epoch: int | None
    step: int | None  # None of pauc-train's: the epoch was whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Checkpoints in the order of training: their places in what was given, and how each is called.

    `at` is where each stands on the horizontal axis, rising.
    """

    places: tuple[int, ...]
    labels: tuple[str, ...]
    at: tuple[float, ...]
    unit: str  # "epoch", "step" or "checkpoint"
    by: str  # what the order rests on, for the page


def stored_position(path: Path) -> Position | None:
    """Read when a checkpoint says that it was saved; None for embeddings, and if it says nothing.

    `epoch`, and `global_step`, `step`, `iteration` or `iter`, of the file or of its `meta`
    (mmengine). A checkpoint of pauc-train within an epoch says so, too.
    """
    if path.suffix.lower() in _TABLES:
        return None
    try:
        data = read_content(path).data
    except (NemdError, OSError):  # analysing it says why
        return None
    if not isinstance(data, Mapping):
        return None
    inside = data.get("meta")
    for table in (data, inside):
        if isinstance(table, Mapping) and (found := _position(table)) is not None:
            return found
    return None


def _position(table: Mapping[Any, Any]) -> Position | None:
    epoch = _whole(table.get("epoch"))
    step = next((s for name in _STEPS if (s := _whole(table.get(name))) is not None), None)
    own = table.get("nemd")  # pauc-train
    following = own.get("next") if isinstance(own, Mapping) else None
    if epoch is not None and isinstance(following, Mapping):
        return Position(epoch=epoch, step=_whole(following.get("step")) or None)
    return None if epoch is None and step is None else Position(epoch=epoch, step=step)


def _whole(value: Any) -> int | None:
    if hasattr(value, "ndim") and value.ndim == 0:  # a tensor of one number
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < _MOST else None


def natural_key(text: str) -> tuple[Any, ...]:
    """Sort names as people do: numbers by their value.

    >>> sorted(["e10.pt", "e9.pt", "best.pt"], key=natural_key)
    ['best.pt', 'e9.pt', 'e10.pt']
    """
    parts = re.split(r"(\d+)", text)
    return tuple(
        (int(part[:300]), "") if part.isdigit() and part.isascii() else (-1, part.lower())
        for part in parts
    )


def order_of(names: Sequence[str], positions: Sequence[Position | None]) -> Order:
    """Order by the epochs (or steps) that all of them store, else by the numbers in the names.

    >>> order_of(["b.pt", "a.pt"], [Position(epoch=1, step=None), Position(epoch=2, step=None)]).at
    (1.0, 2.0)
    >>> found = order_of(["epoch10.npz", "epoch9.npz"], [None, None])
    >>> found.places, found.labels, found.by
    ((1, 0), ('epoch 9', 'epoch 10'), 'the numbers in the file names')
    """
    epochs = [p.epoch if p else None for p in positions]
    steps = [p.step if p else None for p in positions]
    if _all_differ(epochs):
        return _by_position(names, positions, "epoch")
    if _all_differ(steps):
        return _by_position(names, positions, "step")
    if None not in epochs and len(set(epochs)) > 1:
        return _by_position(names, positions, "epoch")
    return _by_name(names)


def _all_differ(values: Sequence[int | None]) -> bool:
    return None not in values and len(set(values)) == len(values)


def _by_position(names: Sequence[str], positions: Sequence[Position | None], unit: str) -> Order:
    def key(place: int) -> tuple[Any, ...]:
        position = positions[place]
        assert position is not None
        within = inf if position.step is None else position.step
        return getattr(position, unit), within, natural_key(names[place])

    places = sorted(range(len(names)), key=key)
    values = [getattr(positions[place], unit) for place in places]
    labels = [f"{unit} {value}" for value in values]
    twice = {label for label in labels if labels.count(label) > 1}
    return Order(
        places=tuple(places),
        labels=tuple(
            f"{label} ({_plain(names[place])})" if label in twice else label
            for label, place in zip(labels, places, strict=True)
        ),
        at=_apart([float(value) for value in values]),
        unit=unit,
        by=f"the {unit}s that the checkpoints store",
    )


def _by_name(names: Sequence[str]) -> Order:
    places = sorted(range(len(names)), key=lambda place: natural_key(names[place]))
    ordered = [Path(names[place]).name for place in places]
    numbers = [_NUMBER.findall(name) for name in ordered]
    varying = next(
        (
            column
            for column in range(min(map(len, numbers)))
            if len({row[column] for row in numbers}) == len(names)
        ),
        None,
    )
    if varying is None:
        at = tuple(float(place) for place in range(len(names)))
        by = "the file names, which have no number that tells all of them apart"
        labels = tuple(_plain(name) for name in ordered)
        return Order(places=tuple(places), labels=labels, at=at, unit="checkpoint", by=by)
    values = [int(row[varying]) for row in numbers]
    unit = _unit(ordered[0], varying)
    rank = sorted(range(len(values)), key=values.__getitem__)
    return Order(
        places=tuple(places[r] for r in rank),
        labels=tuple(f"{unit} {values[r]}" for r in rank),
        at=tuple(float(values[r]) for r in rank),
        unit=unit,
        by="the numbers in the file names",
    )


def _plain(name: str) -> str:
    """Give a file's name for use within a sentence: short, on one line, writing one way."""
    shown = "".join(c if c.isprintable() else "?" for c in name)
    return shown if len(shown) <= _LONGEST_LABEL else f"{shown[: _LONGEST_LABEL - 1]}…"


def _unit(name: str, column: int) -> str:
    start = list(_NUMBER.finditer(name))[column].start()
    before = name[:start]
    if _EPOCH.search(before):
        return "epoch"
    return "step" if _STEP.search(before) else "checkpoint"


def _apart(values: list[float]) -> tuple[float, ...]:
    """Set checkpoints of one epoch side by side, so that curves go on rising."""
    return tuple(
        value + values[:place].count(value) / (values.count(value) or 1)
        for place, value in enumerate(values)
    )
