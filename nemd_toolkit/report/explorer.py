"""What a reader may look into within the page: pairs of prototypes, their clouds, their sizes."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from nemd_toolkit.measures import Measures
from nemd_toolkit.measures.nemd import Nemd
from nemd_toolkit.measures.summary import ClusteringMeasures
from nemd_toolkit.report.figure_data import called
from nemd_toolkit.report.gallery import order_of
from nemd_toolkit.report.wording import shortened, storable

__all__ = ["explorer_data"]

MOST_PROTOTYPES = 400  # of a clustering: a screen has hardly more cells
MOST_PAIRS = 12_000  # in the page, over all clusterings
LONGEST_NAME = 40
_STEPS = 32_000  # that coordinates are rounded to, on either side of 0


def explorer_data(m: Measures, clusterings: Sequence[ClusteringMeasures]) -> dict[str, Any] | None:
    """Give what the page's script draws from; None where no clustering has a pair.

    {"points": base64 of little-endian int16 (rows, axes), times "step" a coordinate on a principal
    axis; "rows", "axes", "explained": share of the variance on these axes;
    "clusterings": [{"name", "n", "prototypes": shown of "used", "which": their numbers, "names",
       "sizes", "resultants", "owner": of each row of points the place in `which`, or -1,
       "p", "q": places of a pair's ends, "raw", "excess", "energy", "measured": pairs in all,
       "raw_uniform", "excess_uniform", "excess_collapsed": the anchors, null if unknown}]}.
    """
    found = [(c, c.nemd) for c in clusterings if c.nemd is not None]
    if not found:
        return None
    points = m.projection.points
    step = max(float(np.abs(points).max()), 1e-12) / _STEPS
    return {
        "points": b64encode((points / step).round().astype("<i2").tobytes()).decode(),
        "step": step,
        "rows": points.shape[0],
        "axes": points.shape[1],
        "explained": round(min(1.0, sum(m.projection.explained)), 4),
        "clusterings": [
            _clustering(c, nemd, m.projection.rows, MOST_PAIRS // len(found)) for c, nemd in found
        ],
    }


def _clustering(
    c: ClusteringMeasures, nemd: Nemd, rows: Int[np.ndarray, " m"], most: int
) -> dict[str, Any]:
    which = _shown(c, nemd)
    place = np.full(c.k, -1)
    place[which] = np.arange(len(which))
    pairs = place[nemd.table.pairs]
    kept = np.flatnonzero((pairs >= 0).all(axis=1))
    kept = kept[np.linspace(0, len(kept) - 1, min(most, len(kept))).round().astype(np.int64)]
    resultants = np.zeros(c.k)
    resultants[c.spread.which] = c.spread.resultants
    columns = {name: getattr(nemd.table, name)[kept] for name in ("raw", "excess", "energy")}
    return {
        "name": called(c),
        "n": nemd.n,
        "used": c.usage.used,
        "which": which.tolist(),
        "names": [shortened(storable(c.prototypes.names[p]), LONGEST_NAME) for p in which],
        "sizes": c.usage.sizes[which].tolist(),
        "resultants": resultants[which].round(4).tolist(),
        "owner": place[c.prototypes.assignment.numpy()[rows]].tolist(),
        "p": pairs[kept, 0].tolist(),
        "q": pairs[kept, 1].tolist(),
        **{name: values.round(4).tolist() for name, values in columns.items()},
        "measured": nemd.pairs,
        "raw_uniform": nemd.raw_uniform,
        "excess_uniform": nemd.excess_uniform,
        "excess_collapsed": nemd.excess_collapsed,
    }


def _shown(c: ClusteringMeasures, nemd: Nemd) -> Int[np.ndarray, " u"]:
    """Prototypes of measured pairs, near ones side by side; of many those of the closest pairs."""
    ends = nemd.table.pairs
    if len(np.unique(ends)) > MOST_PROTOTYPES:
        ends = ends[np.argsort(nemd.table.excess, kind="stable")[: MOST_PROTOTYPES // 2]]
    order = order_of(c)
    shown: Int[np.ndarray, " u"] = order[np.isin(order, ends)]
    return shown
