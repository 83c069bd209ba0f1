"""PCL's E-step: k-means at several K on the momentum encoder's embeddings, and φ."""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from nemd_toolkit.clustering import kmeans
from nemd_toolkit.formulas import concentration, rescale_concentration
from pauc_train.config import Config

__all__ = ["Clustering", "cluster"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clustering:
    """One clustering of the training set: constants of an epoch, without gradient."""

    centroids: Float[Tensor, "k d"]  # unit rows
    assignment: Int[Tensor, " n"]
    phi: Float[Tensor, " k"]  # mean: the temperature
    objective: float  # k-means: mean squared distance to the un-normalised centroid
    used: int  # prototypes with members

    @property
    def k(self) -> int:
        """Number of prototypes."""
        return len(self.centroids)

    def plain(self) -> dict[str, Any]:
        """As a checkpoint stores it, on the CPU."""
        return {
            "k": self.k,
            "centroids": self.centroids.cpu(),
            "assignment": self.assignment.cpu(),
            "phi": self.phi.cpu(),
        }


def cluster(embeddings: Float[Tensor, "n d"], config: Config) -> tuple[Clustering, ...]:
    """Cluster unit embeddings at every K of the configuration, as PCL does.

    Euclidean k-means; assignment and φ by distance to the un-normalised centroids, which are
    put on the sphere only afterwards. The seed of a clustering is its index, every epoch the same.
    Raises InputError for a K above n and when all members coincide with their centroids.
    """
    return tuple(_one(embeddings, k, seed, config) for seed, k in enumerate(config.clusters))


def _one(embeddings: Tensor, k: int, seed: int, config: Config) -> Clustering:
    found = kmeans(
        embeddings,
        k,
        seed=seed,
        spherical=False,
        iterations=config.kmeans_iterations,
        restarts=config.kmeans_restarts,
    )
    density = concentration(found.squared_distances, found.assignment, k)
    return Clustering(
        centroids=F.normalize(found.centroids, dim=1),
        assignment=found.assignment,
        phi=rescale_concentration(density, temperature=config.temperature),
        objective=found.objective,
        used=found.used,
    )
