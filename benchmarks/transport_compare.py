"""One row of the transport benchmark: ours beside the baseline, on new clouds in every repeat.

A repeat runs every arm once, in an order that rotates from repeat to repeat; ratios are formed
within a repeat, so what slows the machine for longer than that slows both sides.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transport_baseline import TwoProcesses, emd2_loop, matrix_products, sample_pairs
from transport_data import Clouds

import nemd_toolkit as nt

__all__ = ["CORES", "RTOL", "Setting", "Target", "compare", "threads"]

CORES = 2
RTOL = 0.01
_BUDGET = 2.0  # seconds of baseline in one repeat…
_WHOLE = 6.0  # …unless all pairs of the row take no more than this
_FEWEST = 16  # pairs
_ROUNDING = 1e-12  # by how much emd2 may leave our bounds: both sides round
_LARGEST_DIFFERENCE = 1e-9

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is the same for all rows of a run."""

    seed: int
    repeats: int
    two_processes: TwoProcesses
    device: str = "cpu"  # where our clouds lie


class Target(NamedTuple):
    """A ratio to reach: in the median of the repeats, or in each of them ("low")."""

    ratio: str
    least: float
    statistic: str = "median"


class _Repeat(NamedTuple):
    seconds: dict[str, float]  # by arm, of one pair
    pairs: dict[str, int]  # how many pairs that is a mean of
    difference: float
    violations: int
    width: NDArray[np.float64]  # relative, of every pair
    solved: float


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Set torch's number of threads, which is ours, inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compare(
    setting: Setting, *, clouds: Callable[[int], Clouds], targets: Sequence[Target]
) -> Record:
    """Time every arm on `clouds(seed + repeat)`, and check our values against emd2's."""
    load = [os.getloadavg()[0]]
    first = clouds(setting.seed)
    pair_seconds = _warm_up(setting, first)
    repeats = [
        _repeat(setting, clouds(setting.seed + r) if r else first, r, pair_seconds)
        for r in range(setting.repeats)
    ]
    load.append(os.getloadavg()[0])
    sizes = [len(cloud) for cloud in first]
    record: Record = {
        "kind": "comparison",
        "clouds": len(first),
        "sizes": [min(sizes), max(sizes)],
        "dim": first[0].shape[1],
        "load": load,
        **_timings(repeats),
        "largest_difference": max(r.difference for r in repeats),
        "bound_violations": sum(r.violations for r in repeats),
        "width": {
            "mean": float(np.mean([r.width.mean() for r in repeats])),
            "largest": float(max(r.width.max() for r in repeats)),
        },
        "solved_share": float(np.mean([r.solved for r in repeats])),
    }
    return record | {"checks": _checks(record, targets)}


def _warm_up(setting: Setting, clouds: Clouds) -> float:
    """Compile, load and touch everything once; seconds of one baseline pair."""
    pairs = _all_pairs(len(clouds))
    rng = np.random.default_rng([setting.seed, 1])
    few = pairs[sample_pairs(_work(clouds, pairs), min(len(pairs), _FEWEST), rng)]
    for wide in (clouds, [cloud.astype(np.float32) for cloud in clouds]):
        for rtol in (0.0, RTOL):
            with threads(CORES):
                nt.pairwise_wasserstein1(_placed(wide, setting.device), few, rtol=rtol)
    setting.two_processes.load(clouds, few)
    setting.two_processes.solve()
    start = time.perf_counter()
    emd2_loop(clouds, few)
    return (time.perf_counter() - start) / len(few)


def _repeat(setting: Setting, clouds: Clouds, repeat: int, pair_seconds: float) -> _Repeat:
    pairs = _all_pairs(len(clouds))
    count = len(pairs)
    if pair_seconds * count > _WHOLE:
        count = min(count, max(_FEWEST, round(_BUDGET / pair_seconds)))
    rng = np.random.default_rng([setting.seed + repeat, 2])
    chosen = sample_pairs(_work(clouds, pairs), count, rng)
    setting.two_processes.load(clouds, pairs[chosen])
    arms = _arms(setting, clouds, pairs[chosen])
    names = list(arms)
    names = names[repeat % len(names) :] + names[: repeat % len(names)]
    seconds, results, covered = {}, {}, {}
    for name in names:
        workers, action = arms[name]
        with threads(workers):
            start = time.perf_counter()
            results[name] = action()
            elapsed = time.perf_counter() - start
        covered[name] = len(pairs) if isinstance(results[name], nt.Pairs) else count
        seconds[name] = elapsed / covered[name]
    return _Repeat(seconds, covered, **_compared(results, pairs, chosen))


def _arms(
    setting: Setting, clouds: Clouds, chosen: NDArray[np.int64]
) -> dict[str, tuple[int, Callable[[], Any]]]:
    """Whatever is timed: threads and action by name, baselines on the chosen pairs, ours on all."""
    narrow = [cloud.astype(np.float32) for cloud in clouds]
    double, single = _placed(clouds, setting.device), _placed(narrow, setting.device)

    def ours(given: Sequence[Any], rtol: float) -> Callable[[], nt.Pairs]:
        return lambda: nt.pairwise_wasserstein1(given, rtol=rtol)

    return {
        "baseline": (1, lambda: emd2_loop(clouds, chosen)),
        "exact": (CORES, ours(double, 0.0)),
        "interval": (CORES, ours(double, RTOL)),
        "baseline_two_processes": (1, setting.two_processes.solve),
        "exact_one_thread": (1, ours(double, 0.0)),
        "interval_one_thread": (1, ours(double, RTOL)),
        "exact_float32": (CORES, ours(single, 0.0)),
        "interval_float32": (CORES, ours(single, RTOL)),
        "matrix_product": (1, lambda: matrix_products(narrow, chosen)),
    }


def _compared(
    results: dict[str, Any], pairs: NDArray[np.int64], chosen: NDArray[np.int64]
) -> dict[str, Any]:
    """Hold our values against emd2's, and read the intervals' widths."""
    exact, interval, truth = results["exact"], results["interval"], results["baseline"]
    assert np.array_equal(exact.pairs, pairs)
    assert np.array_equal(interval.pairs, pairs)
    outside = (interval.lower[chosen] > truth + _ROUNDING) | (
        interval.upper[chosen] < truth - _ROUNDING
    )
    return {
        "difference": float(np.abs(exact.cost[chosen] - truth).max()),
        "violations": int(outside.sum()),
        "width": (interval.upper - interval.lower) / np.maximum(exact.cost, _ROUNDING),
        "solved": float((interval.upper == interval.lower).mean()),
    }


def _timings(repeats: Sequence[_Repeat]) -> Record:
    """Milliseconds a pair of every arm, and the ratios that the issue asks for."""
    seconds = {name: [r.seconds[name] for r in repeats] for name in repeats[0].seconds}
    ratios = {
        "exact": ("baseline", "exact"),
        "interval": ("baseline", "interval"),
        "two_processes": ("baseline", "baseline_two_processes"),
        "exact_to_two_processes": ("baseline_two_processes", "exact"),
        "interval_to_two_processes": ("baseline_two_processes", "interval"),
        "exact_one_thread": ("baseline", "exact_one_thread"),
        "interval_one_thread": ("baseline", "interval_one_thread"),
        "exact_float32": ("baseline", "exact_float32"),
        "interval_float32": ("baseline", "interval_float32"),
        "exact_above_floor": ("exact_one_thread", "matrix_product"),
        "interval_above_floor": ("interval_one_thread", "matrix_product"),
    }
    return {
        "milliseconds": {
            name: _spread([1e3 * value for value in values])
            | {"pairs": [r.pairs[name] for r in repeats]}
            for name, values in seconds.items()
        },
        "ratios": {
            name: _spread([a / b for a, b in zip(seconds[over], seconds[under], strict=True)])
            for name, (over, under) in ratios.items()
        },
    }


def _checks(record: Record, targets: Sequence[Target]) -> list[Record]:
    """Set each target beside what was measured."""
    found = []
    for ratio, least, statistic in targets:
        value = record["ratios"][ratio][statistic]
        what = f"{ratio} ratio, {'every repeat' if statistic == 'low' else 'median'}"
        found.append({"what": what, "at_least": least, "measured": value, "passed": value >= least})
    limits = {
        "interval mean width": (record["width"]["mean"], RTOL),
        "largest difference": (record["largest_difference"], _LARGEST_DIFFERENCE),
        "bound violations": (record["bound_violations"], 0),
    }
    return found + [
        {"what": what, "at_most": most, "measured": value, "passed": value <= most}
        for what, (value, most) in limits.items()
    ]


def _spread(values: Sequence[float]) -> Record:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def _all_pairs(count: int) -> NDArray[np.int64]:
    return np.stack(np.triu_indices(count, 1), axis=1).astype(np.int64)


def _work(clouds: Clouds, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    sizes = np.array([len(cloud) for cloud in clouds])
    work: NDArray[np.int64] = sizes[pairs[:, 0]] * sizes[pairs[:, 1]]
    return work


def _placed(clouds: Sequence[Any], device: str) -> list[Any]:
    """On the CPU the arrays as they are; else tensors on the device."""
    if device == "cpu":
        return list(clouds)
    return [torch.from_numpy(cloud).to(device) for cloud in clouds]
