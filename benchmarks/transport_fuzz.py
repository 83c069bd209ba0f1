"""Random clouds until the time is up: exact values against emd2, bounds against the truth.

    python benchmarks/transport_fuzz.py --minutes 10 --seed 0
    python benchmarks/transport_fuzz.py --seed 0 --only 1234     # that trial again, nothing written

A trial is two clouds of one family (below) with random sizes, dimension, scale and offset, solved
exactly and with a random rtol, alone or in one call with clouds far away. Its W1 comes from POT's
simplex on distances from coordinate differences (scipy's cdist): those of `ot.dist` err by 1e-8 on
near-duplicates. A violation is, in parts of the call's extent, an exact value off by more than
1e-10 or a bound that passes the truth by more than 1e-12; an interval wider than rtol; or a lower
bound above the upper one. It prints the command that repeats it, and the exit code is 1.

`fuzz.json`, schema nemd-transport-fuzz/1: {"schema", "seed", "minutes", "date", "commit", "load",
"pairs", "handed_on" (pairs that went to POT's simplex), "worst_error", "worst_bound" (how far a
bound passed the truth), both in parts of the extent, "violations": [{"what", "by", "repeat", ...}],
"families": {name: {"pairs", "handed_on", "worst_error", "worst_bound"}}}. How fast such
data are solved is measured by `transport_odd.py`.
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
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import ot
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from nemd_toolkit.files import write_text
from nemd_toolkit.transport import host, pairwise_wasserstein1

SCHEMA = "nemd-transport-fuzz/1"
OUT = Path("reports/transport/fuzz.json")
EXACT, BOUND = 1e-10, 1e-12
RTOLS = (1e-6, 1e-4, 1e-3, 0.01, 0.05, 0.3)

Array = NDArray[np.float64]
Rng = np.random.Generator
Family = Callable[[Rng, int, int, int], tuple[Array, Array]]


def gaussian(rng: Rng, n: int, m: int, d: int) -> tuple[Array, Array]:
    """Two normal clouds a random way apart."""
    return rng.standard_normal((n, d)), rng.standard_normal((m, d)) + rng.exponential(1) / d**0.5


def sphere(rng: Rng, n: int, m: int, d: int) -> tuple[Array, Array]:
    """Caps of random width around two directions, as prototypes are."""
    centres = rng.standard_normal((2, d))
    x, y = (
        c + 10 ** rng.uniform(-3, 1) * rng.standard_normal((k, d))
        for c, k in zip(centres, (n, m), strict=True)
    )
    return (
        x / np.linalg.norm(x, axis=1, keepdims=True),
        y / np.linalg.norm(y, axis=1, keepdims=True),
    )


def mixed_spread(rng: Rng, n: int, m: int, d: int) -> tuple[Array, Array]:
    """Points at all scales around one centre."""
    return (
        10.0 ** rng.uniform(-8, 0, (n, 1)) * rng.standard_normal((n, d)),
        10.0 ** rng.uniform(-8, 0, (m, 1)) * rng.standard_normal((m, d)),
    )


def tight_and_far(rng: Rng, n: int, m: int, d: int) -> tuple[Array, Array]:
    """Clouds that are tiny beside their distance."""
    tiny = 10.0 ** rng.uniform(-12, -2, 2)
    shift = rng.standard_normal(d)
    return tiny[0] * rng.standard_normal((n, d)), shift + tiny[1] * rng.standard_normal((m, d))


def near_duplicates(rng: Rng, n: int, m: int, d: int) -> tuple[Array, Array]:
    """Both clouds from few places, each point moved a very little."""
    places = rng.standard_normal((int(rng.integers(1, 12)), d))
    tiny = 10.0 ** rng.uniform(-15, -4)
    x, y = (places[rng.integers(len(places), size=k)] for k in (n, m))
    return x + tiny * rng.standard_normal(x.shape), y + tiny * rng.standard_normal(y.shape)


def repeats(rng: Rng, n: int, m: int, d: int) -> tuple[Array, Array]:
    """Few different points, each many times."""
    places = rng.standard_normal((int(rng.integers(1, 30)), d))
    return places[rng.integers(len(places), size=n)], places[rng.integers(len(places), size=m)]


def apart_on_a_line(rng: Rng, n: int, m: int, d: int) -> tuple[Array, Array]:
    """All of x before all of y on a line: every plan is optimal."""
    direction = rng.standard_normal(d)
    values = 0.1 * rng.integers(0, 3, n) if rng.random() < 0.5 else rng.random(n)
    return values[:, None] * direction, (1 + rng.random((m, 1))) * direction


def line(rng: Rng, n: int, m: int, d: int) -> tuple[Array, Array]:
    """Collinear and overlapping."""
    direction = rng.standard_normal(d)
    return rng.standard_normal((n, 1)) * direction, rng.standard_normal((m, 1)) * direction


def lattice(rng: Rng, n: int, m: int, d: int) -> tuple[Array, Array]:
    """Whole coordinates: ties everywhere."""
    side = int(rng.integers(2, 12))
    x, y = rng.integers(side, size=(n, d)), rng.integers(side, size=(m, d))
    return x.astype(float), y.astype(float)


def grids(rng: Rng, n: int, m: int, d: int) -> tuple[Array, Array]:
    """Two regular planar grids, moved by a part of their step."""

    def grid(k: int) -> Array:
        points = np.zeros((k, d))
        points[:, : min(d, 2)] = np.stack([np.arange(k) // 20, np.arange(k) % 20], 1)[:, :d]
        return points

    return grid(n), grid(m) + rng.choice([0.0, 0.5, 10.0])


def same(rng: Rng, n: int, _m: int, d: int) -> tuple[Array, Array]:
    """One cloud in two orders."""
    x = rng.standard_normal((n, d))
    return x, rng.permutation(x)


def part(rng: Rng, n: int, m: int, d: int) -> tuple[Array, Array]:
    """Draw the second cloud from the first."""
    x = rng.standard_normal((n, d))
    return x, x[rng.integers(n, size=m)]


def collapsed(rng: Rng, n: int, m: int, d: int) -> tuple[Array, Array]:
    """One direction with float32 rounding around it: total collapse."""
    centre = rng.standard_normal(d)
    centre /= np.linalg.norm(centre)
    x, y = ((centre * (1 + 1e-7 * rng.standard_normal((k, d)))).astype(np.float32) for k in (n, m))
    return x.astype(float), y.astype(float)


def groups(rng: Rng, n: int, m: int, d: int) -> tuple[Array, Array]:
    """Tight groups whose shares differ: mass must cross."""
    places = 3 * rng.standard_normal((int(rng.integers(2, 9)), d))
    x, y = (
        places[rng.choice(len(places), k, p=rng.dirichlet(np.ones(len(places))))] for k in (n, m)
    )
    wide = 10.0 ** rng.uniform(-3, 0)
    return x + wide * rng.standard_normal(x.shape), y + wide * rng.standard_normal(y.shape)


def heavy_tails(rng: Rng, n: int, m: int, d: int) -> tuple[Array, Array]:
    """Cauchy coordinates: few points are very far."""
    return rng.standard_cauchy((n, d)), rng.standard_cauchy((m, d))


def outlier(rng: Rng, n: int, m: int, d: int) -> tuple[Array, Array]:
    """One point far from all others."""
    x, y = rng.standard_normal((n, d)), rng.standard_normal((m, d))
    x[0] += 10.0 ** rng.uniform(1, 9)
    return x, y


def simplex_corners(rng: Rng, n: int, m: int, d: int) -> tuple[Array, Array]:
    """Points in as many directions as there are: nearly equal distances."""
    x, y = np.eye(d)[rng.integers(d, size=n)], np.eye(d)[rng.integers(d, size=m)]
    tiny = 10.0 ** rng.uniform(-9, -1)
    return x + tiny * rng.standard_normal(x.shape), -y + tiny * rng.standard_normal(y.shape)


SMOOTH = (gaussian, sphere, mixed_spread, tight_and_far, groups, heavy_tails, outlier)
TIED = (repeats, apart_on_a_line, line, lattice, grids, same, part)
NEAR = (near_duplicates, collapsed, simplex_corners)
FAMILIES: dict[str, Family] = {family.__name__: family for family in (*SMOOTH, *TIED, *NEAR)}


class Trial(NamedTuple):
    """What a trial solves: clouds x and y, and whether clouds far away are in the same call."""

    family: str
    x: Array
    y: Array
    rtol: float
    company: bool

    @property
    def clouds(self) -> list[Array]:
        """x, y, and their company."""
        if not self.company:
            return [self.x, self.y]
        size = float(max(np.abs(self.x).max(), np.abs(self.y).max())) + 1e-300
        return [self.x, self.y, self.x[:1] + 3 * size, self.y[:2] - 2 * size]


def draw(seed: int, number: int) -> Trial:
    """Make trial `number`: the same for the same seed, whatever ran before."""
    rng = np.random.default_rng([seed, number])
    name = list(FAMILIES)[number % len(FAMILIES)]
    n, m = (int(size) for size in np.exp(rng.uniform(0, np.log(801), 2)))
    if rng.random() < 0.2:
        m = n
    d = int(np.exp(rng.uniform(0, np.log(601))))
    x, y = FAMILIES[name](rng, n, m, d)
    if rng.random() < 0.2:
        x, y = (points + 10.0 ** rng.uniform(-3, 7) for points in (x, y))
    scale = 10.0 ** rng.uniform(-120, 120) if rng.random() < 0.2 else 1.0
    return Trial(name, scale * x, scale * y, float(rng.choice(RTOLS)), bool(rng.random() < 0.3))


def truth(x: Array, y: Array) -> float:
    """W1 from POT on exact distances, scaled by a power of two so that nothing over- or underflows.

    POT counts costs below some 1e-15 as zero: what all distances share goes off first.
    """
    exponent = int(np.frexp(max(np.abs(x).max(), np.abs(y).max()))[1])
    costs = cdist(np.ldexp(x, -exponent), np.ldexp(y, -exponent))
    least, largest = float(costs.min()), float(costs.max())
    spread = largest - least or 1.0
    cost, log = ot.emd2([], [], (costs - least) / spread, numItermax=10**7, log=True)
    if log["result_code"] != 1:
        raise RuntimeError(f"the reference stopped early: {log['warning']}")
    return float(np.ldexp(cost * spread + least, exponent))


def extent(clouds: list[Array]) -> float:
    """Length of the diagonal of the box around all points."""
    low = np.min([cloud.min(0) for cloud in clouds], axis=0)
    high = np.max([cloud.max(0) for cloud in clouds], axis=0)
    size = float((high - low).max())
    return float(np.linalg.norm((high - low) / size)) * size if size else 1e-300


class Checked(NamedTuple):
    """Findings of a trial; errors in parts of the extent."""

    error: float
    passed: float  # by how much a bound passes the truth; negative where it does not
    handed_on: int
    violations: tuple[str, ...]


def check(trial: Trial) -> Checked:
    """Solve a trial exactly and in an interval, and compare."""
    unit, want = extent(trial.clouds), truth(trial.x, trial.y)
    with patch.object(host, "full_simplex", wraps=host.full_simplex) as fallback:
        exact = pairwise_wasserstein1(trial.clouds, [[0, 1]])
        if trial.company:
            exact = pairwise_wasserstein1(trial.clouds)
        bounds = pairwise_wasserstein1(trial.clouds, rtol=trial.rtol)
    lower, upper = float(bounds.lower[0]), float(bounds.upper[0])
    error = abs(float(exact.cost[0]) - want) / unit
    passed = max(lower - want, want - upper) / unit
    wide = (bounds.upper - bounds.lower) > trial.rtol * bounds.lower * (1 + 1e-12)
    violations = [
        what
        for what, broken in (
            (f"exact value off by {error:.3g}", error > EXACT),
            (f"bound passes the truth by {passed:.3g}", passed > BOUND),
            ("interval wider than rtol", bool(wide.any())),
            ("lower above upper", bool((bounds.lower > bounds.upper).any())),
            ("an exact value is an interval", not exact.exact),
        )
        if broken
    ]
    return Checked(error, passed, fallback.call_count, tuple(violations))


def tell(seed: int, number: int, trial: Trial) -> dict[str, Any]:
    """Say what a trial was, and how to repeat it."""
    return {
        "family": trial.family,
        "n": len(trial.x),
        "m": len(trial.y),
        "d": trial.x.shape[1],
        "rtol": trial.rtol,
        "company": trial.company,
        "repeat": f"python benchmarks/transport_fuzz.py --seed {seed} --only {number}",
    }


def fuzz(seed: int, minutes: float) -> dict[str, Any]:
    """Run trials for so many minutes; gives the document without its header."""
    families: dict[str, dict[str, Any]] = {
        name: {"pairs": 0, "handed_on": 0, "worst_error": 0.0, "worst_bound": -1.0}
        for name in FAMILIES
    }
    violations = []
    said = time.monotonic()
    number, until = -1, said + 60 * minutes
    while time.monotonic() < until:
        number += 1
        trial = draw(seed, number)
        found, record = check(trial), families[trial.family]
        record["pairs"] += 1
        record["handed_on"] += found.handed_on
        record["worst_error"] = max(record["worst_error"], found.error)
        record["worst_bound"] = max(record["worst_bound"], found.passed)
        for what in found.violations:
            violations.append({"what": what} | tell(seed, number, trial))
            print(f"VIOLATION {violations[-1]}", file=sys.stderr)
        if time.monotonic() > said + 20:
            said = time.monotonic()
            print(f"{number + 1} pairs, {len(violations)} violations", file=sys.stderr)
    return {
        "pairs": sum(record["pairs"] for record in families.values()),
        "handed_on": sum(record["handed_on"] for record in families.values()),
        "worst_error": max(record["worst_error"] for record in families.values()),
        "worst_bound": max(record["worst_bound"] for record in families.values()),
        "violations": violations,
        "families": families,
    }


def main() -> int:
    """Run; 1 when anything was violated."""
    parser = argparse.ArgumentParser(description="Random transport problems against emd2")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="run this trial, write nothing")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(2)
    if options.only is not None:
        trial = draw(options.seed, options.only)
        found = check(trial)
        print(tell(options.seed, options.only, trial), found)
        return int(bool(found.violations))
    before = os.getloadavg()[0]
    check(draw(options.seed, 0))  # compiles
    document = fuzz(options.seed, options.minutes)
    command = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    header = {
        "schema": SCHEMA,
        "seed": options.seed,
        "minutes": options.minutes,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "load": [before, os.getloadavg()[0]],
    }
    write_text(options.out, json.dumps(header | document, indent=1) + "\n")
    print(f"{document['pairs']} pairs, {len(document['violations'])} violations", file=sys.stderr)
    return int(bool(document["violations"]))


if __name__ == "__main__":
    sys.exit(main())
