"""Differences from one run, each with its interval around zero."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from nemd_toolkit.figures.style import (
    BLUE,
    GRID,
    INK,
    MUTED,
    VERMILLION,
    new_figure,
    plain,
    say_nothing_to_draw,
    themed,
)
from nemd_toolkit.measures.paired import Change

__all__ = ["MARK_BELOW_NAME", "MOST_ROWS", "ChangeRow", "draw_changes"]

MOST_ROWS = 24
MARK_BELOW_NAME = 0.1  # of a row's height
_ROW_HEIGHT = 0.42


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRow:
    """One run's difference."""

    name: str
    change: Change


@themed
def draw_changes(rows: Sequence[ChangeRow], label: str) -> Figure:
    """Draw each difference with its 95 % interval, and say whether that leaves out 0."""
    shown = rows[:MOST_ROWS]
    figure, [axes] = new_figure(1.0 + _ROW_HEIGHT * len(shown))
    if not shown:
        say_nothing_to_draw(figure, "no run has a score to compare")
        return figure
    axes.axvline(0, color=MUTED, lw=1.2, zorder=1)
    for place, row in enumerate(shown):
        _draw_row(axes, place, row)
    ends = [0.0, *(end for row in shown for end in (row.change.low, row.change.high))]
    margin = 0.06 * (max(ends) - min(ends)) or 0.1
    axes.set_xlim(min(ends) - margin, max(ends) + margin)
    axes.set_ylim(len(shown) - 0.4, -0.7)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(label)
    return figure


def _draw_row(axes: Axes, place: int, row: ChangeRow) -> None:
    """Draw the interval below the name; a filled diamond is beyond noise, a circle within."""
    left = blended_transform_factory(axes.transAxes, axes.transData)
    c, y = row.change, place + MARK_BELOW_NAME
    colour = VERMILLION if c.beyond else BLUE
    axes.plot([0, 1], [y, y], color=GRID, lw=1.5, zorder=0, transform=left)
    axes.plot([c.low, c.high], [y, y], color=colour, lw=4, alpha=0.5)
    axes.plot(
        [c.value],
        [y],
        marker="D" if c.beyond else "o",
        ms=7,
        color=colour if c.beyond else "none",
        mec=colour,
        mew=1.6,
        ls="none",
        gid=f"change-{place}",
    )
    said = "beyond noise" if c.beyond else "within noise"
    ink = INK if c.beyond else MUTED
    axes.text(0.0, place - 0.27, plain(row.name), transform=left, va="center")
    axes.text(1.0, place - 0.27, said, transform=left, va="center", ha="right", color=ink)
