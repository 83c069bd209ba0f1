"""A flat map of the sphere: to look at, not part of the verdict."""

import matplotlib
import numpy as np
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nemd_toolkit.figures.style import MARKERS, new_figure, plain, say_nothing_to_draw, themed
from nemd_toolkit.measures.projection import Projection
from nemd_toolkit.prototypes import Prototypes

__all__ = ["draw_map"]

MOST_COLOURS = 8  # more categories cannot be told apart by colour and marker
# Okabe-Ito, pale enough for dark pages and dark enough for light ones
_CATEGORIES = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#d55e00",
    "#56b4e9",
    "#cc79a7",
    "#8d96a5",
    "#b5a300",
)


@themed
def draw_map(projection: Projection, prototypes: Prototypes, rank: Int[np.ndarray, " k"]) -> Figure:
    """Draw sampled rows on two principal axes, coloured by prototype.

    Up to 8 prototypes have their own colour and marker; beyond that, near prototypes have near
    colours: `rank` is the place of each prototype in an order where neighbours are near.
    """
    figure, [axes] = new_figure(3.9)
    if sum(projection.explained) == 0:
        say_nothing_to_draw(figure, "all embeddings are one point")
        return figure
    owner = prototypes.assignment.numpy()[projection.rows]
    if prototypes.k <= MOST_COLOURS:
        _draw_categories(axes, projection, prototypes, owner)
        figure.legend(loc="outside upper left", ncols=3 if prototypes.k > 2 else 2, markerscale=2)
    else:
        colours = matplotlib.colormaps["viridis"](
            # the ends would vanish on dark or on light pages
            0.2 + 0.68 * rank[owner] / max(1, int(rank.max()))
        )
        axes.scatter(
            projection.points[:, 0],
            projection.points[:, 1],
            s=9,
            c=colours,
            lw=0,
            alpha=0.8,
            rasterized=True,
        )
    axes.set_xlabel(f"1st principal axis ({projection.explained[0]:.0%} of the variance)")
    axes.set_ylabel(f"2nd ({projection.explained[1]:.0%})")
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid()
    return figure


def _draw_categories(
    axes: Axes, projection: Projection, prototypes: Prototypes, owner: Int[np.ndarray, " m"]
) -> None:
    for p, name in enumerate(prototypes.names):
        points = projection.points[owner == p]
        axes.scatter(
            points[:, 0],
            points[:, 1],
            s=12,
            color=_CATEGORIES[p],
            marker=MARKERS[p],
            lw=0,
            alpha=0.8,
            label=plain(name, 16) or "□",
            rasterized=True,
        )
