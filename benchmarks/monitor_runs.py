"""Trainings that are healthy, and trainings that are made to collapse, under a monitor that stops.

Which is which was decided before any was run: recipes, and benchmarks/trained_settings.py.
"""

import json
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from trained_settings import ALIGN_ONLY, BESIDE_CORR

from nemd_toolkit.errors import Collapsed, NemdError
from pauc_train.loop import fit
from pauc_train.process import Interrupted

__all__ = ["RUNS", "Kind", "run_all"]

Record = dict[str, Any]
DATA = "digits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One way to train, and whether it should be stopped."""

    name: str
    method: str
    collapses: bool
    epochs: int = 40
    overrides: Mapping[str, Any] = field(default_factory=dict)


# The first six come first, with every seed.
RUNS: tuple[Kind, ...] = (
    Kind(name="pclv2", method="pclv2", collapses=False),
    Kind(name="pauc", method="pauc", collapses=False),
    Kind(name="simsiam", method="simsiam", collapses=False),
    Kind(
        name="align only, fast",
        method="pauc",
        collapses=True,
        epochs=60,
        overrides=ALIGN_ONLY | {"learning_rate": 0.3, "clusters": [600]},
    ),
    Kind(
        name="proto x100",
        method="pclv2",
        collapses=True,
        epochs=60,
        overrides={"prototype_weight": 100.0, "warmup_epochs": 5},
    ),
    Kind(
        name="no predictor, fast",
        method="byol",
        collapses=True,
        epochs=60,
        overrides={"predictor": "none", "target_momentum": 0.0, "learning_rate": 1.0},
    ),
    Kind(name="mocov2", method="mocov2", collapses=False, epochs=60),
    Kind(name="byol", method="byol", collapses=False, epochs=60),
    Kind(name="swav", method="swav", collapses=False),
    Kind(
        name="rate 10",
        method="mocov2",
        collapses=True,
        epochs=60,
        overrides={"learning_rate": 10.0},
    ),
    Kind(
        name="decay .3",
        method="mocov2",
        collapses=True,
        epochs=60,
        overrides={"weight_decay": 0.3},
    ),
    Kind(
        name="corr 10",
        method="pauc",
        collapses=True,
        epochs=60,
        overrides=BESIDE_CORR | {"gamma": 10.0, "warmup_epochs": 5},
    ),
)
_FIRST = 6


def run_all(work: Path, seeds: range, done: Collection[tuple[str, int]]) -> Iterator[Record]:
    """Train every kind with every seed, but for those done; a row each."""
    for kinds in (RUNS[:_FIRST], RUNS[_FIRST:]):
        for seed, kind in product(seeds, kinds):
            if (kind.name, seed) in done:
                continue
            yield _run(kind, seed, work / f"{kind.name.replace(' ', '-')}-{seed}")


def _run(kind: Kind, seed: int, out: Path) -> Record:
    said: list[str] = []
    stopped, refused = None, None
    began = time.process_time()
    try:
        fit(
            kind.method,
            DATA,
            epochs=kind.epochs,
            seed=seed,
            out=out,
            overrides=dict(kind.overrides),
            say=said.append,
            monitor="stop",
        )
    except Collapsed as error:
        stopped = str(error)
    except Interrupted:
        raise
    except NemdError as error:
        refused = str(error)
    return {
        "name": kind.name,
        "seed": seed,
        "collapses": kind.collapses,
        "epochs": kind.epochs,
        "stopped": None if stopped is None else _place(stopped),
        "warned": [text for text in said if text.startswith("monitor: ")],
        "refused": refused,
        "checks": list(_checks(out / "log.jsonl")),
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def _place(text: str) -> str:
    """Give what the message says between "after" and the first mark."""
    return text.partition("after ")[2].partition(";")[0]


def _checks(log: Path) -> Iterator[Record]:
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else []:
        row = json.loads(line)
        if "monitor" in row:
            yield {key: value for key, value in row["monitor"].items() if key != "seconds"}
