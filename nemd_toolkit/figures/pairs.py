"""How pairs of prototypes spread between the two anchors of the scale."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nemd_toolkit.figures.style import BLUE, INK, VERMILLION, new_figure, themed
from nemd_toolkit.measures.nemd import Nemd

__all__ = ["draw_pairs"]

_MOST_BINS = 40


@themed
def draw_pairs(nemd: Nemd) -> Figure:
    """Draw histograms of raw and excess over the measured pairs, with both anchors."""
    figure, [raw, excess] = new_figure(4.4, rows=2)
    collapsed = nemd.excess_collapsed
    label = f"raw W1 (n={nemd.n} points a cloud)"
    _draw(raw, nemd.table.raw, (nemd.raw_uniform, collapsed), label)
    _draw(excess, nemd.table.excess, (nemd.excess_uniform, collapsed), "excess W1")
    handles = [
        Line2D([], [], color=VERMILLION, ls=":", lw=2.2, label="uniform noise"),
        Line2D([], [], color=INK, ls="--", label="collapsed to points"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def _draw(
    axes: Axes, values: Float[np.ndarray, " p"], anchors: tuple[float | None, float], label: str
) -> None:
    bins = int(np.clip(1.5 * np.sqrt(len(values)), 8, _MOST_BINS))
    axes.hist(values, bins=bins, histtype="stepfilled", color=BLUE)
    uniform, collapsed = anchors
    if uniform is not None:
        axes.axvline(uniform, color=VERMILLION, ls=":", lw=2.2)
    axes.axvline(collapsed, color=INK, ls="--")
    axes.set_xlabel(label)
    axes.set_ylabel("pairs")
    axes.grid(axis="y")
