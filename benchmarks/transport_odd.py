"""How fast transport is on data that it was not made for, against the naive loop.

    python benchmarks/transport_odd.py --seed 0 --calls 15

A call is 24 pairs of one family of `transport_fuzz.py` (17: ties, near-duplicates, outliers,
all scales at once, …) with sizes from 1 to 800 each, one random dimension, at scale 1: POT's
tolerances are absolute, so that far below it the loop stops at once. Both solve the same pairs
exactly, one after the other, best of two: the loop (`ot.emd2` on `ot.dist`) on one thread, ours in
one call of `pairwise_wasserstein1` on two, and on one.

`odd.json`, schema nemd-transport-odd/1: {"schema", "seed", "calls", "date", "commit", "load",
"families": {name: {"two", "one": {"median", "least", "total" (all naive time over all of ours)},
"slower_calls" (those in which ours took longer on two threads)}}}; ratios are naive time over ours.
"""

import argparse
import os
import sys

if __name__ == "__main__":  # read when the libraries load, so set before that
    os.environ.update({f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")})

import json
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import ot
import torch
from transport_fuzz import FAMILIES, Array

from nemd_toolkit.files import write_text
from nemd_toolkit.transport import pairwise_wasserstein1

SCHEMA = "nemd-transport-odd/1"
OUT = Path("reports/transport/odd.json")
PAIRS = 24


def draw(rng: np.random.Generator, family: str) -> list[tuple[Array, Array]]:
    """Make the pairs of a call."""
    d, pairs = int(np.exp(rng.uniform(0, np.log(601)))), []
    for _ in range(PAIRS):
        n, m = (int(size) for size in np.exp(rng.uniform(0, np.log(801), 2)))
        x, y = FAMILIES[family](rng, n, m, d)
        both = np.concatenate([x, y])
        longest = max(float(np.ptp(both, axis=0).max()), 1e-6 * float(np.abs(both).max()), 1e-300)
        pairs.append((x / longest, y / longest))
    return pairs


def loop(pairs: list[tuple[Array, Array]]) -> None:
    """Solve as a user would."""
    for x, y in pairs:
        ot.emd2([], [], ot.dist(x, y, metric="euclidean"), numItermax=10**7)


def ours(pairs: list[tuple[Array, Array]]) -> None:
    """Solve in one call."""
    clouds = [cloud for pair in pairs for cloud in pair]
    pairwise_wasserstein1(clouds, np.arange(len(clouds)).reshape(-1, 2))


def seconds(solve: Callable[[list[tuple[Array, Array]]], None], pairs: Any) -> float:
    """Time a call, better of two."""
    took = []
    for _ in range(2):
        start = time.perf_counter()
        solve(pairs)
        took.append(time.perf_counter() - start)
    return min(took)


def measure(family: str, seed: int, calls: int) -> dict[str, Any]:
    """Time calls of one family."""
    rng = np.random.default_rng([seed, list(FAMILIES).index(family)])
    times = []
    for _ in range(calls):
        pairs = draw(rng, family)
        took = [seconds(loop, pairs)]
        for threads in (2, 1):
            torch.set_num_threads(threads)
            took.append(seconds(ours, pairs))
        times.append(took)
    naive_time, two, one = np.array(times).T
    return {
        name: {
            "median": float(np.median(naive_time / own)),
            "least": float((naive_time / own).min()),
            "total": float(naive_time.sum() / own.sum()),
        }
        for name, own in (("two", two), ("one", one))
    } | {"slower_calls": int((two > naive_time).sum())}


def main() -> int:
    """Run every family and write the document."""
    parser = argparse.ArgumentParser(description="Transport on odd data, against the naive loop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--calls", type=int, default=15)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    before = os.getloadavg()[0]
    ours(draw(np.random.default_rng(0), "gaussian"))  # compiles
    families = {}
    for family in FAMILIES:
        families[family] = measure(family, options.seed, options.calls)
        print(family, json.dumps(families[family]), file=sys.stderr)
    command = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    document = {
        "schema": SCHEMA,
        "seed": options.seed,
        "calls": options.calls,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "load": [before, os.getloadavg()[0]],
        "families": families,
    }
    write_text(options.out, json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
