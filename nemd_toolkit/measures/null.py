"""The null of NEMD's scale: the same way of prototyping on the uniform sphere."""

from dataclasses import replace
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.prototypes import Prototypes, fit_prototypes, prototypes_from_vectors

__all__ = ["uniform_null", "uniform_points"]


def uniform_points(n: int, d: int, *, seed: int) -> Float[Tensor, "n d"]:
    """Draw n independent points of the uniform law on S^{d-1}."""
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(n, d, generator=generator), dim=1)


def uniform_null(prototypes: Prototypes, *, seed: int) -> Prototypes:
    """Prototype N uniform points in R^d the way that `prototypes` were: same K, same source.

    k-means is fitted anew, own vectors take the points nearest to them, and labels keep their
    sizes and know nothing of the points.
    """
    count, dim = prototypes.embeddings.vectors.shape
    if prototypes.source == "k-means":
        return _fitted(count, dim, prototypes.k, seed)
    points = _points(count, dim, seed)
    if prototypes.source == "own":
        return prototypes_from_vectors(points, prototypes.vectors)
    return replace(prototypes, embeddings=points)


# Runs under comparison share their null. Few are kept: each may hold as much as the embeddings.
@lru_cache(maxsize=1)
def _points(count: int, dim: int, seed: int) -> Embeddings:
    return Embeddings(uniform_points(count, dim, seed=seed + 1))


@lru_cache(maxsize=4)
def _fitted(count: int, dim: int, k: int, seed: int) -> Prototypes:
    return fit_prototypes(_points(count, dim, seed), k, seed=seed)
