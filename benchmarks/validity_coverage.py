"""How often the 95 % intervals of raw, excess and score hold the large-sample value of their law.

A law says how rows come about: directions of groups, noise around them, and how prototypes are
found. With "fresh" centres every repeat draws new directions, and the large-sample value is the
mean over 80 worlds (400 where labels make the prototypes) of 8 times as many rows, new directions
each (prototypes are resampled, so that is what the intervals speak of); with "fixed" ones all
repeats share them. The points per half cloud are 12 everywhere, since raw depends on them.
"of_mean" is the share that holds the mean of all repeats instead: what is left of a miss when bias
is taken out.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import torch
from validity_summary import share

import nemd_toolkit as nt

__all__ = ["LAWS", "Law", "coverage_tasks", "one_interval", "sum_up_coverage", "truths"]

nemd = import_module("nemd_toolkit.measures.nemd")  # `nt.nemd` is its function
Record = dict[str, Any]
COLUMNS = ("raw", "excess", "score")
POINTS, LARGE = 12, 8
WORLDS = {"k-means": 80, "labels": 400}
LOW, HIGH = 0.93, 0.97  # what issue 4 accepts


class Law(NamedTuple):
    """How rows and prototypes come about."""

    dim: int
    k: int
    groups: int
    spread: float
    count: int = 3000
    source: str = "k-means"
    centres: str = "fresh"

    @property
    def name(self) -> str:
        """One line for the table."""
        return (
            f"{self.source}, d={self.dim}, K={self.k}, {self.groups} groups, s={self.spread:g}, "
            f"N={self.count}, {self.centres} centres"
        )


LAWS = (
    Law(48, 12, 12, 0.9, source="labels"),
    Law(128, 40, 40, 0.3, source="labels"),
    Law(48, 12, 12, 0.9),
    Law(48, 12, 12, 0.9, centres="fixed"),
    Law(128, 40, 40, 0.3),
    Law(64, 30, 30, 1.6),
    Law(64, 12, 48, 0.9),
    Law(64, 40, 10, 0.9),
    Law(64, 20, 20, 20.0),  # noise
)


class Task(NamedTuple):
    """One repeat, or one of the large worlds that the truth is taken from."""

    law: int
    seed: int
    repeat: int
    large: bool


def one_interval(task: Task) -> Record:
    """Values and interval ends of one world."""
    torch.set_num_threads(1)
    nemd._excess_of_spectrum = lambda *_: None  # takes time, and is not asked for here
    law = LAWS[task.law]
    key = [task.seed, task.law, task.repeat, int(task.large)]
    seed = int(np.random.default_rng(key).integers(2**31))
    count = law.count * (LARGE if task.large else 1)
    rows, group = _rows(law, count, seed, task.seed)
    embeddings = nt.Embeddings(rows, labels=group.numpy())
    if law.source == "labels":
        prototypes = nt.prototypes_from_labels(embeddings)
    else:
        prototypes = nt.fit_prototypes(embeddings, law.k, seed=seed % 1000)
    splits = 1 if task.large else 2  # of the large ones only values are needed
    found = nt.nemd(prototypes, seed % 1000, n=POINTS, splits=splits)
    columns = {name: getattr(found, name) for name in COLUMNS}
    return {
        "task": list(task),
        "law": task.law,
        "large": task.large,
        **{name: v and (v.value, v.low, v.high) for name, v in columns.items()},
    }


def _rows(law: Law, count: int, seed: int, shared: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(shared if law.centres == "fixed" else seed)
    centres = torch.nn.functional.normalize(torch.randn(law.groups, law.dim, generator=g), dim=1)
    g.manual_seed(seed + 1)
    group = torch.randint(0, law.groups, (count,), generator=g)
    noise = law.spread * torch.randn(count, law.dim, generator=g) / law.dim**0.5
    return torch.nn.functional.normalize(centres[group] + noise, dim=1), group


def coverage_tasks(seed: int, repeats: int, known: Record | None = None) -> list[Task]:
    """List all repeats, and large worlds of the laws whose truth is not `known` (see `truths`)."""
    kinds = [(True, {**WORLDS, "known": 0}), (False, dict.fromkeys((*WORLDS, "known"), repeats))]
    return [
        Task(place, seed, repeat, large)
        for place, law in enumerate(LAWS)
        for large, counts in kinds
        for repeat in range(counts["known" if law.name in (known or {}) else law.source])
    ]


def truths(document: Record) -> Record:
    """Large-sample values that an earlier run found, by law, where they hang on no seed."""
    return {row["name"]: row for row in document["rows"] if row["law"]["centres"] == "fresh"}


def sum_up_coverage(found: Sequence[Record], repeats: int, known: Record | None = None) -> Record:
    """Sum up all laws; the answer holds a Markdown table beside the rows."""
    rows = []
    for place, law in enumerate(LAWS):
        columns = _law([f for f in found if f["law"] == place], (known or {}).get(law.name))
        rows.append({"law": law._asdict(), "name": law.name, **columns})
    return {"points": POINTS, "repeats": repeats, "rows": rows, "table": _table(rows)}


def _law(found: Sequence[Record], known: Record | None = None) -> Record:
    columns: Record = {}
    for name in COLUMNS:
        large = [f[name][0] for f in found if f["large"] and f[name]]
        small = np.array([f[name] for f in found if not f["large"] and f[name]])
        missing = sum(not f["large"] and not f[name] for f in found)
        if not len(small) or not (large or known):
            columns[name] = {"missing": missing}
            continue
        truth, error = _truth(large, known and known[name])
        mean = float(small[:, 0].mean())
        columns[name] = {
            "truth": truth,
            "truth_error": error,
            "mean": mean,
            "deviation": float(small[:, 0].std()),
            "half_width": float((small[:, 2] - small[:, 1]).mean() / 2),
            "held": _held(small, truth),
            "of_mean": _held(small, mean),
            "missing": missing,
        }
    return columns


def _truth(large: Sequence[float], known: Record | None) -> tuple[float, float]:
    if known is not None:
        return known["truth"], known["truth_error"]
    return float(np.mean(large)), float(np.std(large) / np.sqrt(len(large)))


def _held(intervals: np.ndarray, truth: float) -> Record:
    held = (intervals[:, 1] <= truth) & (truth <= intervals[:, 2])
    return share(int(held.sum()), len(held))


def _table(rows: Sequence[Record]) -> str:
    head = "| law | column | large-sample value | mean of repeats | s.d. | half-width "
    lines = [f"{head}| held | Wilson 95 % | of mean | 93–97 % |", "|" + " --- |" * 10]
    for row in rows:
        for name in COLUMNS:
            one = row[name]
            if "truth" not in one:
                lines.append(f"| {row['name']} | {name} |" + " none |" * 8)
                continue
            held = one["held"]
            lines.append(
                f"| {row['name']} | {name} | {one['truth']:.4f} ± {one['truth_error']:.4f} "
                f"| {one['mean']:.4f} | {one['deviation']:.4f} | {one['half_width']:.4f} "
                f"| {100 * held['share']:.1f} % | {100 * held['low']:.1f}–{100 * held['high']:.1f} "
                f"| {100 * one['of_mean']['share']:.1f} % "
                f"| {'yes' if LOW <= held['share'] <= HIGH else 'no'} |"
            )
    return "\n".join(lines)
