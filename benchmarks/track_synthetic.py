"""Runs of twenty checkpoints that collapse when we say.

Embeddings are those of tests/worlds.py; own prototypes are a trained checkpoint's, made copies of
each other. "gradual": severity rises evenly from 0 to 1; the truth is the first checkpoint at which
what the check reads lies beyond its limit in the law that the rows are drawn from (closed form; for
score and rank 16,000 rows of the same groups). "sudden": severity 0.1 (healthy), and from a
checkpoint drawn at random on the severity from which verdicts have to be right.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nemd_toolkit as nt
from nemd_toolkit.findings import Thresholds
from nemd_toolkit.measures.spectrum import measure_spectrum
from nemd_toolkit.tracking import track
from pauc_train.saving import read_checkpoint, write_checkpoint
from tests import worlds

__all__ = ["KINDS", "duplicated_run", "synthetic_run"]

CHECKPOINTS, COUNT, DIM, GROUPS = 20, 1000, 64, 20
KINDS = ("coagulated", "total", "dimensional", "cone")
LIMITS = Thresholds()
Record = dict[str, Any]


def synthetic_run(kind: str, shape: str, seed: int, work: Path) -> Record:
    """Make one run, track it, and set the onset found beside the true one."""
    sudden = shape == "sudden"
    rng = np.random.default_rng([seed, KINDS.index(kind), sudden])
    if sudden:
        truth = int(rng.integers(3, CHECKPOINTS - 2))
        severities = [0.0] * truth + [worlds.STATED[kind]] * (CHECKPOINTS - truth)
    else:
        severities = np.linspace(0, 1, CHECKPOINTS).tolist()
        truth = next(
            e for e, severity in enumerate(severities) if _beyond(kind, severity, 1000 * seed)
        )
    folder = work / f"{kind}-{shape}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    for epoch, severity in enumerate(severities):
        # one world that changes by degrees, or another of the same law at each checkpoint
        world = worlds.make(kind, severity, _setting(1000 * seed + epoch * sudden))
        np.save(folder / f"epoch_{epoch}.npy", world.rows.numpy())
    found = track(folder, prototypes=(GROUPS, GROUPS // 2), records=folder / "track")
    return _record(kind, shape, seed, truth, found)


def duplicated_run(shape: str, seed: int, checkpoint: Path, work: Path) -> Record:
    """Make own prototypes of a trained checkpoint copies of each other, more and more of them."""
    rng = np.random.default_rng([seed, 99, shape == "sudden"])
    content = read_checkpoint(checkpoint)
    k = len(content["nemd"]["prototypes"][-1]["centroids"])
    if shape == "sudden":
        truth = int(rng.integers(3, CHECKPOINTS - 2))
        copies = [0] * truth + [math.ceil(0.3 * k)] * (CHECKPOINTS - truth)
    else:
        copies = [round(0.4 * k * epoch / (CHECKPOINTS - 1)) for epoch in range(CHECKPOINTS)]
        truth = next(e for e, c in enumerate(copies) if c / k > LIMITS.duplicate_share)
    folder = work / f"duplicated-{shape}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    order = rng.permutation(k)
    for epoch, count in enumerate(copies):
        _write_copies(
            content, order[: count + 1], epoch, folder / f"checkpoint_{epoch:04d}.pth.tar"
        )
    found = track(folder, "digits", "own", records=folder / "track")
    return _record("duplicated", shape, seed, truth, found)


def _write_copies(content: Record, same: np.ndarray, epoch: int, path: Path) -> None:
    last = content["nemd"]["prototypes"][-1]
    centroids = last["centroids"].clone()
    centroids[torch.from_numpy(same)] = centroids[int(same[0])].clone()
    own = content["nemd"] | {"prototypes": [last | {"centroids": centroids}]}
    own["next"] = {"epoch": epoch + 1, "step": 0}
    write_checkpoint(path, content | {"epoch": epoch, "nemd": own})


def _setting(seed: int, count: int = COUNT) -> worlds.Setting:
    return worlds.Setting(count=count, dim=DIM, groups=GROUPS, seed=seed)


def _beyond(kind: str, severity: float, seed: int) -> bool:
    """Whether the law at this severity is beyond the limit of the check that names it."""
    read: dict[str, Callable[[], bool]] = {
        # on its way to a point it is a cone first
        "total": lambda: 1 - 10 ** (-8 * severity) * _variance(seed) > LIMITS.cone_issue,
        "cone": lambda: 1 - (1 - 0.98 * severity) * _variance(seed) > LIMITS.cone_issue,
        "dimensional": lambda: (
            _rank(severity, seed) < LIMITS.rank_issue
            or _rank(severity, seed) / _uniform_rank() < LIMITS.rank_share_issue
        ),
        "coagulated": lambda: _score(severity, seed) > LIMITS.coagulation_issue,
    }
    return read[kind]()


def _uniform_rank() -> float:
    return measure_spectrum(worlds.noise(COUNT, DIM)).null_effective_rank


def _variance(seed: int) -> float:
    """Share around the mean in the healthy law: groups' directions have a mean of their own."""
    rows = worlds.make("coagulated", 0.0, _setting(seed, 16_000)).rows
    return 1 - float(rows.mean(0).square().sum())


def _rank(severity: float, seed: int) -> float:
    rows = worlds.make("dimensional", severity, _setting(seed, 16_000)).rows
    return measure_spectrum(rows).effective_rank_centred


def _score(severity: float, seed: int) -> float:
    """Score of the true groups, of many rows."""
    world = worlds.make("coagulated", severity, _setting(seed, 16_000))
    score = nt.nemd(nt.prototypes_from_labels(nt.Embeddings(world.rows, labels=world.group))).score
    return score.value if score else math.nan


def _record(kind: str, shape: str, seed: int, truth: int, found: Any) -> Record:
    course = found.course
    best = course.best
    return {
        "kind": kind,
        "shape": shape,
        "seed": seed,
        "truth": truth,
        "onset": course.collapse,
        "doubt": course.doubt,
        "kinds": course.kinds,
        "best": None if best is None else best.place,
        "states": "".join(stop.point.verdict.state[0] for stop in course.stops),
    }
