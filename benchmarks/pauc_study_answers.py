"""What the study's runs say: paired differences over seeds, and the choice of PAUC's settings.

Runs of one seed share their data, views' random streams and first weights, so that settings are
compared within seeds; intervals are Student's, 95 %, over seeds.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from trained_numbers import rank_correlation

from nemd_toolkit.report.trainings import over_seeds

__all__ = [
    "NUMBERS",
    "answers",
    "chosen",
    "difference",
    "interval",
    "read_results",
    "read_runs",
    "trend",
]

NUMBERS = ("score", "excess", "raw", "beyond_axes", "linear_probe", "knn", "effective_rank")
LEAST_PROBE = -0.002  # what the probe may lose against PCL in the mean: one digit in 450
Runs = Mapping[str, Mapping[int, Mapping[str, float]]]  # by entry and seed


Results = dict[str, dict[int, dict[str, Any]]]  # by entry and seed


def read_results(folder: Path) -> Results:
    """All results below a folder of `pauc_train.compare`, failed ones too."""
    found: Results = {}
    for path in sorted(folder.glob("*/seed-*/result.json")):
        result = json.loads(path.read_text(encoding="utf-8"))["result"]
        found.setdefault(result["method"], {})[result["seed"]] = result
    return found


def read_runs(folder: Path) -> dict[str, dict[int, dict[str, float]]]:
    """Numbers of the runs below a folder that did not fail, by entry and seed."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for entry, results in read_results(folder).items():
        for seed, result in results.items():
            if result["failed"] is None:
                own = {name: result["numbers"].get(name) for name in NUMBERS}
                known = {name: value for name, value in own.items() if value is not None}
                known["collapsed"] = float(result["state"] == "collapsed")
                found.setdefault(entry, {})[seed] = known
    return found


def interval(values: Sequence[float]) -> dict[str, Any]:
    """Mean of values over seeds, with its interval and the values.

    >>> interval([1.0, 3.0])["mean"]
    2.0
    """
    found = over_seeds(values)
    assert found is not None  # nobody asks of no values
    low, high = (None, None) if math.isnan(found.low) else (found.low, found.high)
    return {
        "mean": found.value, "low": low, "high": high, "n": len(values), "values": list(values)
    }  # fmt: skip


def difference(runs: Runs, entry: str, base: str, name: str) -> dict[str, Any] | None:
    """Difference of a number between two entries, over the seeds that both have; None for none."""
    seeds = [
        seed
        for seed in runs.get(entry, {})
        if name in runs[entry][seed] and name in runs.get(base, {}).get(seed, {})
    ]
    return interval([runs[entry][s][name] - runs[base][s][name] for s in seeds]) if seeds else None


def trend(runs: Runs, entries: Mapping[str, float], name: str) -> dict[str, Any] | None:
    """Slope of a number over ln of each entry's weight, by least squares within seeds."""
    seeds = set.intersection(*(set(runs.get(entry, {})) for entry in entries))
    if not seeds:
        return None
    x = np.log(list(entries.values()))
    slopes = [
        float(np.polyfit(x, [runs[entry][seed][name] for entry in entries], 1)[0])
        for seed in sorted(seeds)
    ]
    return interval(slopes)


def chosen(runs: Runs, base: str = "pclv2") -> dict[str, Any]:
    """Choose among PAUC's settings: the lowest mean score of those whose probe is not below PCL's.

    "Not below": by no more than .002 in the mean over seeds, which is one image of digits' 450. The
    rule was fixed before the runs; `table` has all candidates by it.
    """
    table = []
    for entry in runs:
        score, probe = (difference(runs, entry, base, name) for name in ("score", "linear_probe"))
        rank = difference(runs, entry, base, "effective_rank")
        if entry in (base, "mocov2") or score is None or probe is None or rank is None:
            continue
        fit = probe["mean"] >= LEAST_PROBE
        table.append({"entry": entry, "score": score, "probe": probe, "rank": rank, "fit": fit})
    table.sort(key=lambda row: (not row["fit"], row["score"]["mean"]))
    return {"base": base, "choice": table[0]["entry"] if table else None, "table": table}


def answers(runs: Runs, pcl: str = "proto x1") -> dict[str, Any]:
    """Answer the study's questions, each with intervals."""
    weights = {f"proto x{w:g}": w for w in (0.3, 1.0, 3.0, 10.0)}
    entries = [entry for entry in runs if entry != pcl]
    return {
        "moco_to_pcl": {name: difference(runs, pcl, "mocov2", name) for name in NUMBERS},
        "with_weight": {name: trend(runs, weights, name) for name in NUMBERS},
        "against_pcl": {e: {n: difference(runs, e, pcl, n) for n in NUMBERS} for e in entries},
        "with_a_term_more": {
            entry: {name: difference(runs, entry, "pauc", name) for name in NUMBERS}
            for entry in runs
            if entry.startswith("pauc and")
        },
        "accuracy_follows": {name: _follows(runs, name) for name in ("linear_probe", "knn")},
        "means": {e: {n: _mean(runs[e], n) for n in NUMBERS} for e in runs},
    }


def _mean(own: Mapping[int, Mapping[str, float]], name: str) -> dict[str, Any] | None:
    values = [run[name] for run in own.values() if name in run]
    return interval(values) if values else None


def _follows(runs: Runs, name: str) -> dict[str, Any] | None:
    """Spearman's ρ of an accuracy with the score over runs; the interval resamples entries."""
    both = [(run["score"], run[name], entry) for entry in runs for run in runs[entry].values()]
    scores, accuracies, entries = zip(*both, strict=True)
    found = rank_correlation(scores, accuracies, entries)
    return None if found is None else asdict(found)
