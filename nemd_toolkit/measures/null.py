"""Nulls: the same way of prototyping on points without groups.

uniform: on the sphere, NEMD's 0. spectrum: with the mean and covariance of the embeddings, so that
what long axes alone give (k-means cuts them into pieces) can be told from groups.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.measures.covariance import covariance_around
from nemd_toolkit.measures.held_out import Members, cross_fitted, members_of
from nemd_toolkit.prototypes import Prototypes, prototypes_from_vectors
from nemd_toolkit.scratch import block_rows
from nemd_toolkit.sphere import mean_row
from nemd_toolkit.unit_rows import Part, RowParts

__all__ = ["spectrum_null", "uniform_null", "uniform_points"]


def uniform_points(n: int, d: int, *, seed: int) -> Float[Tensor, "n d"]:
    """Draw n independent points of the uniform law on S^{d-1}."""
    blocks = _normal_blocks(n, d, seed)
    return torch.cat([torch.nn.functional.normalize(block, dim=1) for block in blocks])


def uniform_null(prototypes: Prototypes, *, seed: int) -> tuple[Members, ...]:
    """Prototype N uniform points in R^d the way that `prototypes` were: same K, same source.

    k-means is cross-fitted anew, own vectors take the points nearest to them, and labels keep
    their sizes and know nothing of the points.
    """
    count, dim = prototypes.embeddings.vectors.shape
    null = _uniform(count, dim, seed)
    if prototypes.source == "k-means":
        return null.cross_fitted(prototypes.k)
    if prototypes.source == "own":
        return (members_of(prototypes_from_vectors(null.points, prototypes.vectors)),)
    return (members_of(replace(prototypes, embeddings=null.points)),)


class _Uniform:
    """Uniform points, and what k-means made of them."""

    def __init__(self, count: int, dim: int, seed: int) -> None:
        self._seed = seed
        self.points = _embeddings(count, dim, _normal_blocks(count, dim, seed + 1))
        self._runs: dict[int, tuple[Members, ...]] = {}

    def cross_fitted(self, k: int) -> tuple[Members, ...]:
        if k not in self._runs:
            self._runs[k] = cross_fitted(self.points, k, seed=self._seed)
        return self._runs[k]


# Runs under comparison share their null. One is kept: it holds as much as the embeddings.
@lru_cache(maxsize=1)
def _uniform(count: int, dim: int, seed: int) -> _Uniform:
    return _Uniform(count, dim, seed)


def spectrum_null(prototypes: Prototypes, *, seed: int) -> tuple[Members, ...]:
    """k-means, cross-fitted, on N normal points with the embeddings' mean and covariance.

    They are set on the sphere. Nothing for prototypes that k-means did not make.
    """
    if prototypes.source != "k-means":
        return ()
    points = _spectrum_points(prototypes.embeddings, seed)
    return cross_fitted(points, prototypes.k, seed=seed)


def _spectrum_points(embeddings: Embeddings, seed: int) -> Embeddings:
    points, (n, d) = embeddings.vectors, embeddings.vectors.shape
    mean = mean_row(points)
    variances, axes = torch.linalg.eigh(covariance_around(points, mean))
    root = (axes * variances.clamp_min(0.0).sqrt()).float()

    def drawn() -> Iterator[Float[Tensor, "b d"]]:
        for normal in _normal_blocks(n, d, seed + 2):
            block = normal @ root.T + mean.float()
            block[block.norm(dim=1) == 0] = points[0]  # no spread and no mean: has no direction
            yield block

    return _embeddings(n, d, drawn())


def _normal_blocks(n: int, d: int, seed: int) -> Iterator[Float[Tensor, "b d"]]:
    """Draw (n, d) standard normal numbers a block at a time.

    They are those of one draw: torch fills by sixteen numbers, of which each block but the last has
    a multiple. (Fewer than sixteen in the last are drawn in another way.)
    """
    generator, step = torch.Generator().manual_seed(seed), block_rows(d)
    for start in range(0, n, step):
        yield torch.randn(min(step, n - start), d, generator=generator)


def _embeddings(n: int, d: int, blocks: Iterator[Float[Tensor, "b d"]]) -> Embeddings:
    return Embeddings(RowParts(dim=d, parts=[Part(name="null", count=n, blocks=blocks)]))
