"""Which worlds a validity run draws, and what one analysis of each says.

A world is named by (seed, kind, index) alone, so runs can be resumed and any world made again.
"""

import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

sys.path.append(str(Path(__file__).parents[1]))  # for `tests.worlds`

import nemd_toolkit as nt
from nemd_toolkit.findings import Finding, Verdict, decide, judge
from nemd_toolkit.measures import Measures, measure
from nemd_toolkit.prototypes import prototypes_from_vectors
from tests import worlds

__all__ = ["STATED", "Task", "drawn", "record", "tasks"]

STATED = worlds.STATED

ONE_IN = 50  # worlds of each kind that are large
Record = dict[str, Any]


class Task(NamedTuple):
    """One world to draw."""

    seed: int
    kind: str
    index: int


def tasks(seed: int, each: int) -> list[Task]:
    """`each` worlds of every kind from its stated severity on, half as many below it.

    Kinds whose answer does not change with severity (stated from 0 on) get twice as many, which
    narrows the interval around their false alarms. Kinds take turns, so that a run cut short has
    seen all of them.
    """
    counts = {k: 2 * each if STATED[k] == 0 else each + each // 2 for k in worlds.KINDS}
    return [
        Task(seed, kind, index)
        for index in range(max(counts.values()))
        for kind in worlds.KINDS
        if index < counts[kind]
    ]


def drawn(task: Task) -> worlds.World:
    """Draw the world of a task: two in three from the stated severity on, else below it."""
    key = [task.seed, worlds.KINDS.index(task.kind), task.index]
    rng = np.random.default_rng(key)
    stated = STATED[task.kind]
    beyond = task.index % 3 < 2 or stated == 0
    severity = rng.uniform(stated, 1) if beyond else rng.uniform(0, stated)
    large = task.index % ONE_IN == ONE_IN - 1
    return worlds.draw(task.kind, float(severity), int(rng.integers(2**31)), large=large)


def record(task: Task) -> Record:
    """Draw and analyse one world; an exception is part of the answer."""
    torch.set_num_threads(1)
    start = time.process_time()
    world = drawn(task)
    setting = world.setting
    found: Record = {
        "task": list(task),
        "kind": task.kind,
        "index": task.index,
        "variant": world.variant,
        "severity": world.severity,
        "count": setting.count,
        "dim": setting.dim,
        "groups": int(world.group.max()) + 1,
        "prototypes": [len(world.own)] if world.own is not None else list(setting.numbers),
        "spread": setting.spread,
        "world_seed": setting.seed,
        "codes": sorted(world.codes),
        "state": world.state,
    }
    try:
        found |= _said(*_analysed(world))
    except Exception as error:  # noqa: BLE001  (a traceback is what this benchmark looks for)
        found["error"] = f"{type(error).__name__}: {error}"
    return found | {"seconds": round(time.process_time() - start, 3)}


def _analysed(world: worlds.World) -> tuple[Measures, tuple[Finding, ...], Verdict]:
    """As `nemd analyze` does; own prototypes without a checkpoint take its last steps by hand."""
    if world.own is None:
        wanted = world.setting.prototypes
        analysis = nt.analyze(world.rows, prototypes=wanted, seed=world.setting.seed % 1000)
        return analysis.measures, analysis.findings, analysis.verdict
    embeddings = nt.Embeddings(world.rows)
    own = prototypes_from_vectors(embeddings, world.own)
    measures = measure(embeddings, [own], seed=world.setting.seed % 1000)
    findings = judge(measures)
    return measures, findings, decide(findings)


def _said(measures: Measures, findings: tuple[Finding, ...], verdict: Verdict) -> Record:
    return {
        "verdict": verdict.state,
        "issues": list(verdict.codes),
        "warnings": [f.about.code for f in findings if f.status == "warning"],
        "collapse": [
            f.about.code for f in findings if f.status == "issue" and f.about.kind == "collapse"
        ],
        "measured": {
            f.about.code: {name: _short(value) for name, value in f.measured.items()}
            for f in findings
        },
        "score": [
            None if c.nemd is None or c.nemd.score is None else _short(c.nemd.score.value)
            for c in measures.clusterings
        ],
        "beyond_axes": [
            None if c.nemd is None else _short(c.nemd.beyond_axes) for c in measures.clusterings
        ],
        "clumping": [
            None if c.nemd is None else _short(c.nemd.clumping) for c in measures.clusterings
        ],
        "perplexity": [_short(c.usage.perplexity) for c in measures.clusterings],
        "used": [c.usage.used for c in measures.clusterings],
    }


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
