"""Differences from one run, each with its interval around zero."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    """Draw each difference with its 95 % interval; filled and with ▸ where it leaves out 0."""
    shown = rows[:MOST_ROWS]
    figure, [axes] = new_figure(1.0 + _ROW_HEIGHT * len(shown))
    if not shown:
        say_nothing_to_draw(figure, "no run has a score to compare")
        return figure
    left = blended_transform_factory(axes.transAxes, axes.transData)
    axes.axvline(0, color=MUTED, lw=1.2, zorder=1)
    for place, row in enumerate(shown):
        c, y = row.change, place + MARK_BELOW_NAME
        colour = VERMILLION if c.beyond else BLUE
        axes.plot([0, 1], [y, y], color=GRID, lw=1.5, zorder=0, transform=left)
        axes.plot([c.low, c.high], [y, y], color=colour, lw=4, alpha=0.5)
        face = colour if c.beyond else "none"
        axes.plot(
            [c.value],
            [y],
            marker="D" if c.beyond else "o",
            ms=7,
            color=face,
            mec=colour,
            mew=1.6,
            ls="none",
            gid=f"change-{place}",
        )
        said = "beyond noise" if c.beyond else "within noise"
        axes.text(0.0, place - 0.27, plain(row.name), transform=left, va="center")
        ink = INK if c.beyond else MUTED
        axes.text(1, place - 0.27, said, transform=left, va="center", ha="right", color=ink)
    ends = [0.0, *(end for row in shown for end in (row.change.low, row.change.high))]
    margin = 0.06 * (max(ends) - min(ends)) or 0.1
    axes.set_xlim(min(ends) - margin, max(ends) + margin)
    axes.set_ylim(len(shown) - 0.4, -0.7)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(label)
    return figure
