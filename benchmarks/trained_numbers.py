"""The label-free numbers of an analysis, and how they rank checkpoints by linear-probe accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

__all__ = ["Correlation", "label_free", "rank_correlation"]

DRAWS = 2_000
# needs labels, describes the input or the method of measuring, or repeats another as a bound
_LEFT_OUT = {
    "neural_collapse", "quality", "classes", "low", "high", "count", "dim", "n", "pairs",
    "pairs_total", "prototypes", "skipped", "runs", "certified_width", "uniform_rows", "cap",
    "null_rows", "null_effective_rank", "k", "raw_uniform", "excess_uniform",
}  # fmt: skip


def label_free(measures: Mapping[str, Any]) -> dict[str, float]:
    """Every number of the report's `measures` that needs no labels, by dotted name.

    Numbers of clusterings are means over the k-means clusterings that have them.

    >>> label_free({"a": {"b": 1, "low": 0, "x": None}, "clusterings": []})
    {'a.b': 1.0}
    """
    found = _flat({key: value for key, value in measures.items() if key != "clusterings"})
    each = [_flat(c) for c in measures["clusterings"] if c["source"] == "k-means"]
    names = dict.fromkeys(name for clustering in each for name in clustering)
    for name in names:
        found.setdefault(name, float(np.mean([c[name] for c in each if name in c])))
    return found


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for key, value in tree.items():
        if key in _LEFT_OUT:
            continue
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{key}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            name = f"{above}{key}".removesuffix(".value")
            found[name] = float(value)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """Spearman's ρ with a 95 % interval, or None where either side is constant."""

    rho: float
    low: float
    high: float
    count: int  # checkpoints that have the number


def rank_correlation(
    values: Sequence[float], accuracies: Sequence[float], settings: Sequence[str], *, seed: int = 0
) -> Correlation | None:
    """Spearman's ρ, in [−1, 1]; the interval resamples settings, whose seeds are no new evidence.

    Percentiles of 2,000 draws, without those in which a side is constant.

    >>> rank_correlation([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.9], ["a", "b", "c", "d"]).rho
    1.0000
    """
    x, y = np.asarray(values, dtype=float), np.asarray(accuracies, dtype=float)
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    members = [np.flatnonzero(np.array(settings) == name) for name in dict.fromkeys(settings)]
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(members), size=(DRAWS, len(members)))
    lengths = np.array([len(rows) for rows in members])[chosen].sum(axis=1)
    drawn = []
    for length in np.unique(lengths):  # draws of one length are ranked in one go
        rows = np.array(
            [np.concatenate([members[m] for m in draw]) for draw in chosen[lengths == length]]
        )
        varied = (np.ptp(x[rows], axis=1) > 0) & (np.ptp(y[rows], axis=1) > 0)
        drawn.append(_spearman(x[rows[varied]], y[rows[varied]]))
    found = np.concatenate(drawn)
    low, high = np.quantile(found, [0.025, 0.975]) if len(found) else (-1.0, 1.0)
    [rho] = _spearman(x[None], y[None])
    return Correlation(rho=float(rho), low=float(low), high=float(high), count=len(x))


def _spearman(x: Float[np.ndarray, "draws n"], y: Float[np.ndarray, "draws n"]) -> np.ndarray:
    """Pearson's correlation of mid-ranks, row by row."""
    centred = [rankdata(side, axis=1) - (side.shape[1] + 1) / 2 for side in (x, y)]
    norms = [np.sqrt(np.square(side).sum(axis=1)) for side in centred]
    return (centred[0] * centred[1]).sum(axis=1) / (norms[0] * norms[1])
