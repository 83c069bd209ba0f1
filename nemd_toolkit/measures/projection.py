"""A flat map of the sphere by principal components: to look at, never to judge by."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.measures.covariance import covariance_around
from nemd_toolkit.scratch import rows_at
from nemd_toolkit.sphere import mean_row

__all__ = ["Projection", "project"]

ROWS = 4_000  # points drawn, at most: more hide one another
AXES = 16  # principal ones kept, at most: two for a map, the others to look at two prototypes


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Coordinates of a sample of rows on the first centred principal components."""

    points: Float[np.ndarray, "m a"]
    rows: Int[np.ndarray, " m"]  # which embeddings
    explained: tuple[float, ...]  # share of the variance on each axis, in [0, 1], largest first


def project(embeddings: Embeddings, *, seed: int = 0) -> Projection:
    """Project a random sample of at most 4,000 rows on at most 16 axes; axes from all rows.

    Signs are fixed (the largest loading is positive), so the same data give the same map.
    """
    points = embeddings.vectors
    mean = mean_row(points)
    variances, axes = torch.linalg.eigh(covariance_around(points, mean))
    axes, variances = axes.flip(1)[:, :AXES], variances.flip(0).clamp_min(0.0)
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(points), generator=generator)[:ROWS].sort().values
    shares = (variances[:AXES] / variances.sum().clamp_min(1e-300)).tolist()
    return Projection(
        points=((rows_at(points, rows).double() - mean) @ (axes * largest.sign())).numpy(),
        rows=rows.numpy(),
        explained=tuple(shares),
    )
