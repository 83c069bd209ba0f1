"""Wang & Isola's plane: alignment against uniformity, of embeddings and of prototypes."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from nemd_toolkit.figures.style import GREEN, INK, MARKERS, MUTED, SERIES, new_figure, plain, themed

__all__ = ["PlanePoint", "draw_plane"]

_ORIGIN = "one point"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanePoint:
    """Where embeddings or prototypes of one clustering stand."""

    name: str
    uniform: float  # log E exp(−2‖x−y‖²), in [−8, 0]; lower is more uniform
    align: float  # E‖x−y‖², in [0, 4]; lower is closer


@themed
def draw_plane(points: Sequence[PlanePoint], noise: PlanePoint) -> Figure:
    """Draw the points between total collapse, at (0, 0), and noise that nothing aligns."""
    figure, [axes] = new_figure(3.4)
    axes.plot([0], [0], marker="X", ms=9, color=MUTED, ls="none", clip_on=False)
    axes.plot([noise.uniform], [noise.align], marker="*", ms=11, color=GREEN, ls="none")
    axes.annotate(
        noise.name,
        (noise.uniform, noise.align),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        color=MUTED,
    )
    axes.annotate(
        _ORIGIN, (0, 0), xytext=(-8, 6), textcoords="offset points", ha="right", color=MUTED
    )
    for place, point in enumerate(points):
        axes.plot(
            [point.uniform],
            [point.align],
            marker=MARKERS[place % (len(MARKERS) - 2)],
            ms=8,
            mec=INK,
            mew=0.6,
            color=SERIES[place % len(SERIES)],
            ls="none",
            label=plain(point.name, 24),
        )
    axes.set_xlabel("uniformity: log E exp(−2‖x−y‖²), lower is more spread")
    axes.set_ylabel("alignment: E‖x−y‖²")
    low = min([noise.uniform, *(p.uniform for p in points)])
    axes.set_xlim(1.06 * low, 0.05)
    axes.set_ylim(-0.06, 1.08 * max([noise.align, *(p.align for p in points)]))
    axes.grid()
    if points:
        figure.legend(loc="outside upper left", ncols=2)
    return figure
