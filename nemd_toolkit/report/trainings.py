"""Methods trained over several seeds: accuracy beside collapse, one page, tables, a plot."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from nemd_toolkit.errors import InputError
from nemd_toolkit.figures.accuracy import Point, draw_accuracy
from nemd_toolkit.figures.saving import png_bytes
from nemd_toolkit.measures import Interval
from nemd_toolkit.report.figure_data import accuracy_data
from nemd_toolkit.report.folder import write_files
from nemd_toolkit.report.page import shown
from nemd_toolkit.report.picture import Hover, Picture
from nemd_toolkit.report.rendering import render
from nemd_toolkit.report.tables import csv_text
from nemd_toolkit.report.wording import interval, shortened, storable

__all__ = ["TrainedRun", "over_seeds", "write_trainings"]

SCHEMA = "nemd-trainings/1"
_SHARES = ("linear_probe", "knn")  # no interval leaves 0 … 1
COLUMNS = {  # number: how it is called, digits
    "linear_probe": ("linear probe", 3),
    "knn": ("kNN", 3),
    "score": ("NEMD score", 2),
    "excess": ("excess", 2),
    "raw": ("raw", 2),
    "beyond_axes": ("beyond axes", 2),  # at the K that shows it the most
    "effective_rank": ("effective rank", 1),
    "seconds": ("seconds", 0),
    "gigabytes": ("peak GB", 2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedRun:
    """One training: how it was made and what came of it."""

    method: str
    seed: int
    state: str | None  # of the verdict; None where the run failed
    codes: tuple[str, ...] = ()  # findings that are issues
    numbers: Mapping[str, float | None] = field(default_factory=dict)  # of COLUMNS, None: none
    failed: str | None = None  # the sentence why


def over_seeds(values: Sequence[float]) -> Interval | None:
    """Mean over trainings with Student's 95 % interval; None without values.

    One value has no interval: its ends are not a number.

    >>> over_seeds([1.0, 2.0, 3.0])
    Interval(value=2.0, low=-0.484..., high=4.484...)
    """
    if not values:
        return None
    mean, n = float(np.mean(values)), len(values)
    if n == 1:
        return Interval(value=mean, low=math.nan, high=math.nan)
    half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    return Interval(value=mean, low=mean - half, high=mean + half)


def write_trainings(runs: Sequence[TrainedRun], folder: Path, *, about: Mapping[str, str]) -> Path:
    """Write trainings.html, .json, runs.csv, methods.csv and accuracy.png; gives the page's path.

    about: what all runs share, such as data and commit, to be shown. Raises InputError without
    runs, and if `folder` cannot be written to.
    """
    if not runs:
        raise InputError("trainings: expected at least one run, got none; name a method")
    methods = list(dict.fromkeys(run.method for run in runs))
    table = pd.DataFrame([_flat(run) for run in runs])
    picture = _picture(runs, methods)
    write_files(
        folder,
        {
            "trainings.json": _document(runs, methods, about),
            "runs.csv": csv_text(table),
            "methods.csv": csv_text(pd.DataFrame([_summary(runs, m) for m in methods])),
            "accuracy.png": png_bytes(picture.figure),
            "trainings.html": _page(runs, methods, about, picture),
        },
    )
    return folder / "trainings.html"


def _of(runs: Sequence[TrainedRun], method: str, name: str) -> Interval | None:
    found = [run.numbers.get(name) for run in runs if run.method == method]
    interval = over_seeds([value for value in found if value is not None])
    if interval is None or name not in _SHARES or math.isnan(interval.low):
        return interval
    return replace(interval, low=max(interval.low, 0.0), high=min(interval.high, 1.0))


def _flat(run: TrainedRun) -> dict[str, Any]:
    return {
        "method": storable(run.method),
        "seed": run.seed,
        "state": run.state,
        "codes": " ".join(run.codes),
        **{name: run.numbers.get(name) for name in COLUMNS},
        "failed": None if run.failed is None else storable(run.failed),
    }


def _summary(runs: Sequence[TrainedRun], method: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "method": storable(method),
        "runs": sum(run.method == method for run in runs),
        "failed": sum(run.method == method and run.failed is not None for run in runs),
    }
    for name in COLUMNS:
        found = _of(runs, method, name)
        row |= {
            name: found.value if found else None,
            f"{name}_low": found.low if found else None,
            f"{name}_high": found.high if found else None,
        }
    return row


def _document(runs: Sequence[TrainedRun], methods: Sequence[str], about: Mapping[str, str]) -> str:
    content = {
        "schema": SCHEMA,
        "about": dict(about),
        "methods": [_finite(_summary(runs, method)) for method in methods],
        "runs": [_finite(_flat(run)) for run in runs],
    }
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def _picture(runs: Sequence[TrainedRun], methods: Sequence[str]) -> Picture:
    points = [
        Point(name=method, score=score, accuracy=accuracy)
        for method in methods
        if (score := _of(runs, method, "score")) and (accuracy := _of(runs, method, "linear_probe"))
    ]
    told = "; ".join(f"{p.name} {p.score.value:.2f}, {p.accuracy.value:.3f}" for p in points[:30])
    return Picture(
        name="accuracy",
        title="Accuracy against NEMD score",
        reading="Up is a better linear probe on held-out images, left is less coagulated; bars are "
        "95 % intervals over seeds. A healthy method that learns is at the upper left. Names that "
        "would cover others are left out: point at a dot.",
        alt=f"NEMD score and linear probe: {told}." if told else "No method has both numbers.",
        figure=draw_accuracy(points),
        data=accuracy_data(points),
        hover=Hover(x="score", y="accuracy"),
    )


def _page(
    runs: Sequence[TrainedRun],
    methods: Sequence[str],
    about: Mapping[str, str],
    picture: Picture,
) -> str:
    return render(
        "trainings.html.j2",
        title=f"{len(methods)} methods · nemd",
        methods=[
            {
                "name": shortened(method),
                "seeds": sum(run.method == method for run in runs),
                "states": _states(runs, method),
                "cells": [_cell(_of(runs, method, name), name) for name in COLUMNS],
            }
            for method in methods
        ],
        columns=[heading for heading, _ in COLUMNS.values()],
        about=[(name, shortened(text, 200)) for name, text in about.items()],
        failures=[(f"{r.method}, seed {r.seed}", r.failed) for r in runs if r.failed is not None],
        picture=shown(picture),
    )


def _cell(found: Interval | None, name: str) -> tuple[str, float | None]:
    digits = COLUMNS[name][1]
    if found is not None and math.isnan(found.low):
        return f"{found.value:.{digits}f}", found.value
    return interval(found, digits), found.value if found else None


def _states(runs: Sequence[TrainedRun], method: str) -> str:
    """Say how many of its trainings have which verdict, such as "4 healthy, 1 NEMD002"."""
    found: dict[str, int] = {}
    for run in runs:
        if run.method == method:
            state = "failed" if run.state is None else run.state
            word = " ".join(run.codes) if run.state == "collapsed" else state
            found[word] = found.get(word, 0) + 1
    return ", ".join(f"{count}\N{NO-BREAK SPACE}{word}" for word, count in found.items())
