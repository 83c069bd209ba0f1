"""Intrinsic dimension: how many coordinates the embeddings need locally (2NN)."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import chi2
from torch import Tensor

from nemd_toolkit.measures.intervals import LEVEL, Interval
from nemd_toolkit.measures.neighbours import nearest_squares

__all__ = ["IntrinsicDimension", "measure_intrinsic_dimension", "two_nn"]

ROWS = 2_000  # whose two neighbours are looked up, at most
AMONG = 50_000  # rows that they are looked up among, at most
DISCARD = 0.1  # share of the largest ratios; Facco et al. 2017, who fit a line to the rest
LEAST = 20  # distinct rows
_TIED = 1e-9  # a mean log ratio below this is rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class IntrinsicDimension:
    """2NN's dimension with its interval, and the rows that it rests on."""

    dimension: Interval | None  # in (0, ∞), of d possible; low = a thin set
    rows: int  # whose neighbours were looked up
    among: int  # distinct rows they were looked up among
    repeats: int  # rows drawn that repeat another exactly: at distance 0, and left out
    missing: str | None  # why there is no dimension


def measure_intrinsic_dimension(
    points: Float[Tensor, "n d"], *, seed: int = 0
) -> IntrinsicDimension:
    """Measure 2NN's intrinsic dimension from at most 2,000 of at most 50,000 random rows.

    The dimension at the scale of neighbouring rows: it changes with how many there are, and finite
    samples give less than the truth where that is above 10 or so.

    >>> circle = torch.linspace(0, 6, 400).square()
    >>> found = measure_intrinsic_dimension(torch.stack([circle.cos(), circle.sin()], dim=1))
    >>> found.dimension.low < 1.3, found.rows, found.repeats
    (True, 400, 0)
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(len(points), generator=generator)[:AMONG]
    distinct = _distinct(points[drawn])
    among = len(distinct)
    rows = torch.arange(min(ROWS, among))
    dimension, missing = None, None
    if among < LEAST:
        missing = f"expected at least {LEAST} distinct rows, got {among}"
    else:
        squares = nearest_squares(distinct, rows, k=2).numpy()
        dimension = two_nn(np.sqrt(squares[:, 1] / squares[:, 0]))
        if dimension is None:
            missing = "expected rows with a nearest neighbour, got only ties"
    return IntrinsicDimension(
        dimension=dimension,
        rows=len(rows),
        among=among,
        repeats=len(drawn) - among,
        missing=missing,
    )


def two_nn(ratios: Float[np.ndarray, " n"], *, discard: float = DISCARD) -> Interval | None:
    """Dimension from the ratios r₂/r₁ of distances to the second and to the first neighbour.

    Where density is even at that scale, P(r₂/r₁ > μ) = μ^−d (Facco et al. 2017): logarithms are
    exponential, and d = N / Σ log(r₂/r₁). The largest `discard` share counts only as "at least as
    large as the rest" (the likelihood of a censored sample), so leaving it out does not bias. The
    95 % interval takes rows as independent. None where all are ties.

    >>> two_nn(np.exp([0.5, 0.5, 0.5, 0.5]), discard=0.0).value
    2.0
    """
    logs = np.sort(np.log(ratios))
    kept = len(logs) - int(discard * len(logs))
    total = logs[:kept].sum() + (len(logs) - kept) * logs[kept - 1]
    if total <= _TIED * kept:
        return None
    low, high = chi2.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2], 2 * kept) / (2 * total)
    return Interval(value=float(kept / total), low=float(low), high=float(high))


def _distinct(points: Float[Tensor, "n d"]) -> Float[Tensor, "m d"]:
    """Each different row once, in the order of their first appearance."""
    rows = np.ascontiguousarray(points.numpy() + 0.0)  # −0.0 counts as 0.0
    whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first = np.unique(whole, return_index=True)
    return points[torch.as_tensor(np.sort(first))]
