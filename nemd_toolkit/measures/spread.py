"""How far the members of each prototype spread, and how close prototypes come to one another."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from nemd_toolkit.formulas import concentration
from nemd_toolkit.prototypes import Prototypes

__all__ = ["EPSILONS", "Spread", "duplicate_curve", "measure_spread"]

EPSILONS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1)  # cosine distances at which duplicates count


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Per used prototype: its size, resultant, PCL concentration and nearest other prototype."""

    which: Int[np.ndarray, " u"]  # index of the used prototype
    sizes: Int[np.ndarray, " u"]
    resultants: Float[np.ndarray, " u"]  # length of the members' mean, 1 = a single point
    concentrations: Float[np.ndarray, " u"]  # PCL's, before rescaling; 0 = members coincide
    nearest: Int[np.ndarray, " u"]  # index of the prototype of highest cosine (itself if alone)
    nearest_distance: Float[np.ndarray, " u"]  # 1 − cosine to it, in [0, 2]
    duplicates: tuple[tuple[float, float], ...]  # (ε, share of prototypes that repeat another)

    @property
    def mean_resultant(self) -> float:
        """Mean over prototypes, in [0, 1]; 1 − this is the mean spherical variance."""
        return float(self.resultants.mean())


def measure_spread(prototypes: Prototypes) -> Spread:
    """Measure each used prototype by its members and by its neighbours.

    >>> from nemd_toolkit.embeddings import Embeddings
    >>> from nemd_toolkit.prototypes import prototypes_from_labels
    >>> e = Embeddings([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], labels=[0, 0, 1])
    >>> spread = measure_spread(prototypes_from_labels(e))
    >>> spread.resultants.tolist(), spread.nearest_distance.tolist()
    ([1.0, 1.0], [1.0, 1.0])
    """
    points = prototypes.embeddings.vectors.double()
    which = prototypes.used
    rows = prototypes.used_assignment()
    sizes = prototypes.sizes[which]
    sums = torch.zeros(len(which), points.shape[1], dtype=torch.float64)
    means = sums.index_add_(0, rows, points) / sizes[:, None]
    squared = (points - means[rows]).square().sum(1)
    directions = prototypes.mean_directions()
    cosines = directions @ directions.T
    cosines.fill_diagonal_(-torch.inf if len(which) > 1 else 1.0)
    closest, nearest = cosines.max(1)
    return Spread(
        which=which.numpy(),
        sizes=sizes.numpy(),
        resultants=means.norm(dim=1).clamp_max(1.0).numpy(),
        concentrations=concentration(squared, rows, len(which)).numpy(),
        nearest=which[nearest].numpy(),
        nearest_distance=(1 - closest).clamp(0.0, 2.0).numpy(),
        duplicates=duplicate_curve(cosines.fill_diagonal_(1.0)),
    )


def duplicate_curve(cosines: Float[torch.Tensor, "u u"]) -> tuple[tuple[float, float], ...]:
    """Share of prototypes that repeat an earlier one, for each ε.

    Greedy, in order: a prototype is kept if its cosine distance to all kept ones exceeds ε
    (after Govindarajan et al. 2024, from memory; one ε says little, so a curve). In [0, 1).

    >>> duplicate_curve(torch.ones(4, 4))[0]
    (0.001, 0.75)
    """
    return tuple((epsilon, 1 - _unique(cosines, epsilon) / len(cosines)) for epsilon in EPSILONS)


def _unique(cosines: torch.Tensor, epsilon: float) -> int:
    kept = torch.zeros(len(cosines), dtype=torch.bool)
    for p in range(len(cosines)):
        kept[p] = not bool((kept & (1 - cosines[p] <= epsilon)).any())
    return int(kept.sum())
