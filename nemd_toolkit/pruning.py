"""Nearest centroids by a bound on all scores, which passes over most of them and changes no answer.

A score is ½|c|² − x·c, the lowest for the nearest centroid. With x₁ and c₁ in a few principal
directions and x₂, c₂ what is left of them, x·c ≤ x₁·c₁ + |x₂||c₂| (Cauchy–Schwarz), so that one
product of few columns bounds all scores from below. Only centroids whose bound lies below the best
score so far are compared in full. Room for the rounding of both is left, so that the answer is the
lowest of the scores computed in full, whatever the directions. How many pay is tried on some rows;
of noise, which has no principal directions, none do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy.typing import NDArray
from scipy.linalg import eigh
from torch import Tensor

from nemd_toolkit.nearest_centroid import TILE
from nemd_toolkit.transport.kernels.compiling import loose_kernel

__all__ = ["SAMPLED", "Bound", "PrunedSearch", "bound_for", "may_pay"]

SAMPLED = 2_304  # rows to choose a bound by
_UNIT = 2.0**-24  # relative rounding of float32
_CHUNK = 64  # bounds looked at together
_TRIED = 256  # rows that bounds are tried on
_WIDTHS = (8, 16, 32, 64, 128, 256, 512)
# Nanoseconds on one core of a 2020s server, to weigh one way against another: a multiplication of
# matrices, per entry of the inner dimension; a look at a score, or at a bound; a score in full
_PRODUCT, _LOOK, _LOOK_AT_BOUND, _IN_FULL, _IN_FULL_PER_ENTRY = 0.021, 0.09, 0.2, 30.0, 0.06
_WORTH = 0.6  # of the plain way's time; below it the bound is taken


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """The directions in which rows and centroids are compared first."""

    basis: Float64[Tensor, "d m"]  # orthonormal columns

    def shortened(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n e"]:
        """Coordinates in those directions, and the length of what is left; e is m + 1."""
        wide = x.double()
        first = wide @ self.basis
        left = (wide.square().sum(1) - first.square().sum(1)).clamp_min_(0.0).sqrt_()
        return torch.cat([first, left[:, None]], 1).float()

    def room(self, x: Float[Tensor, "n d"], centroids: Tensor) -> Float[Tensor, " n"]:
        """How far a computed bound and a computed score may lie on the wrong side, together."""
        largest = float(centroids.norm(dim=1).max())
        share = (sum(self.basis.shape) + 16) * _UNIT
        return torch.add(0.5 * share * largest**2, x.norm(dim=1), alpha=share * largest)


class PrunedSearch:
    """Finds nearest centroids of blocks of rows, as `nearest_centroid.Search` does."""

    def __init__(
        self,
        bound: Bound,
        centroids: Float[Tensor, "k d"],
        short: Sequence[Tensor] | None,
        before: Sequence[Tensor] | None,
    ) -> None:
        """short: rows of each block, shortened; before: their nearest centroid in the last step.

        Without them rows are shortened when they come, and any centroid may be the nearest.
        """
        self._bound, self._short, self._before = bound, short, before
        self._centroids = centroids.contiguous()
        self._half = 0.5 * centroids.square().sum(1)
        theirs = bound.shortened(centroids)
        self._tiles = list(zip(theirs.split(TILE), self._half.split(TILE), strict=True))
        self.width = len(self._tiles[0][0])

    def find(self, number: int, rows: Float[Tensor, "n d"], scores: Tensor, out: Tensor) -> None:
        """Write the centroids nearest to the rows of a block; `scores` has `width` for each."""
        short = self._bound.shortened(rows) if self._short is None else self._short[number]
        room = self._bound.room(rows, self._centroids).numpy()
        x, centroids, half = rows.contiguous().numpy(), self._centroids.numpy(), self._half.numpy()
        best = np.full(len(rows), np.finfo(np.float32).max, np.float32)
        nearest = out.numpy()
        nearest[:] = -1 if self._before is None else self._before[number].numpy()
        _begin(x, centroids, half, best, nearest)
        first = 0
        for theirs, own in self._tiles:
            stop = first + len(own)
            low = scores[: len(rows) * len(own)].view(len(rows), len(own))
            torch.addmm(own, short, theirs.T, alpha=-1.0, out=low)
            bounds = low.numpy()
            likely = np.argmin(bounds, 1)
            _look(
                bounds, likely, x, centroids[first:stop], half[first:stop], room, first, best,
                nearest,
            )  # fmt: skip
            first = stop


def may_pay(count: int, k: int, dim: int) -> bool:
    """Whether finding the directions costs little beside a few steps of the plain way."""
    directions = 0.04 * SAMPLED * dim**2 + 0.1 * dim**3 + 2e7  # nanoseconds
    return 8 * count * k * dim * _PRODUCT > 4 * directions


def bound_for(rows: Float[Tensor, "s d"], centroids: Float[Tensor, "k d"]) -> Bound | None:
    """Choose directions by a sample of rows; None where the plain way is about as quick."""
    k, dim = centroids.shape
    widths = [width for width in _WIDTHS if width <= dim // 2]
    if len(rows) < 2 * _TRIED or not widths or not bool(rows.norm(dim=1).isfinite().all()):
        return None
    basis = _principal(rows[_TRIED:], widths[-1])
    tried = rows[:_TRIED]  # others: directions fit better to the rows that they were taken from
    half = 0.5 * centroids.square().sum(1)
    best = torch.addmm(half, tried, centroids.T, alpha=-1.0).amin(1)
    plain = k * (dim * _PRODUCT + _LOOK)
    costs = {}
    for width in widths:
        bound = Bound(basis[:, :width].contiguous())
        short, theirs = bound.shortened(tried), bound.shortened(centroids)
        low = torch.addmm(half, short, theirs.T, alpha=-1.0)
        limit = best + bound.room(tried, centroids)
        in_full = float((low < limit[:, None]).sum(1).double().mean())
        costs[width] = (
            k * ((width + 1) * _PRODUCT + _LOOK_AT_BOUND)
            + in_full * (_IN_FULL + dim * _IN_FULL_PER_ENTRY)
            + dim * width * _PRODUCT / 4  # of making rows shorter, in double, once for many steps
        )
    width = min(costs, key=lambda width: costs[width])
    return Bound(basis[:, :width].contiguous()) if costs[width] < _WORTH * plain else None


def _principal(rows: Tensor, most: int) -> Float64[Tensor, "d m"]:
    """Find the directions in which rows are longest, the longest first."""
    wide = rows.double()
    moments: NDArray[np.float64] = (wide.T @ wide).numpy()
    dim = len(moments)
    _, vectors = eigh(moments, subset_by_index=(dim - most, dim - 1))
    return torch.from_numpy(vectors[:, ::-1].copy())


@loose_kernel
@no_type_check
def _score(x, centroid, half):
    for t in range(len(x)):
        half -= x[t] * centroid[t]
    return half


@loose_kernel
@no_type_check
def _begin(x, centroids, half, best, nearest):
    """Compute the score of the centroid that is the nearest so far, where there is one."""
    for i in range(len(x)):
        j = nearest[i]
        if j >= 0:
            best[i] = _score(x[i], centroids[j], half[j])


@loose_kernel
@no_type_check
def _improve(row, start, stop, x, centroids, half, room, first, lowest, winner):
    """Compare in full the centroids of a run whose bound is low enough; the best then."""
    for j in range(start, stop):
        if row[j] < lowest + room:
            score = _score(x, centroids[j], half[j])
            if score < lowest or (score == lowest and first + j < winner):
                lowest, winner = score, first + j
    return lowest, winner


@loose_kernel
@no_type_check
def _look(low, likely, x, centroids, half, room, first, best, nearest):
    """Go through the bounds of rows and some centroids, the first of which has that number."""
    k = low.shape[1]
    chunks = k // _CHUNK
    for i in range(len(low)):
        row, xi, left = low[i], x[i], room[i]
        lowest, winner, at = best[i], nearest[i], likely[i]
        if row[at] >= lowest + left:
            continue
        lowest, winner = _improve(row, at, at + 1, xi, centroids, half, left, first, lowest, winner)
        for c in range(chunks):
            start = c * _CHUNK
            limit, few = lowest + left, np.int32(0)
            for j in range(_CHUNK):  # without a branch: many at a time
                few += np.int32(row[start + j] < limit)
            if few:
                lowest, winner = _improve(
                    row, start, start + _CHUNK, xi, centroids, half, left, first, lowest, winner
                )
        lowest, winner = _improve(
            row, chunks * _CHUNK, k, xi, centroids, half, left, first, lowest, winner
        )
        best[i], nearest[i] = lowest, winner
