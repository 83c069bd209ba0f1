"""All pairs of many directions in one pass: duplicates, nearest ones, uniformity.

Each pair is looked at once, in blocks: 65,536 prototypes of dimension 256 (DINO's) take 23 seconds
of one core and at most a third of a GB beside the vectors. `uniform_repeats` is what the
duplicates of uniform directions are.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.special import betainc
from torch import Tensor

from nemd_toolkit.measures.duplicates import EPSILONS, DuplicateCurve
from nemd_toolkit.measures.instance import KOLEO_EPSILON
from nemd_toolkit.measures.null import uniform_points
from nemd_toolkit.progress import bar

__all__ = ["PairNumbers", "compare_all", "uniform_repeats"]

_BLOCK = 8_388_608  # cosines at a time: 32 MB
_MANY = 10_000  # directions whose pairs take more than a second or two: a bar is shown
_ROUNDING = 1e-14  # squared distances of unit rows below it are 0, as far as float64 tells
_NEAR = 1 - EPSILONS[-1] - 1e-5  # cosines from which float32 is not enough
_RARE = 1e-4  # expected share of repeats below which its first order is the share


@dataclass(frozen=True, slots=True, kw_only=True)
class PairNumbers:
    """What the pairs of K directions say."""

    duplicates: tuple[tuple[float, float], ...]  # (ε, share that repeats an earlier one)
    koleo: float  # −mean ln distance to the nearest
    uniform: float  # mean exp(−2‖p−q‖²) over pairs


def compare_all(unit: Float[Tensor, "k d"]) -> PairNumbers:
    """Compare every two of at least two unit rows: in float32, and near ones again in float64.

    KoLeo and uniformity are those of `instance.koleo` and `all_pairs_p_uniform` to 1e-6; distances
    below 1e-7 count as 0, which float32 rows cannot be told from.

    >>> found = compare_all(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    >>> found.koleo, found.uniform
    (-0.6931, 0.0003)
    """
    unit = unit.double()
    coarse, count = unit.float(), len(unit)
    step = min(count, max(1, _BLOCK // count))
    buffer = torch.empty(step * count)  # one: many would split up the memory
    highest = torch.full((count,), -torch.inf, dtype=torch.float64)
    curve, total = DuplicateCurve(count), 0.0
    with bar("comparing prototypes", count if count > _MANY else 0) as advance:
        for start in range(0, count, step):
            stop = min(start + step, count)
            cosines = buffer[: (stop - start) * stop].view(stop - start, stop)
            torch.mm(coarse[start:stop], coarse[:stop].T, out=cosines)
            cosines[:, start:].masked_fill_(_later(stop - start), -torch.inf)
            near = (cosines.amax(1) > _NEAR).nonzero().squeeze(1)
            exact = unit[start + near] @ unit[:stop].T
            exact[:, start:].masked_fill_(_later(stop - start)[near], -torch.inf)
            cosines[near] = -torch.inf
            curve.decide(stop - start, near.numpy(), exact.numpy())
            highest[start:stop] = cosines.amax(1).double()
            highest[start + near] = exact.amax(1)
            for part in (cosines, exact):
                if len(part):
                    highest[:stop] = torch.maximum(highest[:stop], part.amax(0).double())
                total += float(part.sub_(1).mul_(4).exp_().sum(1).double().sum())
            advance(stop - start)
    squares = (2 - 2 * highest).clamp_min(0.0)
    squares[squares < _ROUNDING] = 0.0
    return PairNumbers(
        duplicates=curve.shares(),
        koleo=float(-(squares.sqrt() + KOLEO_EPSILON).log().mean()),
        uniform=min(1.0, 2 * total / (count * (count - 1))),
    )


def _later(rows: int) -> Bool[Tensor, "b b"]:
    """Columns of a block's own rows that are not before each row: every pair counts once."""
    return torch.ones(rows, rows, dtype=torch.bool).triu()


def uniform_repeats(k: int, d: int, *, seed: int) -> tuple[tuple[float, float], ...]:
    """Give the duplicate curve of k uniform directions in R^d, drawn from the seed.

    Where repeats are rare the expected share (k − 1)/2 · P(cos ≥ 1 − ε) stands in for a draw, which
    has the same answer to 1e-4 and takes as long as comparing the prototypes themselves: P is half
    the regularised incomplete beta function I(1 − (1 − ε)²; (d − 1)/2, 1/2).

    >>> uniform_repeats(3_000, 128, seed=0)[-1][1] < 1e-12
    True
    >>> uniform_repeats(100, 2, seed=0)[0][1] > 0.1
    True
    """
    shares = [(k - 1) / 2 * _near(epsilon, d) for epsilon in EPSILONS]
    if shares[-1] < _RARE:
        return tuple(zip(EPSILONS, shares, strict=True))
    return compare_all(uniform_points(k, d, seed=seed + 1)).duplicates


def _near(epsilon: float, d: int) -> float:
    """Probability that two uniform directions are within this cosine distance."""
    if d == 1:
        return 0.5
    return float(betainc((d - 1) / 2, 0.5, 1 - np.square(1 - epsilon)) / 2)
