"""The numbers behind each figure, as tables: for downloads, and to point at."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from nemd_toolkit.figures import changes
from nemd_toolkit.figures.accuracy import Point
from nemd_toolkit.figures.changes import ChangeRow
from nemd_toolkit.figures.plane import PlanePoint
from nemd_toolkit.figures.scale import MARK_BELOW_NAME, Row
from nemd_toolkit.measures.member_distances import MemberDistances
from nemd_toolkit.measures.spectrum import Spectrum
from nemd_toolkit.measures.summary import ClusteringMeasures
from nemd_toolkit.report.wording import storable

__all__ = [
    "accuracy_data",
    "called",
    "change_data",
    "duplicate_data",
    "map_data",
    "member_data",
    "plane_data",
    "resultant_data",
    "scale_data",
    "spectrum_data",
    "usage_data",
]


def called(c: ClusteringMeasures) -> str:
    """Name a clustering in pictures."""
    return f"K={c.k:,}, {c.source}"


def scale_data(rows: Sequence[Row]) -> pd.DataFrame:
    """One row per score; `place` is where it stands in the picture."""
    found = [(place, row.name, row.score) for place, row in enumerate(rows) if row.score]
    return pd.DataFrame(
        {
            "what": [storable(name) for _, name, _ in found],
            "score": [s.value for _, _, s in found],
            "low": [s.low for _, _, s in found],
            "high": [s.high for _, _, s in found],
            "place": [place + MARK_BELOW_NAME for place, _, _ in found],
        }
    )


def spectrum_data(spectra: Sequence[tuple[str, Spectrum]]) -> pd.DataFrame:
    """One row per singular value over √N, around the mean; the first one's null is "uniform"."""
    lines = [(name, spectrum.singular_centred) for name, spectrum in spectra]
    lines += [("uniform", spectra[0][1].null_singular)] if spectra else []
    parts = [
        pd.DataFrame({"of": storable(name), "rank": np.arange(1, len(v) + 1), "singular value": v})
        for name, v in lines
    ]
    return pd.concat(parts, ignore_index=True)


def duplicate_data(clusterings: Sequence[ClusteringMeasures]) -> pd.DataFrame:
    """One row per clustering and distance."""
    rows = [(called(c), *point) for c in clusterings for point in c.spread.duplicates]
    return pd.DataFrame(rows, columns=["clustering", "cosine distance", "share that repeats"])


def resultant_data(clusterings: Sequence[ClusteringMeasures]) -> pd.DataFrame:
    """One row per used prototype, loosest first, at its mid-rank in percent."""
    parts = []
    for c in clusterings:
        order, count = np.argsort(c.spread.resultants, kind="stable"), len(c.spread.resultants)
        which = c.spread.which[order]
        parts.append(
            pd.DataFrame(
                {
                    "clustering": called(c),
                    "prototype": [storable(c.prototypes.names[p]) for p in which],
                    "resultant": c.spread.resultants[order],
                    "members": c.spread.sizes[order],
                    "percent": (np.arange(count) + 0.5) / count * 100,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def usage_data(c: ClusteringMeasures) -> pd.DataFrame:
    """One row per prototype, largest first."""
    order = np.argsort(-c.usage.sizes, kind="stable")
    return pd.DataFrame(
        {
            "rank": np.arange(1, len(order) + 1),
            "prototype": [storable(c.prototypes.names[p]) for p in order],
            "members": c.usage.sizes[order],
        }
    )


def plane_data(points: Sequence[PlanePoint]) -> pd.DataFrame:
    """One row per point of the plane."""
    return pd.DataFrame(
        [(storable(p.name), p.uniform, p.align) for p in points],
        columns=["what", "uniformity", "alignment"],
    )


def member_data(found: MemberDistances, names: Sequence[str]) -> pd.DataFrame:
    """One row per prototype and bin of chords."""
    bins = found.counts.shape[1]
    return pd.DataFrame(
        {
            "prototype": np.repeat([storable(names[p]) for p in found.which], bins),
            "resultant": np.repeat(found.resultants, bins),
            "chord from": np.tile(found.edges[:-1], len(found.which)),
            "chord to": np.tile(found.edges[1:], len(found.which)),
            "members": found.counts.ravel(),
        }
    )


def accuracy_data(points: Sequence[Point]) -> pd.DataFrame:
    """One row per method."""
    return pd.DataFrame(
        {
            "method": [storable(p.name) for p in points],
            "score": [p.score.value for p in points],
            "accuracy": [p.accuracy.value for p in points],
        }
    )


def change_data(rows: Sequence[ChangeRow]) -> pd.DataFrame:
    """One row per run, less the one that it is compared with; `place` is where it stands."""
    return pd.DataFrame(
        {
            "run": [storable(r.name) for r in rows],
            "difference": [r.change.value for r in rows],
            "low": [r.change.low for r in rows],
            "high": [r.change.high for r in rows],
            "paired": ["yes" if r.change.paired else "no" for r in rows],
            "place": [place + changes.MARK_BELOW_NAME for place in range(len(rows))],
        }
    )


def map_data(
    c: ClusteringMeasures, rows: Int[np.ndarray, " m"], points: Float[np.ndarray, "m a"]
) -> pd.DataFrame:
    """One row per embedding on a map, with its prototype and, where it has one, its label."""
    e = c.prototypes.embeddings
    owner = c.prototypes.assignment.numpy()[rows]
    found = {
        "row": rows,
        "prototype": [storable(c.prototypes.names[p]) for p in owner],
        "first axis": points[:, 0],
        "second axis": points[:, 1],
    }
    if e.labels is not None and c.source != "labels":
        found["label"] = [storable(str(label)) for label in np.asarray(e.labels)[rows]]
    return pd.DataFrame(found)
