"""LiDAR: how many directions tell samples apart beyond what views of one sample differ by."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.linalg import eigh
from torch import Tensor

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.scratch import block_rows, rows_at
from nemd_toolkit.sphere import mean_row

__all__ = ["Lidar", "lidar", "measure_lidar"]

DELTA = 1e-4  # added to the within-sample covariance; Thilak et al. 2024
EPSILON = 1e-8  # added to the shares; theirs
_ROUNDING = float(np.finfo(np.float32).eps) ** 2  # variance that float32 rows have of themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class Lidar:
    """LiDAR's rank, in 1 … min(d, n − 1); higher is better. It needs views of each sample.

    Like the centred rank it calls jitter around one point healthy: read it beside the variance.
    """

    rank: float | None  # 0: all samples lie at one point
    samples: int  # n groups of views
    views: int | None  # q, of each sample; None where they differ in number
    cap: int | None  # no rank can exceed min(d, n − 1)
    delta: float  # δ of the within-sample covariance
    missing: str | None  # why there is no rank


def measure_lidar(embeddings: Embeddings) -> Lidar:
    """Measure LiDAR where every group holds the same number q ≥ 2 of views, and n ≥ 2 groups.

    Clusters or classes in place of views would measure another thing, so nothing stands in.

    >>> views = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    >>> found = measure_lidar(Embeddings(views, groups=[0, 0, 1, 1]))
    >>> found.rank, found.samples, found.views, found.cap
    (1.0000, 2, 2, 1)
    >>> measure_lidar(Embeddings(views)).missing
    'expected groups of views, got none'
    """
    if embeddings.groups is None:
        return _none("expected groups of views, got none", 0)
    _, group = np.unique(embeddings.groups, return_inverse=True)
    sizes = np.bincount(group)
    n, q = len(sizes), int(sizes[0])
    if (sizes != q).any():
        reason = f"expected groups of equal size, got {sizes.min()} to {sizes.max()} views"
        return _none(reason, n)
    if q < 2 or n < 2:
        return _none(f"expected at least 2 samples of 2 views, got {n} of {q}", n)
    rank = lidar(embeddings.vectors, torch.as_tensor(group))
    cap = min(embeddings.dim, n - 1)
    return Lidar(rank=rank, samples=n, views=q, cap=cap, delta=DELTA, missing=None)


def lidar(
    points: Float[Tensor, "n d"], sample: Int[Tensor, " n"], *, delta: float = DELTA
) -> float:
    """exp(−Σ p log p), p = λ/‖λ‖₁ + ε, of the eigenvalues λ of Σ_w^−½ Σ_b Σ_w^−½.

    Σ_b is the covariance of sample means (over n − 1), Σ_w the mean covariance of views around
    them (over n(q − 1)) plus δI (Thilak et al. 2024, arXiv 2312.04000). In about
    [1, min(d, n − 1)], higher is better; 0 where the means coincide. `sample` numbers samples from
    0, each with as many views.

    >>> lidar(torch.eye(3).repeat_interleave(2, 0), torch.tensor([0, 0, 1, 1, 2, 2]))
    2.0000
    """
    count, d = points.shape
    n = int(sample.max()) + 1
    q = count // n
    order, centre = sample.argsort(stable=True), mean_row(points)
    within = delta * torch.eye(d, dtype=torch.float64)
    between = torch.zeros(d, d, dtype=torch.float64)
    for some in order.split(q * max(1, block_rows(d) // q)):  # whole samples
        views = rows_at(points, some).double().view(-1, q, d)
        means = views.mean(1)
        rest = (views - means[:, None]).view(-1, d)
        within += rest.T @ rest / (count - n)  # n(q − 1)
        around = means - centre
        between += around.T @ around / (n - 1)
    if float(between.trace()) <= _ROUNDING:
        return 0.0
    # the same eigenvalues, without the root: Σ_b v = λ Σ_w v
    found = eigh(between.numpy(), within.numpy(), eigvals_only=True).clip(0.0)
    p = found / found.sum() + EPSILON
    return float(np.exp(-(p * np.log(p)).sum()))


def _none(reason: str, samples: int) -> Lidar:
    return Lidar(rank=None, samples=samples, views=None, cap=None, delta=DELTA, missing=reason)
