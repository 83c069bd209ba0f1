"""Nulls: the same way of prototyping on points without groups.

uniform: on the sphere, NEMD's 0. spectrum: with the mean and covariance of the embeddings, so that
what long axes alone give (k-means cuts them into pieces) can be told from groups.
"""

from dataclasses import replace
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.measures.covariance import covariance_around
from nemd_toolkit.measures.held_out import Members, cross_fitted, members_of
from nemd_toolkit.prototypes import Prototypes, prototypes_from_vectors

__all__ = ["spectrum_null", "uniform_null", "uniform_points"]


def uniform_points(n: int, d: int, *, seed: int) -> Float[Tensor, "n d"]:
    """Draw n independent points of the uniform law on S^{d-1}."""
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(n, d, generator=generator), dim=1)


def uniform_null(prototypes: Prototypes, *, seed: int) -> tuple[Members, ...]:
    """Prototype N uniform points in R^d the way that `prototypes` were: same K, same source.

    k-means is cross-fitted anew, own vectors take the points nearest to them, and labels keep
    their sizes and know nothing of the points.
    """
    count, dim = prototypes.embeddings.vectors.shape
    if prototypes.source == "k-means":
        return _cross_fitted(count, dim, prototypes.k, seed)
    points = _points(count, dim, seed)
    if prototypes.source == "own":
        return (members_of(prototypes_from_vectors(points, prototypes.vectors)),)
    return (members_of(replace(prototypes, embeddings=points)),)


# Runs under comparison share their null. Few are kept: each may hold as much as the embeddings.
@lru_cache(maxsize=1)
def _points(count: int, dim: int, seed: int) -> Embeddings:
    return Embeddings(uniform_points(count, dim, seed=seed + 1))


@lru_cache(maxsize=4)
def _cross_fitted(count: int, dim: int, k: int, seed: int) -> tuple[Members, ...]:
    return cross_fitted(_points(count, dim, seed), k, seed=seed)


def spectrum_null(prototypes: Prototypes, *, seed: int) -> tuple[Members, ...]:
    """k-means, cross-fitted, on N normal points with the embeddings' mean and covariance.

    They are set on the sphere. Nothing for prototypes that k-means did not make.
    """
    if prototypes.source != "k-means":
        return ()
    points = _spectrum_points(prototypes.embeddings, seed)
    return cross_fitted(points, prototypes.k, seed=seed)


def _spectrum_points(embeddings: Embeddings, seed: int) -> Embeddings:
    points = embeddings.vectors
    mean = points.double().mean(0)
    variances, axes = torch.linalg.eigh(covariance_around(points, mean))
    root = (axes * variances.clamp_min(0.0).sqrt()).float()
    generator = torch.Generator().manual_seed(seed + 2)
    drawn = torch.randn(points.shape, generator=generator) @ root.T + mean.float()
    drawn[drawn.norm(dim=1) == 0] = points[0]  # no spread and no mean: has no direction
    return Embeddings(drawn)
