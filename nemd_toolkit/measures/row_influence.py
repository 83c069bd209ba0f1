"""How much each sample moves the effective rank and the mean row: errors of those two numbers.

The influence of a row is the first-order change of a number per unit of weight that the row gains
(infinitesimal jackknife; Jaeckel 1972). Their variance over N is that of the number under new rows,
and the variance of differences of influences that of the difference between two encoders.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.measures.covariance import covariance_around
from nemd_toolkit.scratch import rows_at

__all__ = ["RowInfluence", "row_influence", "uniformity_error"]

_MOST = 20_000  # samples: their influences tell the variance to 1 %
_MOST_PAIRS = 2_000  # rows whose pairs tell the error of uniformity
_ROUNDING = 1e-12  # of the largest variance: directions below hold nothing but rounding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowInfluence:
    """Influences of the same samples, in one order, for all embeddings of equal size."""

    rank: Float[np.ndarray, " m"]  # on the centred effective rank
    mean_share: Float[np.ndarray, " m"]  # on the squared length of the mean row
    samples: int  # that there are; m of them were taken


def row_influence(embeddings: Embeddings) -> RowInfluence:
    """Measure both of at most 20,000 samples; rows of one group are views of one sample.

    Effective rank: exp(H) with H = −Σ p log p and p = σ/Σσ of the centred singular values σ. A row
    at z_i standard deviations on axis i has the influence −exp(H) Σ (log p_i + H) p_i (z_i² − 1)/2.
    Mean share ‖m‖²: 2 m·(x − m).

    >>> found = row_influence(Embeddings(torch.eye(4).repeat(5, 1)))
    >>> found.samples, float(found.rank.sum().round(6)), float(found.mean_share.sum().round(6))
    (20, 0.0, 0.0)
    """
    samples = np.arange(len(embeddings))
    if embeddings.groups is not None:
        samples = np.unique(embeddings.groups, return_inverse=True)[1]
    count = int(samples.max()) + 1
    taken = np.arange(count)
    if count > _MOST:
        taken = np.sort(np.random.default_rng(0).choice(count, _MOST, replace=False))
    place = np.full(count, -1)
    place[taken] = np.arange(len(taken))
    rows = np.flatnonzero(place[samples] >= 0)
    points = rows_at(embeddings.vectors, torch.from_numpy(rows))
    views = len(rows) / len(taken)
    found = np.zeros((2, len(taken)))
    for total, influence in zip(found, _of_rows(points), strict=True):
        np.add.at(total, place[samples[rows]], influence / views)
    return RowInfluence(rank=found[0], mean_share=found[1], samples=count)


def _of_rows(points: Float[Tensor, "n d"]) -> tuple[np.ndarray, np.ndarray]:
    mean = points.double().mean(0)
    variances, axes = torch.linalg.eigh(covariance_around(points, mean))
    kept = variances > _ROUNDING * variances[-1]
    centred = points.double() - mean
    squares = (centred @ axes[:, kept]).square() / variances[kept]  # z², (n, r)
    p = variances[kept].sqrt()
    p = p / p.sum()
    entropy = -(p * p.log()).sum()
    rank = -0.5 * entropy.exp() * ((squares - 1) @ (p * (p.log() + entropy)))
    return rank.numpy(), (2 * centred @ mean).numpy()


def uniformity_error(embeddings: Embeddings, count: int) -> float:
    """Give the standard error of log E exp(−2‖x−y‖²), taken over `count` rows.

    Its influence is 2(h(x) − θ)/θ with h(x) = E_y exp(−2‖x−y‖²) and θ = E h (Hoeffding 1948), here
    of at most 2,000 rows. Rows of one group, views of one sample, count as one. 0 for a single row.

    >>> uniformity_error(Embeddings(torch.eye(2).repeat(50, 1)), 100)
    0.0000
    """
    n = len(embeddings)
    if min(n, count) < 2:
        return 0.0
    taken = np.arange(n)
    if n > _MOST_PAIRS:
        taken = np.random.default_rng(0).choice(n, _MOST_PAIRS, replace=False)
    points = rows_at(embeddings.vectors, torch.from_numpy(taken)).double()
    squared = (2 - 2 * points @ points.T).clamp_min(0)  # unit rows
    exponents = -2 * squared
    largest = exponents.fill_diagonal_(-torch.inf).max()
    near = (exponents - largest).exp().sum(dim=1) / (len(points) - 1)
    influence = 2 * (near / near.mean() - 1)
    views = 1.0 if embeddings.groups is None else n / len(np.unique(embeddings.groups))
    return float((influence.var() * views / count).sqrt())
