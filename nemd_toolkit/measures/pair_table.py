"""What is measured of each pair of prototypes: transport, its excess, energy, and directions."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nemd_toolkit import ranks
from nemd_toolkit.measures.clouds import Clouds
from nemd_toolkit.progress import bar, show_progress
from nemd_toolkit.scratch import release, rows_at
from nemd_toolkit.transport import Pairs, pairs_by_rank, pairwise_wasserstein1

__all__ = ["PairTable", "clumping_of", "measure_pairs"]

CLUMPING_POINTS = 16  # of a cloud: among more points the nearest is nearer
_PAIRS, _CLOUDS = 128, 8  # pairs that are shared out together, clouds at a time: 1 MB of distances
_WITHIN = 32  # clouds that are shared out together where each is compared with itself alone
_ENTRIES = 16_777_216  # coordinates of clouds at a time: transport takes 12 bytes for each
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
    named, places = np.unique(pairs, return_inverse=True)  # of many clouds a sample names few
    ends = places.reshape(pairs.shape)
    both = clouds.both_halves(torch.from_numpy(named))
    centre = clouds.directions[named].mean(0).numpy()  # a shared offset would cost digits
    between = _between_halves(both[:, : clouds.n], ends)
    within = _within_halves(both, clouds.n)
    own, clumping = _own_distances(both, clouds.n, centre)
    p, q = ends.T
    return PairTable(
        pairs=clouds.which[pairs],
        raw=between.cost,
        excess=between.cost - 0.5 * (within[p] + within[q]),
        energy=_energies(both, ends, own, centre),
        chord=(clouds.directions[pairs[:, 0]] - clouds.directions[pairs[:, 1]]).norm(dim=1).numpy(),
        clumping=clumping,
        prototypes=u,
        skipped=clouds.skipped,
        total=u * (u - 1) // 2,
        exact=between.exact,
        certified_width=between.certified_width,
    )


def _between_halves(halves: Float[Tensor, "u n d"], pairs: Int[np.ndarray, "p 2"]) -> Pairs:
    """Transport between clouds; of many clouds, those of a run of pairs at a time."""
    most = max(2, _ENTRIES // halves[0].numel())
    run = len(pairs) if len(halves) <= most else most // 2
    found = []
    for start in range(0, len(pairs), run):
        used, places = np.unique(pairs[start : start + run], return_inverse=True)
        found.append(pairwise_wasserstein1([halves[c] for c in used], places.reshape(-1, 2)))
        release(halves)
    columns = {
        name: np.concatenate([getattr(part, name) for part in found])
        for name in ("cost", "lower", "upper")
    }
    return Pairs(pairs=pairs, **columns)


def _within_halves(both: Float[Tensor, "u s d"], n: int) -> Float[np.ndarray, " u"]:
    """Transport between the two halves of each cloud."""
    step = min(_WITHIN, max(1, _ENTRIES // both[0].numel()))

    with bar("halves of clouds", len(both) // ranks.workers()) as advance, show_progress(False):

        def within(places: slice) -> Tensor:
            some = both[places]
            ends = np.arange(2 * len(some)).reshape(2, -1).T
            found = pairwise_wasserstein1([*some[:, :n], *some[:, n:]], ends).cost
            release(some)
            advance(len(some))
            return torch.from_numpy(found)

        return ranks.by_blocks(len(both), step, within, torch.float64, alone=True).numpy()


def _own_distances(
    both: Float[Tensor, "u s d"], n: int, centre: Float[np.ndarray, " d"]
) -> tuple[Float[np.ndarray, " u"], Float[np.ndarray, " u"]]:
    """Mean distance between distinct points of each cloud, and its clumping."""
    some = np.flatnonzero(np.arange(2 * n) % n < CLUMPING_POINTS // 2)
    middle = torch.from_numpy(centre)

    def both_of(places: slice) -> Tensor:
        found = []
        for cloud in both[places]:
            own = _distances(cloud - middle, cloud - middle).numpy()
            mean = (own.sum() - np.trace(own)) / (2 * n * (2 * n - 1))
            found.append((mean, clumping_of(own[np.ix_(some, some)])))
        release(both[places])
        return torch.tensor(found, dtype=torch.float64)

    means, clumping = ranks.by_blocks(len(both), _WITHIN, both_of, torch.float64, (2,)).numpy().T
    return means, clumping


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
    both: Float[Tensor, "u s d"],
    pairs: Int[np.ndarray, "p 2"],
    within: Float[np.ndarray, " u"],
    centre: Float[np.ndarray, " d"],
) -> Float[np.ndarray, " p"]:
    """E‖x−y‖ − ½(E‖x−x′‖ + E‖y−y′‖) over distinct points of both halves.

    Half of Székely & Rizzo's 2004 energy distance, unbiased: 0 in the mean for equal laws, at most
    2 for unit rows, the chord of the two for points. It does not depend on n but by chance.
    """
    middle, ends = torch.from_numpy(centre), torch.from_numpy(pairs)

    def between(some: slice) -> Tensor:
        own = pairs[some]
        found = torch.empty(len(own), dtype=torch.float64)
        for p in np.unique(own[:, 0]):
            cloud = both[int(p)] - middle
            for few in torch.from_numpy(np.flatnonzero(own[:, 0] == p)).split(_CLOUDS):
                others = rows_at(both.flatten(1), ends[some][few, 1])
                apart = _distances(cloud, others.view(-1, both.shape[2]) - middle)
                found[few] = apart.view(len(cloud), len(few), -1).mean((0, 2))
        return found

    means = ranks.by_blocks(len(pairs), _PAIRS, between, torch.float64).numpy()
    energies: Float[np.ndarray, " p"] = means - 0.5 * within[pairs].sum(axis=1)
    return energies


def _distances(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """Distances of centred rows in float64 from one product.

    Equal rows come out at 1e-8 of the spread, not 0.
    """
    squared = torch.addmm(y.square().sum(1), x, y.T, alpha=-2.0)
    squared += x.square().sum(1)[:, None]
    return squared.clamp_min_(0.0).sqrt_()
