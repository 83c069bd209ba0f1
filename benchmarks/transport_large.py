"""Rows B8 and B9: all pairs and nearest prototypes where there are too many pairs to solve.

Each row runs in a process of its own, so that its peak memory is its own; two threads.
"""

import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transport_compare import CORES, Setting
from transport_data import von_mises_fisher

from nemd_toolkit.transport import (
    AllPairs,
    MemberClouds,
    all_pairs_wasserstein1,
    nearest_clouds,
    pairwise_wasserstein1,
)

__all__ = ["huge", "thousand"]

Record = dict[str, Any]
_RELATIVE_ERROR = 0.01


def thousand(setting: Setting, count: int = 1000) -> Record:
    """B8: K=1000 clouds of 40–60 points, against the full matrix of exact costs."""
    runs = [_alone(_thousand, setting.seed + r, count) for r in range(setting.repeats)]
    return {
        "kind": "large",
        "runs": runs,
        "checks": [
            _check("mean of all pairs, seconds", 5, [run["mean_seconds"] for run in runs]),
            _check("half-width of the mean, %", 1, [run["half_width_percent"] for run in runs]),
            _check("error of the mean, half-widths", 2, [run["half_widths_off"] for run in runs]),
            _check("exact solves a prototype", 1.5, [run["solves_each"] for run in runs]),
            _check("wrong nearest prototypes", 0, [run["nearest_wrong"] for run in runs]),
        ],
    }


def huge(setting: Setting, count: int = 25_000, queries: int = 1000) -> Record:
    """B9: 1.28 million memory-mapped points of `count` prototypes; one run, its seed the setting's.

    Points are drawn cloud by cloud as in B1; the queries are the first prototypes.
    """
    run = _alone(_huge, setting.seed, count, queries)
    return {
        "kind": "large",
        "runs": [run],
        "checks": [
            _check("mean and quartiles, seconds", 60, [run["mean_seconds"]]),
            _check("half-width of the mean, %", 1, [run["half_width_percent"]]),
            _check("peak memory, GB", 6, [run["peak_gigabytes"]]),
        ],
    }


def _check(what: str, most: float, measured: list[float]) -> Record:
    middle = statistics.median(measured)
    return {"what": what, "at_most": most, "measured": middle, "passed": middle <= most}


def _alone(task: Callable[..., Record], *arguments: int) -> Record:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(task, *arguments).result()


def _timed(task: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = task()
    return result, time.perf_counter() - start


def _estimate(found: AllPairs, seconds: float) -> Record:
    half = (found.mean.high - found.mean.low) / 2
    return {
        "mean_seconds": seconds,
        "mean": found.mean.value,
        "half_width_percent": 100 * half / found.mean.value,
        "quantiles": [[q.low, q.value, q.high] for q in found.quantiles],
        "pairs_total": found.pairs_total,
        "pairs_solved": found.pairs_solved,
        "explained": found.explained,
    }


def _peak() -> float:
    """Peak memory of this process in GB; Linux counts in KB, macOS in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _thousand(seed: int, count: int) -> Record:
    torch.set_num_threads(CORES)
    clouds = von_mises_fisher(seed, count=count, sizes=(40, 60), dim=128, resultant=0.7)
    pairwise_wasserstein1(clouds[:2])  # kernels are loaded
    found, seconds = _timed(
        lambda: all_pairs_wasserstein1(clouds, relative_error=_RELATIVE_ERROR, seed=seed)
    )
    near, near_seconds = _timed(lambda: nearest_clouds(clouds))
    every, every_seconds = _timed(lambda: pairwise_wasserstein1(clouds))
    full = np.full((count, count), np.inf)
    full[every.pairs[:, 0], every.pairs[:, 1]] = full[every.pairs[:, 1], every.pairs[:, 0]] = (
        every.cost
    )
    half = max(found.mean.high - found.mean.value, 1e-300)
    return _estimate(found, seconds) | {
        "half_widths_off": abs(found.mean.value - float(every.cost.mean())) / half,
        "nearest_seconds": near_seconds,
        "solves_each": near.solved / count,
        "intervals_each": near.intervals / count,
        "nearest_wrong": int((near.index != full.argmin(axis=1)).sum()),
        "all_exact_seconds": every_seconds,
        "peak_gigabytes": _peak(),
    }


def _huge(seed: int, count: int, queries: int) -> Record:
    torch.set_num_threads(CORES)
    pairwise_wasserstein1(np.eye(4).reshape(2, 2, 4))  # kernels are loaded
    with tempfile.TemporaryDirectory() as folder:
        points, assignment = _written(Path(folder) / "points.npy", seed, count)
        clouds = MemberClouds(points, assignment)
        found, seconds = _timed(
            lambda: all_pairs_wasserstein1(clouds, relative_error=_RELATIVE_ERROR, seed=seed)
        )
        estimate = _estimate(found, seconds) | {"peak_gigabytes": _peak()}
        near, near_seconds = _timed(lambda: nearest_clouds(clouds, of=np.arange(queries)))
    return estimate | {
        "nearest_seconds": near_seconds,
        "nearest_certified": float(near.certified.mean()),
        "solves_each": near.solved / queries,
        "intervals_each": near.intervals / queries,
        "after_centroids_each": near.after_centroids / queries,
        "after_points_each": near.after_points / queries,
        "nearest_peak_gigabytes": _peak(),
    }


def _written(path: Path, seed: int, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Points of all prototypes in a memory-mapped file, in mixed order, and their prototypes."""
    per = 1_280_000 // 25_000
    rng = np.random.default_rng(seed)
    sizes = rng.multinomial(per * count, np.full(count, 1 / count))
    assignment = rng.permutation(np.repeat(np.arange(count), sizes))
    rows = np.argsort(assignment, kind="stable")
    shape = (len(rows), 128)
    points = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    done = 0
    for part, block in enumerate(np.array_split(sizes, max(1, count // 500))):
        draw = von_mises_fisher(
            seed * 10_000 + part,
            count=len(block),
            sizes=(int(block.max()), int(block.max())),
            dim=128,
            resultant=0.7,
        )
        chosen = np.concatenate([cloud[:size] for cloud, size in zip(draw, block, strict=True)])
        points[rows[done : done + len(chosen)]] = chosen
        done += len(chosen)
    points.flush()
    return np.load(path, mmap_mode="r"), assignment
