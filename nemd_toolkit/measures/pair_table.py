"""What is measured of each pair of prototypes: transport, its excess, energy, and directions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from nemd_toolkit.measures.clouds import Clouds
from nemd_toolkit.transport import pairs_by_rank, pairwise_wasserstein1

__all__ = ["PairTable", "clumping_of", "measure_pairs"]

CLUMPING_POINTS = 16  # of a cloud: among more points the nearest is nearer
_ROUNDING = 1e-6  # of distances between unit float32 rows: points closer than this coincide


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTable:
    """One entry for each measured pair, and what the measurement rests on."""

    pairs: Int[np.ndarray, "p 2"]  # indices of prototypes
    raw: Float[np.ndarray, " p"]
    excess: Float[np.ndarray, " p"]
    energy: Float[np.ndarray, " p"]  # half of Székely & Rizzo's distance, on the scale of excess
    chord: Float[np.ndarray, " p"]  # between mean directions: the excess of collapsed clouds
    clumping: Float[np.ndarray, " c"]  # of each cloud in the pairs, see `clumping_of`
    prototypes: int  # compared
    skipped: int  # with members, but fewer than 2n
    total: int  # pairs that exist; more than were measured means a sample
    exact: bool
    certified_width: float

    @property
    def nearest(self) -> int:
        """Place of the measured pair of least excess: the clouds most alike."""
        return int(self.excess.argmin())


def measure_pairs(clouds: Clouds, most: int, seed: int) -> PairTable:
    """Measure all pairs of clouds, or a sample of `most` of them."""
    u = len(clouds.which)
    pairs = _pairs(u, most, seed)
    between = pairwise_wasserstein1(list(clouds.first), pairs)
    named, places = np.unique(pairs, return_inverse=True)  # of many clouds a sample names few
    p, q = places.reshape(pairs.shape).T
    halves = np.stack([named, named + u], axis=1)
    within = pairwise_wasserstein1([*clouds.first, *clouds.second], halves).cost
    both = torch.cat([clouds.first[named], clouds.second[named]], dim=1).numpy()
    centre = both.mean(axis=(0, 1), dtype=np.float64)  # a shared offset would cost digits
    own = [_distances(cloud, cloud, centre) for cloud in both]
    some = np.flatnonzero(np.arange(2 * clouds.n) % clouds.n < CLUMPING_POINTS // 2)
    return PairTable(
        pairs=clouds.which[pairs],
        raw=between.cost,
        excess=between.cost - 0.5 * (within[p] + within[q]),
        energy=_energies(both, np.stack([p, q], axis=1), own, centre),
        chord=(clouds.directions[pairs[:, 0]] - clouds.directions[pairs[:, 1]]).norm(dim=1).numpy(),
        clumping=np.array([clumping_of(each[np.ix_(some, some)]) for each in own]),
        prototypes=u,
        skipped=clouds.skipped,
        total=u * (u - 1) // 2,
        exact=between.exact,
        certified_width=between.certified_width,
    )


def _pairs(u: int, most: int, seed: int) -> Int[np.ndarray, "p 2"]:
    """All unordered pairs of u prototypes in rows' order, or a sample, never listing them all."""
    total = u * (u - 1) // 2
    if total <= most:
        return pairs_by_rank(np.arange(total), u)
    places = np.random.default_rng(seed).choice(total, most, replace=False)
    return pairs_by_rank(np.sort(places), u)


def clumping_of(distances: Float[np.ndarray, "s s"]) -> float:
    """Median distance of points to the nearest, over the mean distance of all.

    In [0, 1]: near 1 for one law in many dimensions, near 0 for tight clumps that lie apart; 1 as
    well where all points coincide. Ours. It is taken over at most 16 points of each cloud, so that
    it does not depend on how large the prototype is.

    >>> clumping_of(np.array([[0.0, 0.1, 2.0], [0.1, 0.0, 2.0], [2.0, 2.0, 0.0]]))
    0.0732
    """
    apart = distances[~np.eye(len(distances), dtype=bool)].reshape(len(distances), -1)
    mean = float(apart.mean())
    return float(np.median(apart.min(axis=1))) / mean if mean > _ROUNDING else 1.0


def _energies(
    clouds: Float[np.ndarray, "u s d"],
    pairs: Int[np.ndarray, "p 2"],
    own: Sequence[Float[np.ndarray, "s s"]],
    centre: Float[np.ndarray, " d"],
) -> Float[np.ndarray, " p"]:
    """E‖x−y‖ − ½(E‖x−x′‖ + E‖y−y′‖) over distinct points of both halves.

    Half of Székely & Rizzo's 2004 energy distance, unbiased: 0 in the mean for equal laws, at most
    2 for unit rows, the chord of the two for points. It does not depend on n but by chance.
    """
    s, d = clouds.shape[1:]
    within = np.array([each.sum() - np.trace(each) for each in own]) / (s * (s - 1))
    between = np.empty(len(pairs))
    first, starts = np.unique(pairs[:, 0], return_index=True)  # pairs stand in rows' order
    for p, mine in zip(first, np.split(np.arange(len(pairs)), starts[1:]), strict=True):
        for part in np.array_split(mine, 1 + len(mine) // 64):  # 64 clouds at a time: memory
            others = clouds[pairs[part, 1]].reshape(-1, d)
            sums = _distances(clouds[p], others, centre).sum(axis=0)
            between[part] = sums.reshape(len(part), s).sum(axis=1) / s**2
    energies: Float[np.ndarray, " p"] = between - 0.5 * within[pairs].sum(axis=1)
    return energies


def _distances(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"], centre: Float[np.ndarray, " d"]
) -> Float[np.ndarray, "n m"]:
    """Distances in float64 from one product; equal rows come out at 1e-8 of the spread, not 0."""
    x, y = x - centre, y - centre
    squared = x @ y.T
    squared *= -2
    squared += np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1)
    distances: Float[np.ndarray, "n m"] = np.sqrt(np.maximum(squared, 0))
    return distances
