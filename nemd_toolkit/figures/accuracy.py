"""Accuracy of methods against their NEMD score, each with its interval over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from nemd_toolkit.figures.labels import name_points
from nemd_toolkit.figures.style import (
    GRID,
    INK,
    MARKERS,
    SERIES,
    new_figure,
    say_nothing_to_draw,
    themed,
)
from nemd_toolkit.measures import Interval

__all__ = ["Point", "draw_accuracy"]

_CROWDED = 12  # points; more are drawn smaller


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One method."""

    name: str
    score: Interval
    accuracy: Interval


@themed
def draw_accuracy(points: Sequence[Point]) -> Figure:
    """Draw a point for each method, its name beside it if there is room, bars for an interval."""
    figure, [axes] = new_figure(4.2)
    if not points:
        say_nothing_to_draw(figure, "no method has both numbers")
        return figure
    axes.grid(color=GRID)
    crowded = len(points) > _CROWDED
    for place, point in enumerate(points):
        colour = SERIES[place % len(SERIES)]
        axes.errorbar(
            [point.score.value],
            [point.accuracy.value],
            xerr=_bars(point.score),
            yerr=_bars(point.accuracy),
            color=colour,
            marker=MARKERS[place % len(MARKERS)],
            ms=4.5 if crowded else 6,
            mec=INK,
            mew=0.6 if crowded else 1,
            elinewidth=0.5 if crowded else 1,
            gid=f"method-{place}",
        )
    axes.margins(x=0.12, y=0.1)
    axes.set_xlabel("NEMD score: 0 as in uniform noise, 1 as if points")
    axes.set_ylabel("linear probe, held out")
    places = [(point.score.value, point.accuracy.value) for point in points]
    name_points(axes, places, [point.name for point in points], 7 if crowded else 8.5)
    return figure


def _bars(found: Interval) -> list[list[float]] | None:
    if math.isnan(found.low):
        return None
    return [[found.value - found.low], [found.high - found.value]]
