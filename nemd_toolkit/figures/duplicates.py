"""Share of prototypes that repeat another, over the distance that counts as repeating."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from nemd_toolkit.figures.style import MARKERS, MUTED, SERIES, VERMILLION, new_figure, themed
from nemd_toolkit.measures.duplicates import EPSILONS
from nemd_toolkit.measures.summary import ClusteringMeasures

__all__ = ["draw_duplicates"]

MOST_LINES = 6


@themed
def draw_duplicates(
    clusterings: Sequence[ClusteringMeasures], *, epsilon: float, share: float
) -> Figure:
    """Draw the curve of each clustering; `epsilon` and `share` are NEMD003's thresholds."""
    figure, [axes] = new_figure()
    for place, c in enumerate(clusterings[:MOST_LINES]):
        axes.plot(
            *zip(*c.spread.duplicates, strict=True),
            color=SERIES[place % len(SERIES)],
            marker=MARKERS[place % len(MARKERS)],
            label=f"K={c.k}, {c.source}",
        )
    axes.axvline(epsilon, color=MUTED, ls=":", lw=1.5)
    limit = f"limit: {share:.0%} at {epsilon:g}"
    axes.plot(
        [epsilon], [share], marker="_", ms=22, mew=2.5, color=VERMILLION, ls="none", label=limit
    )
    axes.set_xscale("log")
    axes.set_xticks(EPSILONS)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, 0))
    axes.set_xlabel("cosine distance that counts as equal")
    axes.set_ylabel("prototypes that repeat")
    axes.grid()
    figure.legend(loc="outside upper left", ncols=2)
    return figure
