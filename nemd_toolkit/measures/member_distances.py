"""How far the members of single prototypes lie from its mean direction: for pictures."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from nemd_toolkit.prototypes import Prototypes
from nemd_toolkit.scratch import block_rows, rows_at
from nemd_toolkit.sphere import mean_directions

__all__ = ["MemberDistances", "measure_member_distances"]

MOST = 12  # prototypes
LEAST_MEMBERS = 8
BINS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberDistances:
    """Histograms of chords from members to their prototype's mean direction, tightest first."""

    which: Int[np.ndarray, " m"]  # prototypes, evenly spaced between the tightest and the loosest
    resultants: Float[np.ndarray, " m"]
    edges: Float[np.ndarray, " e"]  # of the bins, chords in [0, 2]
    counts: Int[np.ndarray, "m b"]
    of: int  # prototypes with members enough to choose from


def measure_member_distances(
    prototypes: Prototypes, resultants: Float[np.ndarray, " u"]
) -> MemberDistances:
    """Measure at most 12 prototypes that hold at least 8 members each, all of them if fewer.

    resultants: of the used prototypes, as in `Spread`. A chord of 0 is the mean direction itself,
    √2 a right angle from it.

    >>> from nemd_toolkit.embeddings import Embeddings
    >>> from nemd_toolkit.prototypes import fit_prototypes
    >>> one = fit_prototypes(Embeddings(torch.eye(2).repeat(8, 1)), 2)
    >>> found = measure_member_distances(one, np.ones(2))
    >>> found.counts[:, 0].tolist(), int(found.counts.sum())
    ([8, 8], 16)
    """
    used, sizes = prototypes.used.numpy(), prototypes.sizes.numpy()
    places = np.flatnonzero(sizes[used] >= LEAST_MEMBERS)
    tightest = places[np.argsort(-resultants[places], kind="stable")]
    spaced = np.linspace(0, len(tightest) - 1, min(MOST, len(tightest))).round().astype(np.int64)
    chosen = tightest[spaced] if len(tightest) else tightest
    chords = list(_chords(prototypes, used[chosen]))
    most = max([0.1, *(float(each.max()) for each in chords)])
    edges = np.linspace(0, min(2.0, most), BINS + 1)
    counts = [np.histogram(each.clip(max=edges[-1]), edges)[0] for each in chords]
    return MemberDistances(
        which=used[chosen],
        resultants=resultants[chosen],
        edges=edges,
        counts=np.array(counts, dtype=np.int64).reshape(len(chosen), BINS),
        of=len(places),
    )


def _chords(
    prototypes: Prototypes, chosen: Int[np.ndarray, " m"]
) -> Iterator[Float[np.ndarray, " z"]]:
    """Chords of each from differences: near a point, cosines would have no digits left."""
    points = prototypes.embeddings.vectors
    place = torch.full((prototypes.k,), -1)
    place[torch.as_tensor(chosen)] = torch.arange(len(chosen))
    numbers = place[prototypes.assignment]
    for number, direction in enumerate(mean_directions(points, numbers, len(chosen))):
        members = (numbers == number).nonzero().squeeze(1)
        parts = [
            (rows_at(points, some).double() - direction).norm(dim=1)
            for some in members.split(block_rows(points.shape[1]))
        ]
        yield torch.cat(parts).numpy()
