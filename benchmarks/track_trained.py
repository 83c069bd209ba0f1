"""Real runs on digits: healthy ones, and ones that are driven into collapse after epoch 20 of 40.

A run is trained as its recipe says at a constant rate, a checkpoint every other epoch. A driven one
then goes on with settings that collapse, so the first checkpoint after the change is where a
collapse can be seen at the earliest: the truth of its onset. Accuracies of held-out images say what
each checkpoint is worth, and tell whether the change did harm at once.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from scipy.stats import spearmanr

from nemd_toolkit.measures import Interval
from nemd_toolkit.tracking import Course, track
from pauc_train.evaluate import evaluate
from pauc_train.loop import fit
from pauc_train.saving import read_checkpoint, write_checkpoint

__all__ = ["DRIVES", "HEALTHY", "Drive", "trained_branch", "trained_run"]

CHANGE, EPOCHS, EVERY = 20, 40, 2
DATA = "digits"
Record = dict[str, Any]
RULES = ("uniform", "score", "excess", "raw", "rank_share", "mean_share")


class Drive(NamedTuple):
    """One way to train."""

    name: str
    method: str
    change: Mapping[str, Any] | None  # settings from epoch 20 on; None: healthy to the end


HEALTHY = tuple(
    Drive(method, method, None) for method in ("mocov2", "pclv2", "pauc", "simclr", "byol")
)
DRIVES = (
    Drive("prototype weight x100", "pclv2", {"prototype_weight": 100.0}),
    Drive("correlation term x10", "pauc", {"gamma": 10.0}),
    Drive("learning rate 10", "mocov2", {"learning_rate": 10.0}),
    Drive("weight decay .3", "mocov2", {"weight_decay": 0.3}),
)


def trained_run(drive: Drive, seed: int, work: Path) -> Record:
    """Train, track, evaluate each checkpoint, and compare what a rule picks with the best."""
    folder = work / f"{drive.name.replace(' ', '-')}-{seed}"
    _train(drive, seed, folder)
    found = track(folder, DATA, records=folder / "track").course
    accuracies = [evaluate(folder / stop.file) for stop in found.stops]
    probes = [accuracy.linear_probe for accuracy in accuracies]
    return {
        "run": drive.name,
        "method": drive.method,
        "seed": seed,
        "truth": None if drive.change is None else CHANGE // EVERY,
        "onset": found.collapse,
        "doubt": found.doubt,
        "kinds": found.kinds,
        "best": None if found.best is None else found.best.place,
        "labels": [stop.label for stop in found.stops],
        "states": "".join(stop.point.verdict.state[0] for stop in found.stops),
        "knn": [accuracy.knn for accuracy in accuracies],
        "probe": probes,
        "rules": _rules(found, probes),
    }


def trained_branch(drive: Drive, seed: int, work: Path) -> Record:
    """Track a run that is there by its query encoder; the default, the key, follows it slowly."""
    folder = work / f"{drive.name.replace(' ', '-')}-{seed}"
    found = track(folder, DATA, records=folder / "query", branch="query").course
    return {
        "run": drive.name,
        "seed": seed,
        "truth": CHANGE // EVERY,
        "onset": found.collapse,
        "kinds": found.kinds,
        "best": None if found.best is None else found.best.place,
        "states": "".join(stop.point.verdict.state[0] for stop in found.stops),
    }


def _train(drive: Drive, seed: int, folder: Path) -> None:
    """Train unless it is done; a change is written into the checkpoint's own settings."""
    settings: dict[str, Any] = {"save_every": EVERY, "schedule": "constant"}
    done = folder / f"checkpoint_{EPOCHS - 1:04d}.pth.tar"
    if done.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    if drive.change is None:
        fit(drive.method, DATA, epochs=EPOCHS, seed=seed, out=folder, overrides=settings)
        return
    last = fit(drive.method, DATA, epochs=CHANGE, seed=seed, out=folder, overrides=settings)
    content = read_checkpoint(last)
    content["nemd"]["config"] |= {**drive.change, "epochs": EPOCHS}
    write_checkpoint(last, content)
    overrides = settings | dict(drive.change)
    fit(drive.method, DATA, epochs=EPOCHS, seed=seed, out=folder, overrides=overrides)


def _rules(course: Course, probes: list[float]) -> Record:
    """How each label-free number does among the healthy checkpoints of one run.

    lost: the best probe less that of the checkpoint picked. Greatest is picked for excess, raw and
    rank, least for uniformity and the mean share; the score by both.
    """
    healthy = [p for p, s in enumerate(course.stops) if s.point.verdict.state == "healthy"]
    if len(healthy) < 3:
        return {}
    mine = [probes[place] for place in healthy]
    rows: Record = {"healthy": len(healthy), "last": max(mine) - mine[-1]}
    for name in RULES:
        values = [_value(course.stops[place].point.numbers[name]) for place in healthy]
        if None in values:
            continue
        least, most = values.index(min(values)), values.index(max(values))
        rows[name] = {
            "correlation": float(spearmanr(values, mine)[0]),
            "lost_by_least": max(mine) - mine[least],
            "lost_by_most": max(mine) - mine[most],
        }
    return rows


def _value(found: Any) -> float | None:
    return found.value if isinstance(found, Interval) else found
