"""Sizes of prototypes, largest first, against an equal share."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nemd_toolkit.figures.style import BLUE, MOST_VECTORS, VERMILLION, new_figure, themed
from nemd_toolkit.measures.usage import Usage

__all__ = ["draw_usage"]


@themed
def draw_usage(usage: Usage) -> Figure:
    """Draw the sorted sizes as steps, and the equal share as a dashed line."""
    figure, [axes] = new_figure()
    sizes = np.sort(usage.sizes)[::-1]
    steps = axes.stairs(
        sizes, np.arange(len(sizes) + 1) + 0.5, fill=True, color=BLUE, label="members"
    )
    steps.set_rasterized(len(sizes) > MOST_VECTORS)
    equal = sizes.sum() / len(sizes)
    axes.axhline(equal, color=VERMILLION, ls="--", label=f"equal share, {equal:.1f}")
    axes.set_xlim(0.5, len(sizes) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.set_xlabel("prototypes, largest first")
    axes.set_ylabel("members")
    axes.grid(axis="y")
    figure.legend(loc="outside upper left", ncols=3)
    return figure
