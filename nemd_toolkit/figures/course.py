"""Numbers and findings over training: curves with bands and limits, and a grid of findings."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory

from nemd_toolkit.figures.style import (
    AMBER,
    GREEN,
    GRID,
    MARKERS,
    MUTED,
    NEUTRAL,
    SERIES,
    VERMILLION,
    new_figure,
    plain,
    say_nothing_to_draw,
    themed,
)
from nemd_toolkit.measures import Interval

__all__ = ["Axis", "Curve", "Limit", "draw_curves", "draw_timeline"]

_MANY = 40  # checkpoints: more markers would hide the line
_MARKS = {  # of a finding at a checkpoint: shape, colour, size
    "issue": ("X", VERMILLION, 9),
    "warning": ("^", AMBER, 7),
    "passed": (".", NEUTRAL, 5),
    "ignored": ("o", MUTED, 6),
    "not_applicable": ("_", NEUTRAL, 6),
}
_WORDS = {
    "issue": "issue",
    "warning": "warning",
    "passed": "passed",
    "not_applicable": "cannot tell",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Where the checkpoints stand, and what is marked among them."""

    at: tuple[float, ...]
    unit: str
    collapse: float | None  # where it begins
    best: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One number over all checkpoints; None leaves a gap, an interval gives a band."""

    name: str
    values: tuple[Interval | float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A level that a check compares with."""

    name: str
    value: float


@themed
def draw_curves(axis: Axis, curves: Sequence[Curve], limits: Sequence[Limit], label: str) -> Figure:
    """Draw curves on one scale, with the limits that lie near them."""
    figure, [axes] = new_figure(3.4)
    if not any(value is not None for curve in curves for value in curve.values):
        say_nothing_to_draw(figure, "no checkpoint has this number")
        return figure
    for place, curve in enumerate(curves):
        _draw_curve(axes, axis, curve, place)
    _draw_limits(axes, limits)
    _draw_marks(axes, axis)
    _finish(axes, axis)
    axes.set_ylabel(label)
    if len(curves) > 1:
        figure.legend(loc="outside upper left", ncols=3)
    return figure


def _draw_curve(axes: Axes, axis: Axis, curve: Curve, place: int) -> None:
    colour = SERIES[place % len(SERIES)]
    ends = [_ends(value) for value in curve.values]
    low, middle, high = zip(*ends, strict=True)
    if any(isinstance(value, Interval) for value in curve.values):
        axes.fill_between(axis.at, low, high, color=colour, alpha=0.2, lw=0)
    marker = MARKERS[place % len(MARKERS)] if len(axis.at) <= _MANY else None
    axes.plot(axis.at, middle, color=colour, marker=marker, label=curve.name, gid=f"curve-{place}")


def _ends(value: Interval | float | None) -> tuple[float, float, float]:
    if value is None:
        return nan, nan, nan
    if isinstance(value, Interval):
        return value.low, value.value, value.high
    return value, value, value


def _draw_limits(axes: Axes, limits: Sequence[Limit]) -> None:
    """Draw limits; one far outside of the curves would press them flat, and is left out."""
    low, high = axes.get_ylim()
    room = 1.5 * (high - low)
    right = blended_transform_factory(axes.transAxes, axes.transData)
    near = [limit for limit in limits if low - room <= limit.value <= high + room]
    for place, limit in enumerate(sorted(near, key=lambda limit: -limit.value)):
        axes.axhline(limit.value, color=VERMILLION, ls="--", lw=1.2)
        axes.text(
            1.0,
            limit.value,
            f"{limit.name} {limit.value:g}",
            transform=right,
            ha="right",
            va="top" if place else "bottom",  # the upper one above, so that two do not collide
            color=VERMILLION,
            fontsize=9,
        )


def _draw_marks(axes: Axes, axis: Axis) -> None:
    """Mark the best checkpoint and the beginning of the collapse, above the curves."""
    marks = [(axis.best, "best", GREEN, "*"), (axis.collapse, "collapse", VERMILLION, "v")]
    there = sorted(
        ((at, word, colour, marker) for at, word, colour, marker in marks if at is not None),
        key=lambda mark: mark[0],
    )
    above = blended_transform_factory(axes.transData, axes.transAxes)
    for place, (at, word, colour, marker) in enumerate(there):
        axes.axvline(at, color=colour, lw=1, ls=":")
        style: dict[str, Any] = {"ms": 9, "color": colour, "ls": "none", "clip_on": False}
        axes.plot([at], [1.0], transform=above, marker=marker, gid=f"mark-{word}", **style)
        side, lift = _beside(axis, at, place, len(there))
        axes.text(at, lift, f" {word} ", transform=above, ha=side, va="bottom", color=colour)


def _beside(
    axis: Axis, at: float, place: int, marks: int
) -> tuple[Literal["left", "right"], float]:
    """Give the side and height of a mark's word: two words point away from each other.

    One that would leave the figure turns round, in a line of its own.
    """
    share = (at - axis.at[0]) / (axis.at[-1] - axis.at[0] or 1.0)
    right = share > 0.5 if marks == 1 else place == 0
    if right and share < 0.15:
        return "left", 1.1
    if not right and share > 0.75:
        return "right", 1.1
    return "right" if right else "left", 1.03


def _finish(axes: Axes, axis: Axis) -> None:
    span = axis.at[-1] - axis.at[0] or 1.0
    axes.set_xlim(axis.at[0] - 0.03 * span, axis.at[-1] + 0.03 * span)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.set_xlabel(axis.unit)
    axes.grid(color=GRID)


@themed
def draw_timeline(axis: Axis, rows: Sequence[tuple[str, Sequence[str]]]) -> Figure:
    """Draw the status of each check (its name, then a status a checkpoint), a row for each."""
    figure, [axes] = new_figure(1.3 + 0.3 * len(rows))
    for status, (marker, colour, size) in _MARKS.items():
        places = [
            (at, row)
            for row, (_, statuses) in enumerate(rows)
            for at, found in zip(axis.at, statuses, strict=True)
            if found == status
        ]
        if places:
            x, y = zip(*places, strict=True)
            face = "none" if status == "ignored" else colour
            axes.plot(
                x,
                y,
                marker=marker,
                ms=size,
                color=face,
                mec=colour,
                ls="none",
                gid=f"status-{status}",
            )
    _draw_marks(axes, axis)
    _finish(axes, axis)
    axes.grid(visible=False, axis="x")
    axes.set_yticks(range(len(rows)), [plain(name, 24) for name, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    handles = [
        Line2D(
            [], [], marker=_MARKS[s][0], color=_MARKS[s][1], ls="none", ms=_MARKS[s][2], label=word
        )
        for s, word in _WORDS.items()
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=4, handletextpad=0.2)
    return figure
