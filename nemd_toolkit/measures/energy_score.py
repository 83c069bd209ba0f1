"""NEMD's score with energy distances in place of transport: what a training loop can afford.

Half of Székely & Rizzo's 2004 energy distance between held-out clouds of k-means, placed between
the same two anchors: 0 for uniform points treated alike, 1 for clouds shrunk to their mean
directions. No transport is solved. It follows the score where prototypes are not fewer than groups,
a little below it, and is far too low where they are: reports/monitor/README.md has the figures. A
high one is thus always a high NEMD score; a low one may be a lack of prototypes.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nemd_toolkit.clustering import kmeans
from nemd_toolkit.measures.nemd import LEAST_ANCHOR_RATIO
from nemd_toolkit.measures.null import uniform_points
from nemd_toolkit.placing import nearest_directions

__all__ = ["EnergyScore", "energy_score"]

_LEAST_MEMBERS = 4  # of a held-out cloud; of fewer the distance within is mostly chance
_LEAST_CLOUDS = 4  # as NEMD009 asks of prototypes
_ITERATIONS = 10  # of k-means: 25 move the score by .002 at most


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyScore:
    """The score, the lower end of its 95 % interval, and what it rests on."""

    value: float  # 0 uniform … 1 collapsed; may be a little below 0
    low: float  # jackknife over clouds: speaks of other clouds of this window only
    k: int  # prototypes asked for
    clouds: int  # that held enough rows and were compared, the fewer of both halves
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pairs:
    """All ordered pairs of the clouds of one half, as (u, u) with zeros in the diagonal."""

    energy: Float[Tensor, "u u"]
    chord: Float[Tensor, "u u"]  # of mean directions: the energy of clouds that are points

    def means(self) -> tuple[float, float]:
        u = len(self.energy)
        return (
            float(self.energy.sum()) / (u * (u - 1)),
            float(self.chord.sum()) / (u * (u - 1)),
        )


def energy_score(points: Float[Tensor, "n d"], k: int, *, seed: int = 0) -> EnergyScore | None:
    """Score unit rows on their device, by k-means with k prototypes of either half.

    None where fewer than four clouds of four rows are left to compare in a half, or where the
    prototypes' directions are as close as those of noise, so that there is no scale. Raises
    InputError where a half has fewer than k rows.

    >>> places = torch.eye(8).repeat_interleave(40, 0)
    >>> found = energy_score(places, 8)
    >>> found.value, found.low, found.clouds
    (1.0, 1.0, 8)
    >>> energy_score(torch.ones(320, 8) / 8**0.5, 8) is None
    True
    """
    halves = _both_halves(points, k, seed)
    if halves is None:
        return None
    low = _uniform_energy(*points.shape, k, seed)
    means = [half.means() for half in halves]
    energy, high = (sum(column) / len(means) for column in zip(*means, strict=True))
    if low is None or high < LEAST_ANCHOR_RATIO * low or high <= 0:
        return None
    value = (energy - low) / (high - low)
    error = sum(_squared_error(half, value) for half in halves) / len(halves)
    return EnergyScore(
        value=value,
        low=value - 1.96 * error**0.5 / (high - low),  # halves share their groups: not halved
        k=k,
        clouds=min(len(half.energy) for half in halves),
        rows=len(points),
    )


def _both_halves(points: Float[Tensor, "n d"], k: int, seed: int) -> tuple[_Pairs, _Pairs] | None:
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
    first, second = (points[part.to(points.device)] for part in order.tensor_split(2))
    pairs = _held_out(first, second, k, seed), _held_out(second, first, k, seed)
    return None if pairs[0] is None or pairs[1] is None else (pairs[0], pairs[1])


def _held_out(own: Tensor, other: Tensor, k: int, seed: int) -> _Pairs | None:
    """Compare the clouds of `other` under k-means of `own`."""
    centroids = kmeans(own, k, seed=seed, iterations=_ITERATIONS).centroids
    assignment = nearest_directions(other, centroids)
    sizes = torch.bincount(assignment, minlength=k)
    kept = sizes >= _LEAST_MEMBERS
    if int(kept.sum()) < _LEAST_CLOUDS:
        return None
    return _compare(other, assignment, kept.nonzero().squeeze(1))


def _compare(
    points: Float[Tensor, "n d"], assignment: Int[Tensor, " n"], kept: Int[Tensor, " u"]
) -> _Pairs:
    member = (assignment[None, :] == kept[:, None]).to(points.dtype)  # (u, n)
    sizes = member.sum(1)
    sums = member @ _distances(points) @ member.T  # of distances between clouds
    within = sums.diagonal() / (sizes * (sizes - 1))
    energy = sums / torch.outer(sizes, sizes) - (within[:, None] + within[None, :]) / 2
    directions = torch.nn.functional.normalize(member @ points, dim=1)
    apart = ~torch.eye(len(kept), dtype=torch.bool, device=points.device)
    return _Pairs(energy=energy.where(apart, 0.0), chord=_distances(directions).where(apart, 0.0))


def _distances(x: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """Distances from one product, of centred rows: a shared offset would cost digits."""
    x = x - x.mean(0)
    squares = x.square().sum(1)
    squared = torch.addmm(squares[:, None] + squares[None, :], x, x.T, alpha=-2)
    return squared.clamp_min_(0.0).sqrt_()


def _squared_error(pairs: _Pairs, value: float) -> float:
    """Jackknife variance over clouds of the mean of energy − v·collapsed − (1 − v)·uniform."""
    u = len(pairs.energy)
    sums = (pairs.energy - value * pairs.chord).sum(1)  # of each cloud's pairs; constants fall out
    without = (sums.sum() - 2 * sums) / ((u - 1) * (u - 2))
    return float((without - without.mean()).square().sum()) * (u - 1) / u


@lru_cache(maxsize=64)
def _uniform_energy(n: int, d: int, k: int, seed: int) -> float | None:
    """Mean energy of the same pipeline on uniform points, once for each n, d and k."""
    halves = _both_halves(uniform_points(n, d, seed=seed + 1), k, seed)
    if halves is None:
        return None
    return sum(half.means()[0] for half in halves) / 2
