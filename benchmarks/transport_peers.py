"""Other people's solvers on the same pairs: their time, and their error against emd2.

OTT-JAX and GeomLoss are no dependencies of the project: what is not installed is skipped, and
said. All may use every core, as ours does. Conversion to their arrays, padding and compilation
are left out of their times. `epsilon` is the entropic regularisation (GeomLoss: blur, the same at
p=1), in units of the distance, where W1 is about 1.2.

`peers.json`, schema nemd-transport-peers/1: {"schema", "machine", "baseline", "date", "seed",
"repeats", "rows": [{"id", "data", "pairs", "load", "peers": [{"name", "version", "settings", "how",
and either "skipped": why, or "pairs": how many were timed, "milliseconds": {"median", "low",
"high"} of one pair, "median_error", "largest_error" (relative), "certificate"}]}]}.
"""

import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np
import ot
import torch
from numpy.typing import NDArray
from transport_baseline import emd2_loop
from transport_compare import CORES, RTOL, threads
from transport_data import Clouds, von_mises_fisher

import nemd_toolkit as nt
from nemd_toolkit.errors import InputError

__all__ = ["PEERS", "ROWS", "Peer", "installed_version", "measure_peers"]

Values = NDArray[np.float64]
Solve = Callable[[], Values]
Prepare = Callable[[Clouds, NDArray[np.int64]], Solve]

_REPEATS = 3
_BUDGET = 3.0  # seconds of a peer in one repeat
_AT_ONCE = 32  # pairs in one batch
ROWS = {  # few clouds of the rows' laws: the peers are slow
    ("B1", "n=50, d=128, r=0.7"): partial(
        von_mises_fisher, count=14, sizes=(50, 50), dim=128, resultant=0.7
    ),
    ("B3", "n=200, d=128, r=0.7"): partial(
        von_mises_fisher, count=6, sizes=(200, 200), dim=128, resultant=0.7
    ),
    ("B4", "n=300–700, d=128, r=0.7"): partial(
        von_mises_fisher, count=4, sizes=(300, 700), dim=128, resultant=0.7
    ),
}


class Peer(NamedTuple):
    """A solver: `prepare` imports, converts and pads; what it gives is timed."""

    name: str
    package: str
    settings: str
    prepare: Prepare
    how: str = ""  # what its settings have in common
    certificate: str = "none"


def _emd2(clouds: Clouds, pairs: NDArray[np.int64]) -> Solve:
    def solve() -> Values:
        with threads(1):
            return emd2_loop(clouds, pairs)

    return solve


def _ours(rtol: float, clouds: Clouds, pairs: NDArray[np.int64]) -> Solve:
    return lambda: nt.pairwise_wasserstein1(clouds, pairs, rtol=rtol).cost


def _ott(epsilon: float, clouds: Clouds, pairs: NDArray[np.int64]) -> Solve:
    import jax
    from ott.geometry import costs, pointcloud
    from ott.solvers import linear

    @jax.jit
    def cost(x: Any, y: Any, a: Any, b: Any) -> Any:
        geometry = pointcloud.PointCloud(x, y, cost_fn=costs.Euclidean(), epsilon=epsilon)
        return linear.solve(geometry, a, b, max_iterations=5_000).primal_cost

    # one shape, so one compilation: repeated points that weigh nothing
    longest = max(map(len, clouds))
    points = [jax.numpy.asarray(np.resize(c, (longest, c.shape[1])), "float32") for c in clouds]
    weights = [
        jax.numpy.asarray(np.where(np.arange(longest) < len(c), 1 / len(c), 0), "float32")
        for c in clouds
    ]

    def solve() -> Values:
        found = [cost(points[p], points[q], weights[p], weights[q]) for p, q in pairs.tolist()]
        return np.array([float(value) for value in found])

    return solve


def _geomloss(blur: float, scaling: float, clouds: Clouds, pairs: NDArray[np.int64]) -> Solve:
    from geomloss import SamplesLoss

    loss = SamplesLoss(
        "sinkhorn", p=1, blur=blur, scaling=scaling, debias=False, backend="tensorized"
    )
    points = [torch.from_numpy(cloud).float() for cloud in clouds]
    batches = _batches(clouds, pairs)

    def solve() -> Values:
        with torch.no_grad():
            found = [
                loss(
                    torch.stack([points[p] for p, _ in batch.tolist()]),
                    torch.stack([points[q] for _, q in batch.tolist()]),
                )
                for batch in batches
            ]
        return torch.cat(found).double().numpy()

    return solve


def _solve_batch(settings: dict[str, Any], clouds: Clouds, pairs: NDArray[np.int64]) -> Solve:
    batches = _batches(clouds, pairs)
    points = [torch.from_numpy(cloud) for cloud in clouds]

    def solve() -> Values:
        found = []
        for batch in batches:
            x = torch.stack([points[p] for p, _ in batch.tolist()])
            y = torch.stack([points[q] for _, q in batch.tolist()])
            costs = ot.dist_batch(x, y, metric="euclidean")
            found.append(ot.solve_batch(costs, grad="detach", **settings).value_linear)
        return torch.cat(found).numpy()

    return solve


def _batches(clouds: Clouds, pairs: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Pairs of equal sizes together; both packages want one shape a batch."""
    if len({len(cloud) for cloud in clouds}) > 1:
        return [pair[None] for pair in pairs]
    return [pairs[start : start + _AT_ONCE] for start in range(0, len(pairs), _AT_ONCE)]


_BATCHED = f"in batches of {_AT_ONCE} pairs where all sizes are equal, else pair by pair"
_OTT = (
    "float32, jit, pair by pair, padded to one size by points without weight, Euclidean cost, "
    "threshold 1e-3, at most 5,000 iterations, primal_cost"
)
_GEOMLOSS = f"float32, p=1, debias=False, tensorized, {_BATCHED}"
_BATCH = f"float64 torch tensors, dist_batch, at most 1,000 iterations, value_linear, {_BATCHED}"
PEERS = (
    Peer("emd2", "POT", "one thread", _emd2, certificate="ends at an optimum"),
    Peer("ours", "nemd-toolkit", "rtol=0", partial(_ours, 0.0), certificate="exact, all edges"),
    Peer("ours", "nemd-toolkit", f"rtol={RTOL}", partial(_ours, RTOL), certificate="interval"),
    Peer("OTT-JAX", "ott-jax", "epsilon 0.01", partial(_ott, 0.01), _OTT),
    Peer("OTT-JAX", "ott-jax", "epsilon 0.002", partial(_ott, 0.002), _OTT),
    Peer(
        "GeomLoss", "geomloss", "blur 0.01, scaling 0.9", partial(_geomloss, 0.01, 0.9), _GEOMLOSS
    ),
    Peer(
        "GeomLoss",
        "geomloss",
        "blur 0.001, scaling 0.95",
        partial(_geomloss, 0.001, 0.95),
        _GEOMLOSS,
    ),
    Peer(
        "ot.solve_batch",
        "POT",
        "log_sinkhorn, reg 0.01",
        partial(_solve_batch, {"reg": 0.01, "method": "log_sinkhorn", "max_iter": 1_000}),
        _BATCH,
    ),
    Peer("ot.solve_batch", "POT", "default (proximal)", partial(_solve_batch, {}), _BATCH),
)


def measure_peers(
    seed: int, rows: dict[tuple[str, str], Callable[[int], Clouds]] | None = None
) -> dict[str, Any]:
    """Time all peers on `rows` (the three of `ROWS`), and hold their values against emd2's."""
    found = []
    for (name, data), make in (ROWS if rows is None else rows).items():
        clouds = make(seed)
        pairs = np.stack(np.triu_indices(len(clouds), 1), axis=1).astype(np.int64)
        truth = emd2_loop(clouds, pairs)
        load = os.getloadavg()[0]
        peers = [_measure(peer, clouds, pairs, truth) for peer in PEERS]
        found.append({"id": name, "data": data, "pairs": len(pairs), "load": load, "peers": peers})
    return {"schema": "nemd-transport-peers/1", "seed": seed, "repeats": _REPEATS, "rows": found}


def _measure(peer: Peer, clouds: Clouds, pairs: NDArray[np.int64], truth: Values) -> dict[str, Any]:
    """Time one peer after an untimed call; errors are relative, the median one with its sign.

    A slow peer gets the first pairs only, as many as take about three seconds.
    """
    record: dict[str, Any] = {"name": peer.name, "settings": peer.settings, "how": peer.how}
    try:
        with threads(CORES):
            pairs = pairs[: _affordable(peer, clouds, pairs)]
            solve = peer.prepare(clouds, pairs)
            values = solve()
            elapsed = [_seconds(solve) for _ in range(_REPEATS)]
    except ImportError:
        return record | {"version": None, "skipped": f"{peer.package} is not installed"}
    if not np.isfinite(values).all():
        raise InputError(
            f"{peer.name}: expected finite values, got {int((~np.isfinite(values)).sum())} others "
            f"of {len(values)} ({peer.settings}); change its settings"
        )
    errors = values / truth[: len(pairs)] - 1
    milliseconds = [1e3 * second / len(pairs) for second in elapsed]
    return record | {
        "version": installed_version(peer.package),
        "pairs": len(pairs),
        "milliseconds": {
            "median": statistics.median(milliseconds),
            "low": min(milliseconds),
            "high": max(milliseconds),
        },
        "median_error": float(np.median(errors)),
        "largest_error": float(np.abs(errors).max()),
        "certificate": peer.certificate,
    }


def _affordable(peer: Peer, clouds: Clouds, pairs: NDArray[np.int64]) -> int:
    first = peer.prepare(clouds, pairs[:1])
    first()  # imports and compiles
    return max(1, min(len(pairs), int(_BUDGET / _seconds(first))))


def installed_version(package: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _seconds(solve: Solve) -> float:
    start = time.perf_counter()
    solve()
    return time.perf_counter() - start
