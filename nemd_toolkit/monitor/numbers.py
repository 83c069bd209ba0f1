"""What is measured of a window: numbers only, each cheap, in torch on the rows' device."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.errors import InputError
from nemd_toolkit.formulas import uniform
from nemd_toolkit.measures.duplicates import DuplicateCurve
from nemd_toolkit.measures.energy_score import EnergyScore, energy_score
from nemd_toolkit.measures.null import uniform_points
from nemd_toolkit.measures.spectrum import effective_rank
from nemd_toolkit.measures.usage import Usage, usage_of
from nemd_toolkit.measures.vector_pairs import uniform_repeats
from nemd_toolkit.placing import nearest_directions

__all__ = ["OwnNumbers", "WindowNumbers", "measure_window"]

# Rows beyond which numbers hardly move while costs grow as their square or cube.
_PAIR_ROWS = 512  # for uniformity
_SCORE_ROWS, _SCORE_ROWS_EACH = 1_024, 32  # for the score: the more of so many, and so many each
_RANK_SIZE = 512  # of the matrix whose eigenvalues are taken
_OWN_COMPARED = 1_024  # own prototypes compared with one another


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnNumbers:
    """Own prototypes: how the window's rows use them, and how many repeat another."""

    usage: Usage
    compared: int  # of the k: all, or a fixed random 1,024
    duplicates: tuple[tuple[float, float], ...]  # (cosine distance ε, share that repeats)
    uniform_duplicates: tuple[tuple[float, float], ...]  # of as many uniform directions


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowNumbers:
    """Numbers of n unit rows in R^d."""

    rows: int  # n, that can be measured
    dim: int  # d
    window: int  # rows that are kept, at most
    variance: float  # share of squared length around the mean; 0 = all rows equal
    mean_cosine: float  # over distinct pairs; 0 for uniform rows
    negative_share: float  # of the squared length; 0 after a ReLU
    rank: float  # centred effective rank
    rank_null: float  # of as many uniform rows
    rank_rows: int
    uniformity: float  # log E exp(−2‖x−y‖²), in [−8, 0]; lower is more uniform
    score: EnergyScore | None  # 0 uniform … 1 collapsed; None where there is no scale
    own: OwnNumbers | None

    @property
    def rank_cap(self) -> int:
        """No rank can exceed min(rows − 1, d)."""
        return min(self.rank_rows - 1, self.dim)


def measure_window(
    rows: Float[Tensor, "m d"],
    *,
    k: int,
    window: int,
    prototypes: Float[Tensor, "p d"] | None = None,
    seed: int = 0,
) -> tuple[WindowNumbers | None, int]:
    """Measure rows as they come out of a network; they are set on the sphere here.

    Rows that hold NaN or infinity, or are 0, are left out: how many is the second answer. No
    numbers where fewer than two are left. k: prototypes of the score, by k-means.

    >>> found, invalid = measure_window(torch.eye(8).repeat(40, 1), k=8, window=320)
    >>> found.rows, round(found.variance, 3), round(found.rank, 3), found.score.value, invalid
    (320, 0.875, 7.0, 1.0, 0)
    """
    points, invalid = _usable(rows)
    n, d = points.shape
    if n < 2:
        return None, invalid
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    points = points[order.to(points.device)]
    mean = points.mean(0, dtype=torch.float64)
    variance = float((points - mean).square().sum() / n)
    rank, rank_rows = _centred_rank(points)
    scored = points[: max(_SCORE_ROWS, _SCORE_ROWS_EACH * k)]
    numbers = WindowNumbers(
        rows=n,
        dim=d,
        window=window,
        variance=variance,
        mean_cosine=min(1.0, 1.0 - variance * n / (n - 1)),
        negative_share=float(points.clamp_max(0.0).square().sum(dtype=torch.float64)) / n,
        rank=rank,
        rank_null=_null_rank(rank_rows, d),
        rank_rows=rank_rows,
        uniformity=min(0.0, float(uniform(points[:_PAIR_ROWS]))),
        score=energy_score(scored, k, seed=seed) if len(scored) >= 2 * k else None,
        own=None if prototypes is None else _own(points, prototypes, seed),
    )
    return numbers, invalid


def _usable(rows: Float[Tensor, "m d"]) -> tuple[Float[Tensor, "n d"], int]:
    """Give unit rows, and how many were left out."""
    if rows.device.type == "mps":  # has no float64
        rows = rows.cpu()
    largest = rows.abs().amax(1, keepdim=True)  # so that no square overflows or vanishes
    good = (torch.isfinite(largest) & (largest > 0)).squeeze(1)
    kept = rows[good] / largest[good]
    return torch.nn.functional.normalize(kept, dim=1), len(rows) - len(kept)


def _centred_rank(points: Float[Tensor, "n d"]) -> tuple[float, int]:
    """Centred effective rank, from a matrix of at most 512 x 512, and the rows it is of."""
    if points.shape[1] > _RANK_SIZE:
        points = points[:_RANK_SIZE]
    n, d = points.shape
    centred = points.double() - points.mean(0, dtype=torch.float64)
    moments = (centred.T @ centred if d <= n else centred @ centred.T) / n
    floor = max(torch.finfo(torch.float32).eps ** 2, d * torch.finfo(torch.float64).eps)
    variances = torch.linalg.eigvalsh(moments).cpu().numpy()
    return effective_rank(np.sqrt(np.where(variances > floor, variances, 0.0))), n


@lru_cache(maxsize=64)
def _null_rank(n: int, d: int) -> float:
    return _centred_rank(uniform_points(n, d, seed=1))[0]


def _own(points: Float[Tensor, "n d"], vectors: Float[Tensor, "p d"], seed: int) -> OwnNumbers:
    vectors, _ = _usable(vectors.detach().to(points.device).float())
    k = len(vectors)
    if k < 2:
        raise InputError(
            f"monitor: expected at least 2 finite prototypes of non-zero norm, got {k}; give the "
            "(k, d) weights of the layer that scores them, or none"
        )
    assignment = nearest_directions(points, vectors).cpu().numpy()
    some = torch.randperm(k, generator=torch.Generator().manual_seed(seed))[:_OWN_COMPARED]
    compared = vectors[some.sort().values.to(vectors.device)].double()
    curve = DuplicateCurve(len(compared))
    curve.add((compared @ compared.T).cpu().numpy())
    return OwnNumbers(
        usage=usage_of(np.bincount(assignment, minlength=k), seed=seed),
        compared=len(compared),
        duplicates=curve.shares(),
        uniform_duplicates=_by_chance(len(compared), vectors.shape[1], seed),
    )


@lru_cache(maxsize=16)
def _by_chance(k: int, d: int, seed: int) -> tuple[tuple[float, float], ...]:
    return uniform_repeats(k, d, seed=seed)
