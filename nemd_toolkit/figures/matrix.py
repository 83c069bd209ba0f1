"""The distance between every two prototypes, near ones side by side."""

import matplotlib
import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from nemd_toolkit.figures.style import NEUTRAL, new_figure, themed
from nemd_toolkit.measures.nemd import Nemd

__all__ = ["draw_matrix", "filled"]

MOST = 400  # prototypes shown; a screen has hardly more pixels for them


@themed
def draw_matrix(nemd: Nemd, order: Int[np.ndarray, " u"]) -> Figure:
    """Draw the excess of each measured pair; `order` lists the prototypes along both axes.

    Pairs that were not measured, and the diagonal, are grey.
    """
    shown = order[:MOST]
    values = filled(nemd, shown)
    figure, [axes] = new_figure(4.3)
    colours = matplotlib.colormaps["viridis"].with_extremes(bad=NEUTRAL)
    # not resampled, so that the file holds one pixel per pair
    image = axes.imshow(
        np.ma.masked_invalid(values), cmap=colours, interpolation="none", aspect="equal"
    )
    bar = figure.colorbar(image, ax=axes, shrink=0.85)
    bar.set_label("excess W1 of the pair")
    bar.outline.set_visible(False)
    axes.set_xlabel("prototypes, near ones side by side")
    axes.set_xticks([])
    axes.set_yticks([])
    return figure


def filled(nemd: Nemd, order: Int[np.ndarray, " u"]) -> Float[np.ndarray, "u u"]:
    """Lay the excess of the measured pairs out as a symmetric matrix; NaN elsewhere."""
    place = {int(p): at for at, p in enumerate(order)}
    matrix = np.full((len(order), len(order)), np.nan)
    for (p, q), value in zip(nemd.table.pairs, nemd.table.excess, strict=True):
        if int(p) in place and int(q) in place:
            matrix[place[int(p)], place[int(q)]] = matrix[place[int(q)], place[int(p)]] = value
    return matrix
