"""NEMD scores on their scale: 0 as in uniform noise, 1 as if every prototype were one point."""

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
    ZONE,
    ZONE_STRONG,
    new_figure,
    plain,
    themed,
)
from nemd_toolkit.measures import Interval, Measures

__all__ = ["MARK_BELOW_NAME", "Row", "draw_scale", "rows_of"]

MOST_ROWS = 24
MARK_BELOW_NAME = 0.08  # of a row's height
_ROW_HEIGHT = 0.42  # inches: one line of text and the interval beneath it


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the scale."""

    name: str
    score: Interval | None
    strong: bool = False  # the row to read first


def rows_of(measures: Measures) -> list[Row]:
    """Give the combined score first, then one row per clustering."""
    combined = measures.nemd.score if measures.nemd else None
    rows = [Row(name="all clusterings", score=combined, strong=True)]
    return rows + [
        Row(name=f"K={c.k}, {c.source}", score=c.nemd.score if c.nemd else None)
        for c in measures.clusterings
    ]


@themed
def draw_scale(rows: Sequence[Row], *, warning: float, issue: float) -> Figure:
    """Draw each score with its 95 % interval; `warning` and `issue` are NEMD002's thresholds."""
    shown = list(rows[:MOST_ROWS])
    figure, [axes] = new_figure(1.0 + _ROW_HEIGHT * len(shown))
    ends = [end for r in shown if r.score for end in (r.score.low, r.score.high)]
    low, high = min([-0.06, *ends]) - 0.02, max([1.06, *ends]) + 0.02
    _draw_zones(axes, high, warning, issue)
    for place, row in enumerate(shown):
        _draw_row(axes, place, row)
    axes.set_xlim(low, high)
    axes.set_ylim(len(shown) - 0.35, -0.75)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.set_xlabel("NEMD score: 0 as in uniform noise, 1 as if points")
    return figure


def _draw_zones(axes: Axes, high: float, warning: float, issue: float) -> None:
    axes.axvspan(warning, issue, color=ZONE, lw=0)
    axes.axvspan(issue, high, color=ZONE_STRONG, lw=0)
    above = blended_transform_factory(axes.transData, axes.transAxes)
    for at, word, side in ((warning, "warning", "right"), (issue, "issue", "left")):
        text = f"{word} {at:g}"
        axes.text(at, 1.03, text, transform=above, ha=side, va="bottom", color=VERMILLION)
        axes.plot(
            [at],
            [1.0],
            transform=above,
            marker="v",
            color=VERMILLION,
            ls="none",
            clip_on=False,
            gid=f"threshold-{word}",
        )


def _draw_row(axes: Axes, place: int, row: Row) -> None:
    left = blended_transform_factory(axes.transAxes, axes.transData)
    weight = "bold" if row.strong else "normal"
    axes.plot([0, 1], [place + MARK_BELOW_NAME] * 2, color=GRID, lw=1.5, zorder=1)
    axes.text(0.0, place - 0.28, plain(row.name), transform=left, va="center", weight=weight)
    if row.score is None:
        axes.text(
            0.985, place - 0.28, "no score", transform=left, va="center", ha="right", color=MUTED
        )
        return
    s = row.score
    value = f"{s.value:z.2f} [{s.low:z.2f}, {s.high:z.2f}]"
    axes.text(
        0.985,
        place - 0.28,
        value,
        transform=left,
        va="center",
        ha="right",
        color=INK,
        weight=weight,
    )
    axes.plot(
        [s.low, s.high],
        [place + MARK_BELOW_NAME] * 2,
        color=BLUE,
        lw=5 if row.strong else 3,
        alpha=0.5,
    )
    axes.plot(
        [s.value],
        [place + MARK_BELOW_NAME],
        marker="D" if row.strong else "o",
        ms=9 if row.strong else 7,
        color=BLUE,
        mec=INK,
        ls="none",
        gid=f"score-{place}",
    )
