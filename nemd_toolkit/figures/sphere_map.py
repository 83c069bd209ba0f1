"""A flat map of the sphere: to look at, not part of the verdict."""

import matplotlib
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nemd_toolkit.figures.style import MARKERS, new_figure, plain, say_nothing_to_draw, themed
from nemd_toolkit.measures.projection import Projection
from nemd_toolkit.prototypes import Prototypes

__all__ = ["draw_map", "draw_places"]

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
    """Draw sampled rows on two principal axes; colours as in `draw_places`."""
    first, second = projection.explained[:2]
    if first + second == 0:
        figure, _ = new_figure()
        say_nothing_to_draw(figure, "all embeddings are one point")
        return figure
    figure = draw_places(projection.points, projection.rows, prototypes, rank)
    [axes] = figure.axes
    axes.set_xlabel(f"1st principal axis ({first:.0%} of the variance)")
    axes.set_ylabel(f"2nd ({second:.0%})")
    return figure


@themed
def draw_places(
    points: Float[np.ndarray, "m a"],
    rows: Int[np.ndarray, " m"],
    prototypes: Prototypes,
    rank: Int[np.ndarray, " k"],
) -> Figure:
    """Draw embeddings `rows` at the first two columns of `points`, coloured by prototype.

    Up to 8 prototypes have their own colour and marker; beyond that, near prototypes have near
    colours: `rank` is the place of each prototype in an order where neighbours are near.
    """
    figure, [axes] = new_figure(3.9)
    owner = prototypes.assignment.numpy()[rows]
    if prototypes.k <= MOST_COLOURS:
        _draw_categories(axes, points, prototypes, owner)
        figure.legend(loc="outside upper left", ncols=3 if prototypes.k > 2 else 2, markerscale=2)
    else:
        colours = matplotlib.colormaps["viridis"](
            # the ends would vanish on dark or on light pages
            0.2 + 0.68 * rank[owner] / max(1, int(rank.max()))
        )
        axes.scatter(
            points[:, 0],
            points[:, 1],
            s=9,
            c=colours,
            lw=0,
            alpha=0.8,
            rasterized=True,
        )
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid()
    return figure


def _draw_categories(
    axes: Axes,
    points: Float[np.ndarray, "m a"],
    prototypes: Prototypes,
    owner: Int[np.ndarray, " m"],
) -> None:
    for p, name in enumerate(prototypes.names):
        own = points[owner == p]
        axes.scatter(
            own[:, 0],
            own[:, 1],
            s=12,
            color=_CATEGORIES[p],
            marker=MARKERS[p],
            lw=0,
            alpha=0.8,
            label=plain(name, 16) or "□",
            rasterized=True,
        )
