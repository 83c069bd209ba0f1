"""PCL's E-step: k-means at several K on the momentum encoder's embeddings, and φ."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from nemd_toolkit.clustering import kmeans
from nemd_toolkit.formulas import concentration, rescale_concentration
from pauc_train import ranks
from pauc_train.config import MANY, Config, setting

__all__ = ["Clustering", "PrototypeConfig", "cluster"]


@dataclass(frozen=True, kw_only=True)
class PrototypeConfig(Config):
    """Settings of the E-step, with PCL's defaults for ImageNet-1K."""

    clusters: tuple[int, ...] = setting((25000, 50000, 100000), least=2, most=MANY)  # PCL
    warmup_epochs: int = setting(20, least=0, most=MANY)  # PCL: epochs before the first clustering
    kmeans_iterations: int = setting(20, least=1, most=MANY)  # PCL, faiss niter
    kmeans_restarts: int = setting(5, least=1, most=MANY)  # PCL, faiss nredo


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
            "objective": self.objective,
            "used": self.used,
        }

    @classmethod
    def from_plain(cls, entry: Mapping[str, Any], device: torch.device) -> "Clustering":
        """Read what `plain` gave; raises all kinds of errors for anything else."""
        return cls(
            centroids=entry["centroids"].to(device),
            assignment=entry["assignment"].to(device),
            phi=entry["phi"].to(device),
            objective=float(entry["objective"]),
            used=int(entry["used"]),
        )


def cluster(
    embeddings: Float[Tensor, "n d"], config: PrototypeConfig, *, mean_phi: float
) -> tuple[Clustering, ...]:
    """Cluster unit embeddings at every K of the configuration, as PCL does.

    mean_phi: the mean of φ, PCL's temperature. Euclidean k-means; assignment and φ by distance to
    the un-normalised centroids, which are put on the sphere only afterwards. The seed of a
    clustering is its index, every epoch the same.
    Raises InputError for a K above n and when all members coincide with their centroids.
    """
    return tuple(
        _one(embeddings, k, seed, config, mean_phi) for seed, k in enumerate(config.clusters)
    )


def _one(
    embeddings: Tensor, k: int, seed: int, config: PrototypeConfig, mean_phi: float
) -> Clustering:
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
        centroids=ranks.agreed(F.normalize(found.centroids, dim=1)),
        assignment=ranks.agreed(found.assignment),
        phi=ranks.agreed(rescale_concentration(density, temperature=mean_phi)),
        objective=found.objective,
        used=found.used,
    )
