"""How tight each prototype is: the length of its members' mean."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from nemd_toolkit.figures.style import MARKERS, MOST_VECTORS, SERIES, new_figure, themed
from nemd_toolkit.measures.summary import ClusteringMeasures

__all__ = ["draw_resultants"]

MOST_LINES = 6


@themed
def draw_resultants(clusterings: Sequence[ClusteringMeasures]) -> Figure:
    """Draw the sorted resultants of each clustering's used prototypes; 1 is a single point."""
    figure, [axes] = new_figure()
    for place, c in enumerate(clusterings[:MOST_LINES]):
        values = np.sort(c.spread.resultants)
        count = len(values)
        axes.plot(
            (np.arange(count) + 0.5)
            / count
            * 100,  # mid-ranks, so that a lone one is in the middle
            values,
            color=SERIES[place % len(SERIES)],
            marker=MARKERS[place % len(MARKERS)],
            markevery=max(1, count // 20),
            ms=5,
            lw=1,
            rasterized=count > MOST_VECTORS,
            label=f"K={c.k}, {c.source}",
        )
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlim(0, 100)
    axes.set_xlabel("prototypes, loosest to tightest (%)")
    axes.set_ylabel("resultant")
    axes.grid()
    figure.legend(loc="outside upper left", ncols=2)
    return figure
