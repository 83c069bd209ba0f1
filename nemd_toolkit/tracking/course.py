"""What a row of checkpoints tells: when the collapse begins, when each finding does, which is best.

A finding begins at the first checkpoint from which it persists: it is an issue there, an issue is
the last clear word on it, and nowhere between does it pass. Warnings, and checkpoints where it
cannot be told (as coagulation of a single point cannot), neither begin nor end it. The collapse as
a whole goes by the verdict in the same way. What fired and passed again is told as intermittent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nemd_toolkit.findings import CHECKS, About
from nemd_toolkit.measures import Interval
from nemd_toolkit.measures.paired import independent_change
from nemd_toolkit.tracking.points import Number, Point

__all__ = ["Best", "Course", "Onset", "Stop", "course_of", "persists_from"]

Word = Literal["fired", "passed", "unclear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """One checkpoint on the way."""

    label: str  # "epoch 12"
    at: float  # its place on the axis
    file: str
    sha256: str
    point: Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Onset:
    """When a finding begins to persist, and where it fired without persisting; places from 0."""

    about: About
    begins: int | None
    passing: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The healthy checkpoint whose rows are the most uniform, and those within noise of it."""

    place: int
    alike: tuple[int, ...]  # other healthy ones, uniformity within noise of the best


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """All checkpoints in the order of training, and what they tell together."""

    stops: tuple[Stop, ...]
    unit: str  # of the axis: "epoch", "step" or "checkpoint"
    ordered_by: str
    collapse: int | None  # the first checkpoint of the collapse that lasts
    doubt: int | None  # from here to the collapse, or to the end, the verdict is inconclusive
    recovered: tuple[int, ...]  # collapsed, and healthy again later
    onsets: tuple[Onset, ...]  # in the order of CHECKS
    best: Best | None  # None where no checkpoint is healthy

    def numbers(self, name: str) -> list[Number]:
        """One of the numbers over all checkpoints."""
        return [stop.point.numbers[name] for stop in self.stops]

    @property
    def kinds(self) -> list[str]:
        """Names of the collapses that are issues where the collapse begins."""
        return [] if self.collapse is None else _collapses(self.stops[self.collapse])

    @property
    def later_kinds(self) -> list[str]:
        """Names of those that are issues at the last checkpoint, but not yet at the beginning."""
        if self.collapse is None:
            return []
        return [name for name in _collapses(self.stops[-1]) if name not in self.kinds]


def _collapses(stop: Stop) -> list[str]:
    findings = stop.point.findings
    return [f.about.name for f in findings if f.status == "issue" and f.about.kind == "collapse"]


def course_of(stops: Sequence[Stop], *, unit: str, ordered_by: str) -> Course:
    """Read checkpoints that stand in the order of training."""
    states = [_word_of_state(stop.point.verdict.state) for stop in stops]
    begins = persists_from(states)
    return Course(
        stops=tuple(stops),
        unit=unit,
        ordered_by=ordered_by,
        collapse=begins,
        doubt=_doubt(states, begins),
        recovered=_passing(states, begins),
        onsets=tuple(_onset(about, stops) for about, _ in CHECKS),
        best=_best(stops),
    )


def persists_from(words: Sequence[Word]) -> int | None:
    """First place of the last unbroken stretch of `fired`; None unless it reaches the end.

    >>> persists_from(["fired", "passed", "fired", "unclear", "fired", "unclear"])
    2
    >>> persists_from(["fired", "passed"]) is None
    True
    """
    begins = None
    for place in range(len(words) - 1, -1, -1):
        if words[place] == "passed":
            break
        if words[place] == "fired":
            begins = place
    return begins


def _word_of_state(state: str) -> Word:
    return "fired" if state == "collapsed" else "passed" if state == "healthy" else "unclear"


def _doubt(states: Sequence[Word], begins: int | None) -> int | None:
    end = len(states) if begins is None else begins
    start = end
    while start and states[start - 1] == "unclear":
        start -= 1
    return start if start < end else None


def _passing(words: Sequence[Word], begins: int | None) -> tuple[int, ...]:
    end = len(words) if begins is None else begins
    return tuple(place for place in range(end) if words[place] == "fired")


def _onset(about: About, stops: Sequence[Stop]) -> Onset:
    words = [_word(stop, about.code) for stop in stops]
    begins = persists_from(words)
    last = next((f for f in reversed(words) if f != "unclear"), None)
    if last == "fired" and _eased(stops, about.code):
        begins = None
    return Onset(about=about, begins=begins, passing=_passing(words, begins))


def _word(stop: Stop, code: str) -> Word:
    status = stop.point.finding(code).status
    return "fired" if status == "issue" else "passed" if status == "passed" else "unclear"


def _eased(stops: Sequence[Stop], code: str) -> bool:
    """Whether the last clear word on a finding is a warning: an issue no more."""
    statuses = [stop.point.finding(code).status for stop in stops]
    told = [status for status in statuses if status in ("issue", "warning", "passed")]
    return told[-1] == "warning"


def _best(stops: Sequence[Stop]) -> Best | None:
    """Take the most uniform healthy one; docs/track.md and reports/track say what that rests on."""
    healthy = {
        place: uniform
        for place, stop in enumerate(stops)
        if stop.point.verdict.state == "healthy"
        and isinstance(uniform := stop.point.numbers["uniform"], Interval)
    }
    if not healthy:
        return None
    best = min(healthy, key=lambda place: healthy[place].value)
    alike = tuple(
        place
        for place, uniform in healthy.items()
        if place != best and not independent_change(healthy[best], uniform).beyond
    )
    return Best(place=best, alike=alike)
