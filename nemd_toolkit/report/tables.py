"""Tables of an analysis: one row per prototype, one row per measured pair; and safe CSV."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from nemd_toolkit.measures.summary import ClusteringMeasures
from nemd_toolkit.report.analysis import Analysis
from nemd_toolkit.report.wording import storable

__all__ = ["csv_text", "pair_table", "pair_tables", "prototype_table", "prototype_tables"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # a spreadsheet runs cells that begin so


def prototype_tables(analysis: Analysis) -> pd.DataFrame:
    """All prototypes of all clusterings."""
    return _joined([prototype_table(c) for c in analysis.measures.clusterings])


def pair_tables(analysis: Analysis) -> pd.DataFrame:
    """All measured pairs of all clusterings."""
    return _joined([pair_table(c) for c in analysis.measures.clusterings])


def prototype_table(c: ClusteringMeasures) -> pd.DataFrame:
    """One row per prototype, unused ones included; what was not measured is empty.

    state is compared, skipped (fewer than 2n members) or unused. mean_excess, mean_raw and
    mean_energy are means over the measured pairs that hold the prototype, least_excess is that of
    the cloud most like its own; nearest and nearest_distance (1 − cosine) compare mean directions.
    concentration is PCL's φ before rescaling, phi after, empty where that is undefined. purity, the
    share of its commonest label, is there where labels are.
    """
    spread = c.spread
    table = pd.DataFrame(
        {
            "k": c.k,
            "source": c.source,
            "prototype": range(c.k),
            "name": [storable(name) for name in c.prototypes.names],
            "size": c.usage.sizes,
            "share": c.usage.sizes / c.usage.sizes.sum(),
        }
    )
    measured = pd.DataFrame(
        {
            "prototype": spread.which,
            "resultant": spread.resultants,
            "concentration": spread.concentrations,
            "phi": np.nan if spread.phi is None else spread.phi,
            "nearest": spread.nearest,
            "nearest_distance": spread.nearest_distance,
        }
    )
    if c.agreement is not None:
        measured["purity"] = c.agreement.purities
    table = table.merge(measured, on="prototype", how="left")
    table["nearest"] = table["nearest"].astype("Int64")
    pairs = pair_table(c)
    ends = pd.concat([pairs.rename(columns={end: "prototype"}) for end in ("p", "q")])
    of_each = ends.groupby("prototype")
    numbers = of_each[["excess", "raw", "energy"]].mean().add_prefix("mean_")
    numbers["least_excess"] = of_each["excess"].min()
    table = table.merge(numbers, left_on="prototype", right_index=True, how="left")
    table["state"] = "skipped"
    table.loc[table["mean_raw"].notna(), "state"] = "compared"
    table.loc[table["size"] == 0, "state"] = "unused"
    return table


def pair_table(c: ClusteringMeasures) -> pd.DataFrame:
    """One row per measured pair of prototypes; none where there is no NEMD."""
    if c.nemd is None:
        columns = {"k": int, "source": str, "p": int, "q": int}
        columns |= dict.fromkeys(("raw", "excess", "energy", "chord"), float)
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
    found = c.nemd.table
    return pd.DataFrame(
        {
            "k": c.k,
            "source": c.source,
            "p": found.pairs[:, 0],
            "q": found.pairs[:, 1],
            "raw": found.raw,
            "excess": found.excess,
            "energy": found.energy,
            "chord": found.chord,
        }
    )


def csv_text(table: pd.DataFrame) -> str:
    r"""CSV with full precision; texts that a spreadsheet would run as formulas begin with '.

    >>> csv_text(pd.DataFrame({"name": ["=1+1", "cat"], "x": [0.1, 2.0]}))
    "name,x\n'=1+1,0.1\ncat,2.0\n"
    """
    guarded = table.copy()
    for column in table.columns:
        if not pd.api.types.is_numeric_dtype(table[column]):
            guarded[column] = table[column].map(_guarded)
    return str(guarded.to_csv(index=False, lineterminator="\n"))


def _guarded(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    filled = [table for table in tables if len(table)]  # empty ones have no say in the types
    return pd.concat(filled, ignore_index=True) if filled else tables[0]
