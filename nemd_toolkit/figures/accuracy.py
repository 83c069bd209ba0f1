"""Accuracy of methods against their NEMD score, each with its interval over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from nemd_toolkit.figures.style import (
    GRID,
    INK,
    MARKERS,
    SERIES,
    new_figure,
    plain,
    say_nothing_to_draw,
    themed,
)
from nemd_toolkit.measures import Interval

__all__ = ["Point", "draw_accuracy"]

_MOST_NAMES = 40  # beside points; more would cover each other


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One method."""

    name: str
    score: Interval
    accuracy: Interval


@themed
def draw_accuracy(points: Sequence[Point]) -> Figure:
    """Draw a point for each method, its name beside it, bars where there is an interval."""
    figure, [axes] = new_figure(4.2)
    if not points:
        say_nothing_to_draw(figure, "no method has both numbers")
        return figure
    axes.grid(color=GRID)
    for place, point in enumerate(points):
        colour = SERIES[place % len(SERIES)]
        axes.errorbar(
            [point.score.value],
            [point.accuracy.value],
            xerr=_bars(point.score),
            yerr=_bars(point.accuracy),
            color=colour,
            marker=MARKERS[place % len(MARKERS)],
            ms=6,
            mec=INK,
            elinewidth=1,
            gid=f"method-{place}",
        )
        if place < _MOST_NAMES:
            axes.annotate(
                plain(point.name),
                (point.score.value, point.accuracy.value),
                xytext=(5, 4),
                textcoords="offset points",
                fontsize=8.5,
            )
    axes.margins(x=0.12, y=0.1)
    axes.set_xlabel("NEMD score: 0 as in uniform noise, 1 as if points")
    axes.set_ylabel("linear probe, held out")
    return figure


def _bars(found: Interval) -> list[list[float]] | None:
    if math.isnan(found.low):
        return None
    return [[found.value - found.low], [found.high - found.value]]
