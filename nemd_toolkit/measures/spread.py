"""How far the members of each prototype spread, and how close prototypes come to one another.

Rows and pairs of prototypes are taken in blocks: K = 25,000 at d = 128 needs well below 1 GB.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nemd_toolkit import ranks
from nemd_toolkit.errors import InputError
from nemd_toolkit.formulas import concentration, rescale_concentration
from nemd_toolkit.measures.duplicates import NEAR, DuplicateCurve
from nemd_toolkit.measures.vector_pairs import uniform_repeats
from nemd_toolkit.prototypes import Prototypes
from nemd_toolkit.scratch import block_rows, release

__all__ = ["Spread", "duplicate_curve", "measure_spread"]

_BLOCK = 4_194_304  # cosines at a time: 32 MB;
_ROWS, _COLUMNS = 128, 1_024  # of a thread, where none but the highest are kept: 1 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Per used prototype: its size, resultant, PCL concentration and nearest other prototype."""

    which: Int[np.ndarray, " u"]  # index of the used prototype
    sizes: Int[np.ndarray, " u"]
    resultants: Float[np.ndarray, " u"]  # length of the members' mean, 1 = a single point
    concentrations: Float[np.ndarray, " u"]  # PCL's, before rescaling; 0 = members coincide
    phi: Float[np.ndarray, " u"] | None  # PCL's φ, rescaled to mean 0.2: cannot see total collapse
    phi_missing: str | None  # why there is no φ: PCL's own would be NaN or infinite
    nearest: Int[np.ndarray, " u"]  # index of the prototype of highest cosine (itself if alone)
    nearest_distance: Float[np.ndarray, " u"]  # 1 − cosine to it, in [0, 2]
    # (ε, share of prototypes that repeat another): a model's own vectors, all of them, since a copy
    # gets no members; else the members' mean directions of used prototypes
    duplicates: tuple[tuple[float, float], ...]
    # the same of as many uniform directions; None where prototypes are not the model's own
    uniform_duplicates: tuple[tuple[float, float], ...] | None

    @property
    def mean_resultant(self) -> float:
        """Mean over prototypes, in [0, 1]; 1 − this is the mean spherical variance."""
        return float(self.resultants.mean())

    @property
    def nearest_pair(self) -> tuple[int, int, float] | None:
        """The two prototypes of highest cosine and their distance; None if there is one alone."""
        if len(self.which) < 2:
            return None
        place = int(self.nearest_distance.argmin())
        p, q = sorted((int(self.which[place]), int(self.nearest[place])))
        return p, q, float(self.nearest_distance[place])


def measure_spread(prototypes: Prototypes, *, seed: int = 0) -> Spread:
    """Measure each used prototype by its members and by its neighbours; `seed` is that of the null.

    Resultant R = ‖mean of members‖ in [0, 1], 1 = a point (Mardia & Jupp 2000, directional
    statistics); Z members of the uniform law have about 1/√Z. Concentration and φ are PCL's, see
    `formulas.concentration`: at least 0 = a point, at most 1/ln 12 before rescaling. Distances
    between mean directions are 1 − cosine.

    >>> from nemd_toolkit.embeddings import Embeddings
    >>> from nemd_toolkit.prototypes import prototypes_from_labels
    >>> e = Embeddings([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], labels=[0, 0, 1])
    >>> spread = measure_spread(prototypes_from_labels(e))
    >>> spread.resultants.tolist(), spread.nearest_distance.tolist(), spread.nearest_pair
    ([1.0, 1.0], [1.0, 1.0], (0, 1, 1.0))
    """
    which = prototypes.used
    lengths, density = _members(prototypes)
    phi, phi_missing = None, None
    try:
        phi = rescale_concentration(density).numpy()
    except InputError as reason:
        phi_missing = str(reason)
    directions = prototypes.mean_directions()
    nearest, duplicates = _neighbours(directions)
    # 1 − cosine of unit rows, from differences: near-duplicates would have no digits left
    distances = (directions - directions[nearest]).square().sum(1) / 2
    null = None
    if prototypes.source == "own":
        duplicates = duplicate_curve(prototypes.vectors.double())
        null = uniform_repeats(prototypes.k, prototypes.vectors.shape[1], seed=seed)
    return Spread(
        which=which.numpy(),
        sizes=prototypes.sizes[which].numpy(),
        resultants=lengths.clamp_max(1.0).numpy(),
        concentrations=density.numpy(),
        phi=phi,
        phi_missing=phi_missing,
        nearest=which[nearest].numpy(),
        nearest_distance=distances.clamp_max(2.0).numpy(),
        duplicates=duplicates,
        uniform_duplicates=null,
    )


def duplicate_curve(directions: Float[Tensor, "u d"]) -> tuple[tuple[float, float], ...]:
    """Share of prototypes that repeat an earlier one, for each ε; directions are unit rows.

    Greedy, in order, see `DuplicateCurve`. In [0, 1).

    >>> duplicate_curve(torch.tensor([[1.0, 0.0]]).repeat(4, 1))[0]
    (0.001, 0.75)
    """
    return _neighbours(directions.double())[1]


def _members(prototypes: Prototypes) -> tuple[Float[Tensor, " u"], Float[Tensor, " u"]]:
    """Length of each used prototype's mean, and PCL's concentration of its members."""
    points, rows = prototypes.embeddings.vectors, prototypes.used_assignment()
    means = prototypes.mean_rows

    def squared(places: slice) -> Tensor:
        block = points[places]
        found = (block.double() - means[rows[places]]).square().sum(1)
        release(block)
        return found

    step = block_rows(points.shape[1])
    distances = ranks.by_blocks(len(points), step, squared, torch.float64)
    return means.norm(dim=1), concentration(distances, rows, len(means))


def _neighbours(
    directions: Float[Tensor, "u d"],
) -> tuple[Int[Tensor, " u"], tuple[tuple[float, float], ...]]:
    """Place of the nearest other direction (itself if alone), and the curve of duplicates."""
    count = len(directions)

    def nearest_of(some: slice) -> Tensor:
        rows = directions[some]
        best = rows.new_full((len(rows),), -torch.inf)
        place = torch.arange(count)[some]
        for first in range(0, count, _COLUMNS):
            cosines = rows @ directions[first : first + _COLUMNS].T
            if first < some.stop and some.start < first + _COLUMNS:
                cosines.diagonal(some.start - first).fill_(-torch.inf)  # of itself
            high, where = cosines.max(1)
            place = torch.where(high > best, first + where, place)
            best = torch.maximum(best, high)
        return torch.stack([place.double(), best], dim=1)

    found = ranks.by_blocks(count, _ROWS, nearest_of, torch.float64, (2,))
    return found[:, 0].long(), _duplicates(directions, found[:, 1])


def _duplicates(
    directions: Float[Tensor, "u d"], highest: Float[Tensor, " u"]
) -> tuple[tuple[float, float], ...]:
    """Curve of directions whose highest cosine is known: those of few have to be looked at."""
    count = len(directions)
    curve = DuplicateCurve(count)
    step = min(count, max(1, _BLOCK // count))
    for start in range(0, count, step):
        stop = min(start + step, count)
        rows = (highest[start:stop] >= NEAR).nonzero().squeeze(1)
        cosines = directions[start + rows] @ directions[:stop].T
        curve.decide(stop - start, rows.numpy(), cosines.numpy())
    return curve.shares()
