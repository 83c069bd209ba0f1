"""Whether score falls strictly with the noise, and whether nothing else moves it.

DESIGN's ladder, x = normalize(μ_k + s·g/√d), over d, K, N, n and the number of true groups (a
third of K, K, three times K). Cells in which nine in ten prototypes cannot hold 2n members are
left out. With K at or above the number of groups, one score is expected at each s; with K below, a
cloud holds several groups and the score is rightly lower, so those cells are kept apart.
"""

import itertools
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import torch
from validity_worlds import worlds

import nemd_toolkit as nt

__all__ = ["Cell", "cells", "one_ladder", "sum_up_invariance"]

nemd = import_module("nemd_toolkit.measures.nemd")  # `nt.nemd` is its function
Record = dict[str, Any]
DIMS, KS, COUNTS, POINTS = (32, 64, 128, 512), (10, 30, 100), (3_000, 30_000), (24, 64)
RELATIONS = {"K above groups": 1 / 3, "K at groups": 1.0, "K below groups": 3.0}
SPREADS = (0.0, 0.2, 0.5, 0.9, 1.6, 3.0, 6.0)
PAIRS = 1_000  # measured in a run
MOST_RANGE, MOST_DEVIATION = 0.03, 0.015  # what issue 4 accepts


class Cell(NamedTuple):
    """Everything but s and n, which one set of worlds serves."""

    dim: int
    k: int
    count: int
    relation: str
    seed: int


def cells(seed: int, seeds: int) -> list[Cell]:
    """All cells; those that share a null stand together."""
    grid = itertools.product(range(seed, seed + seeds), DIMS, KS, COUNTS, RELATIONS)
    found = [Cell(d, k, count, relation, s) for s, d, k, count, relation in grid]
    return [c for c in found if _points(c)]


def _points(cell: Cell) -> tuple[int, ...]:
    """Points per half cloud that smaller clusters (0.6 of the mean) still hold out of one half."""
    return tuple(n for n in POINTS if 2 * n <= 0.6 * cell.count / 2 / cell.k)


def one_ladder(cell: Cell) -> Record:
    """Scores of one cell: {n: [score at each s, None where there is none]}."""
    torch.set_num_threads(1)
    # one split and no spectrum null: a thousand ladders take long
    nemd.REPEATED_WORK, nemd.QUESTIONED = 0, 2.0
    groups = max(2, round(cell.k * RELATIONS[cell.relation]))
    scores: dict[str, list[float | None]] = {str(n): [] for n in _points(cell)}
    for spread in SPREADS:
        rows, _ = worlds.clusters(cell.count, cell.dim, groups, spread, seed=cell.seed)
        prototypes = nt.fit_prototypes(nt.Embeddings(rows), cell.k, seed=cell.seed)
        trial = nemd.prepare(prototypes, cell.seed)
        for n, row in scores.items():
            row.append(_score(trial, int(n), cell.seed))
    return {"task": list(cell), **cell._asdict(), "groups": groups, "scores": scores}


def _score(trial: Any, n: int, seed: int) -> float | None:
    try:
        found = nemd.measure_nemd(trial, seed, n=n, max_pairs=PAIRS).score
    except nt.InputError:  # too few prototypes with members, as for points
        return None
    return None if found is None else found.value


def sum_up_invariance(found: Sequence[Record], seeds: int) -> Record:
    """Sum up all cells; the answer holds Markdown tables beside them."""
    lines = [
        {**{f: c[f] for f in Cell._fields}, "groups": c["groups"], "n": int(n), "scores": scores}
        for c in found
        for n, scores in c["scores"].items()
    ]
    summary = {
        relation: _spread([r for r in lines if r["relation"] == relation]) for relation in RELATIONS
    }
    turns = [line for line in lines if not falls(line["scores"])]
    return {
        "spreads": SPREADS,
        "seeds": seeds,
        "ladders": len(lines),
        "not_monotone": turns,
        "summary": summary,
        "cells": lines,
        "table": _table(lines, summary, turns),
    }


def falls(scores: Sequence[float | None]) -> bool:
    """Whether scores that exist fall strictly from each s to the next."""
    there = [s for s in scores if s is not None]
    return all(a > b for a, b in itertools.pairwise(there))


def _spread(lines: Sequence[Record]) -> list[Record]:
    """For each s: mean, range over cells (means over seeds), greatest s.d. over seeds."""
    rows = []
    for place, spread in enumerate(SPREADS):
        by_cell: dict[tuple[int, ...], list[float]] = {}
        for line in lines:
            if (score := line["scores"][place]) is not None:
                key = (line["dim"], line["k"], line["count"], line["n"])
                by_cell.setdefault(key, []).append(score)
        if not by_cell:
            rows.append({"s": spread, "cells": 0})
            continue
        means = {key: float(np.mean(some)) for key, some in by_cell.items()}
        middle = float(np.median(list(means.values())))
        deviations = {
            key: float(np.std(some, ddof=min(1, len(some) - 1))) for key, some in by_cell.items()
        }
        rows.append(
            {
                "s": spread,
                "cells": len(means),
                "median": middle,
                "low": min(means.values()),
                "high": max(means.values()),
                "deviation": max(deviations.values()),
                "outside": [
                    {"d, K, N, n": key, "score": mean, "deviation": deviations[key]}
                    for key, mean in means.items()
                    if abs(mean - middle) > MOST_RANGE / 2 or deviations[key] > MOST_DEVIATION
                ],
            }
        )
    return rows


def _table(lines: Sequence[Record], summary: dict[str, Any], turns: Sequence[Record]) -> str:
    head = "| relation | s | cells | median score | range over cells | s.d. over seeds, most "
    out = [
        f"{head}| cells outside ± {MOST_RANGE / 2:g} or {MOST_DEVIATION:g} |",
        "|" + " --- |" * 7,
    ]
    for relation, rows in summary.items():
        for row in rows:
            if row["cells"] == 0:
                out.append(f"| {relation} | {row['s']:g} | 0 |" + " |" * 4)
                continue
            out.append(
                f"| {relation} | {row['s']:g} | {row['cells']} | {row['median']:.3f} "
                f"| {row['low']:.3f}…{row['high']:.3f} = {row['high'] - row['low']:.3f} "
                f"| {row['deviation']:.3f} | {len(row['outside'])} |"
            )
    out += ["", f"Ladders that do not fall strictly: {len(turns)} of {len(lines)}."]
    for line in turns:
        scores = ", ".join("none" if s is None else f"{s:.3f}" for s in line["scores"])
        where = f"d={line['dim']}, K={line['k']}, N={line['count']}, n={line['n']}"
        out.append(f"- {where}, {line['groups']} groups, seed {line['seed']}: {scores}")
    return "\n".join(out)
