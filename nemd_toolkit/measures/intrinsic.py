"""Intrinsic dimension: how many coordinates the embeddings need locally (2NN)."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_array, eye_array
from scipy.stats import norm
from torch import Tensor

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.measures.intervals import LEVEL, Interval
from nemd_toolkit.measures.neighbours import Neighbours, nearest_others, one_of_each_group
from nemd_toolkit.scratch import rows_at

__all__ = ["IntrinsicDimension", "measure_intrinsic_dimension", "two_nn"]

ROWS = 2_000  # whose two neighbours are looked up, at most
AMONG = 50_000  # rows that they are looked up among, at most
ENTRIES = 12_800_000  # numbers in those rows, at most: above d = 256 there are fewer rows
DISCARD = 0.1  # share of the largest ratios; Facco et al. 2017, who fit a line to the rest
LEAST = 20  # distinct rows
_TIED = 1e-9  # a mean log ratio below this is rounding
_ROUNDING = 4 * float(np.finfo(np.float32).eps)  # a median distance that rounding alone can make


@dataclass(frozen=True, slots=True, kw_only=True)
class IntrinsicDimension:
    """2NN's dimension with its 95 % interval, and the rows that it rests on."""

    dimension: Interval | None  # in (0, ∞), of d possible; low = a thin set
    rows: int  # whose neighbours were looked up
    among: int  # distinct rows they were looked up among, one of each group of views
    repeats: int  # rows drawn that repeat another exactly: at distance 0, and left out
    missing: str | None  # why there is no dimension


def measure_intrinsic_dimension(embeddings: Embeddings, *, seed: int = 0) -> IntrinsicDimension:
    """Measure 2NN's intrinsic dimension from at most 2,000 of at most 50,000 random samples.

    Fewer where d is above 256, see ENTRIES; `among` says how many. It is the dimension at the scale
    of neighbouring rows, so it changes with how many there are, and finite samples give less than
    the truth where that is above 5 or so (a uniform sphere of dimension 20 has 17 among 2,000 rows,
    of dimension 63 has 39). Of views of one sample the first is taken.

    >>> turn = torch.linspace(0, 6, 400).square()
    >>> found = measure_intrinsic_dimension(Embeddings(torch.stack([turn.cos(), turn.sin()], 1)))
    >>> found.dimension.low < 1.3, found.rows, found.repeats
    (True, 400, 0)
    """
    samples = one_of_each_group(embeddings)
    generator = torch.Generator().manual_seed(seed)
    most = min(AMONG, ENTRIES // embeddings.dim)
    drawn = samples[torch.randperm(len(samples), generator=generator)[:most]]
    distinct = _distinct(rows_at(embeddings.vectors, drawn))
    among = len(distinct)
    rows = torch.arange(min(ROWS, among))
    dimension: Interval | None = None
    missing: str | None = f"expected at least {LEAST} distinct rows, got {among}"
    if among >= LEAST:
        dimension, missing = _dimension(nearest_others(distinct, rows, k=2))
    return IntrinsicDimension(
        dimension=dimension,
        rows=len(rows),
        among=among,
        repeats=len(drawn) - among,
        missing=missing,
    )


def _dimension(found: Neighbours) -> tuple[Interval | None, str | None]:
    """2NN's dimension, or why there is none."""
    distance = float(found.squares[:, 0].median().sqrt())
    if distance <= _ROUNDING:
        return None, f"expected rows farther apart than float32 rounding, got {distance:.1g}"
    ratios = (found.squares[:, 1] / found.squares[:, 0]).sqrt().numpy()
    dimension = two_nn(ratios, found.places.numpy())
    if dimension is None:
        return None, "expected rows with one nearest neighbour, got only ties"
    return dimension, None


def two_nn(
    ratios: Float[np.ndarray, " q"],
    neighbours: Int[np.ndarray, "q k"],
    *,
    discard: float = DISCARD,
) -> Interval | None:
    """Dimension from the ratios r₂/r₁ of distances to the second and to the first neighbour.

    Where density is even at that scale, P(r₂/r₁ > μ) = μ^−d (Facco et al. 2017): logarithms are
    exponential, and d = N / Σ log(r₂/r₁). The largest `discard` share counts only as "at least as
    large as the rest" (the likelihood of a censored sample), so leaving it out does not bias.

    `neighbours` are places in `ratios`; those from q on lie outside. Neighbours share distances, so
    their terms are taken as dependent in the interval's error: on spheres it covers 93–97 % with
    100 rows or more and 91 % with 50 (88–94 % if all were taken as independent). None where all
    are ties.

    >>> two_nn(np.exp([0.5, 0.5, 0.5, 0.5]), np.array([[1], [0], [3], [2]]), discard=0.0).value
    2.0
    """
    logs = np.log(ratios)
    largest = np.sort(logs)[len(logs) - int(discard * len(logs)) - 1]
    times, seen = np.minimum(logs, largest), logs <= largest
    if times.sum() <= _TIED * seen.sum():
        return None
    dimension = float(seen.sum() / times.sum())
    scores = seen - dimension * times  # of log d; they add up to 0
    linked = _linked(neighbours)
    # the diagonal alone is the least that dependence can be taken as
    variance = max(float(scores @ (linked @ scores)), float(scores @ scores))
    reach = float(norm.ppf((1 + LEVEL) / 2)) * variance**0.5 / float(seen.sum())
    low, high = (dimension * np.exp([-reach, reach])).tolist()
    return Interval(value=dimension, low=low, high=high)


def _linked(neighbours: Int[np.ndarray, "q k"]) -> csr_array:
    """1 where one of two rows is a neighbour of the other, or both are the same; (q, q)."""
    count, k = neighbours.shape
    row, column = np.repeat(np.arange(count), k), neighbours.ravel()
    inside = column < count
    one = csr_array((np.ones(inside.sum()), (row[inside], column[inside])), shape=(count, count))
    linked: csr_array = one + one.T + eye_array(count, format="csr")
    linked.data[:] = 1.0
    return linked


def _distinct(points: Float[Tensor, "n d"]) -> Float[Tensor, "m d"]:
    """Each different row once, in the order of their first appearance."""
    rows = np.ascontiguousarray(points.numpy() + 0.0)  # −0.0 counts as 0.0
    whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first = np.unique(whole, return_index=True)
    return points[torch.as_tensor(np.sort(first))]
