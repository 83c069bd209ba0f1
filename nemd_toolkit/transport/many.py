"""Wasserstein-1 between clouds of points with uniform weights: one pair, or many."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike
from torch import Tensor

from nemd_toolkit import ranks
from nemd_toolkit.errors import InputError
from nemd_toolkit.progress import bar
from nemd_toolkit.stages import fingerprint, kept
from nemd_toolkit.transport.clouds import Packed, as_cloud, pack
from nemd_toolkit.transport.device import solve_on_device
from nemd_toolkit.transport.host import solve_on_host
from nemd_toolkit.transport.results import Pairs, Transport

__all__ = ["pairwise_wasserstein1", "wasserstein1"]

_DEALS = 16  # runs of pairs for each process: what one takes longer is soon made up for


def wasserstein1(x: ArrayLike | Tensor, y: ArrayLike | Tensor) -> Transport:
    """Least mean distance that moves cloud x (n, d) onto cloud y (m, d), any n, m ≥ 1.

    Ground cost is the Euclidean distance, the chord for unit rows; every point of a cloud weighs
    the same. 0 when the clouds coincide; 2 when they sit at opposite poles of the unit sphere.
    Exact in float64; see `pairwise_wasserstein1`.

    Raises InputError for non-finite, empty or mismatched clouds, and NotOptimal when the solver
    stopped early.

    >>> north, south = [[0.0, 0.0, 1.0]], [[0.0, 0.0, -1.0], [0.0, 0.0, -1.0]]
    >>> wasserstein1(north, south).cost
    2.0
    """
    a, b = as_cloud(x, "x"), as_cloud(y, "y")
    if a.shape[1] != b.shape[1]:
        raise InputError(
            f"clouds: expected points of one dimension, got {a.shape[1]} and {b.shape[1]}; "
            "embed both with the same layer"
        )
    lower, upper = _solve([a, b], ["x", "y"], np.array([[0, 1]]), 0.0, None)
    return Transport(cost=float(lower[0]), lower=float(lower[0]), upper=float(upper[0]))


def pairwise_wasserstein1(
    clouds: Sequence[ArrayLike | Tensor],
    pairs: ArrayLike | None = None,
    rtol: float = 0.0,
) -> Pairs:
    """Wasserstein-1 between clouds (each (n_i, d)), for all unordered pairs or those in `pairs`.

    rtol 0: every cost is the optimum, with a float64 certificate over all n·m edges. rtol > 0:
    every interval holds the optimum, upper − lower ≤ rtol·lower: lower from feasible dual
    potentials, upper from a feasible plan; pairs whose interval is too wide are refined until it is
    not, or solved.

    Works on torch's number of threads, and on the GPU where all the clouds lie on one (the same
    numbers to 1e-10, intervals of the same kind). Memory: 12 bytes a coordinate of the clouds that
    `pairs` names (only those are read), and for each thread 8 bytes times the largest n·m, 16 for
    pairs whose optimal edges are hard to guess.

    Raises InputError for an unusable cloud or pair, NotOptimal naming the pair. Source: entropic
    potentials (Cuturi 2013), network simplex with column generation (Peyré & Cuturi 2019, §3.5).

    >>> points = [[[1.0, 0.0]], [[-1.0, 0.0]], [[0.0, 1.0], [0.0, -1.0]]]
    >>> pairwise_wasserstein1(points).cost
    array([2. , 1.41421356, 1.41421356])
    """
    if not rtol >= 0:
        raise InputError(f"rtol: expected a number ≥ 0, got {rtol}; 0 asks for exact costs")
    index = _pair_index(pairs, len(clouds))
    used, places = np.unique(index, return_inverse=True)
    names = [f"cloud {i}" for i in used.tolist()]
    given = [clouds[i] for i in used.tolist()]
    tensors = [as_cloud(cloud, name) for cloud, name in zip(given, names, strict=True)]
    dimensions = sorted({cloud.shape[1] for cloud in tensors})
    if len(dimensions) > 1:
        raise InputError(
            f"clouds: expected points of one dimension, got {dimensions}; "
            "embed all with the same layer"
        )
    lower, upper = _solve(tensors, names, places.reshape(index.shape), rtol, _gpu(given))
    return Pairs(pairs=index, cost=lower + (upper - lower) / 2, lower=lower, upper=upper)


def _solve(
    clouds: Sequence[Tensor],
    names: Sequence[str],
    pairs: Int64[np.ndarray, "p 2"],
    rtol: float,
    device: torch.device | None,
) -> tuple[Float64[np.ndarray, " p"], Float64[np.ndarray, " p"]]:
    if not len(pairs):
        return np.empty(0), np.empty(0)
    packed = pack(clouds, names)
    lower, upper = kept(
        "transport",
        lambda: (fingerprint(packed.points), *map(fingerprint, (packed.starts, pairs)), rtol),
        lambda: _bounds(packed, pairs, rtol, device),
        lambda bounds: bounds,
        lambda arrays: (arrays[0], arrays[1]),
    )
    with np.errstate(over="ignore"):
        lower, upper = np.ldexp(lower, packed.exponent), np.ldexp(upper, packed.exponent)
    if not np.isfinite(upper).all():
        far = packed.name(*pairs[int(np.argmin(np.isfinite(upper)))].tolist())
        raise InputError(f"{far}: expected finite distances, got points too far apart; rescale")
    return lower, upper


def _bounds(
    packed: Packed, pairs: Int64[np.ndarray, "p 2"], rtol: float, device: torch.device | None
) -> tuple[Float64[np.ndarray, " p"], Float64[np.ndarray, " p"]]:
    """Solve pairs, each process some: every pair is on its own, so that none depends on others."""
    own = _own(packed, pairs)
    with bar("transport", len(own)) as advance:
        if device is None:
            solve = partial(solve_on_host, packed, pairs[own], rtol, advance)
        else:
            solve = partial(solve_on_device, device, packed, pairs[own], rtol, advance)
        found = ranks.together("transport", solve)
    if ranks.workers() == 1:
        return found
    order = ranks.gathered(torch.from_numpy(own)).numpy()
    bounds = np.empty((2, len(pairs)))
    for place, values in enumerate(found):
        bounds[place, order] = ranks.gathered(torch.from_numpy(values)).numpy()
    return bounds[0], bounds[1]


def _own(packed: Packed, pairs: Int64[np.ndarray, "p 2"]) -> Int64[np.ndarray, " o"]:
    """Places of the pairs that are this process's: runs of about equal work, dealt out in turn."""
    if ranks.workers() == 1:
        return np.arange(len(pairs))
    work = np.cumsum(packed.sizes[pairs].prod(axis=1))
    runs = (work - 1) * _DEALS * ranks.workers() // int(work[-1])
    own: Int64[np.ndarray, " o"] = np.flatnonzero(runs % ranks.workers() == ranks.rank())
    return own


def _gpu(clouds: Sequence[ArrayLike | Tensor]) -> torch.device | None:
    """Give the GPU that holds all the clouds, if one does."""
    devices = {cloud.device if isinstance(cloud, Tensor) else None for cloud in clouds}
    only = devices.pop() if len(devices) == 1 else None
    return only if only is not None and only.type == "cuda" else None


def _pair_index(pairs: ArrayLike | None, count: int) -> Int64[np.ndarray, "p 2"]:
    if pairs is None:
        return np.stack(np.triu_indices(count, 1), axis=1).astype(np.int64)
    index = np.asarray(pairs)
    if index.size == 0:
        return np.empty((0, 2), np.int64)
    inside = index.ndim == 2 and index.shape[1] == 2 and index.dtype.kind in "iu"
    if not inside or not (index.min() >= 0 and index.max() < count):
        raise InputError(
            f"pairs: expected a (p, 2) array of integers in 0…{count - 1}, got shape {index.shape} "
            f"of {index.dtype}; number the clouds from 0"
        )
    return index.astype(np.int64)
