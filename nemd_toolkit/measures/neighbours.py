"""The nearest other points of some, by comparing all, in blocks of bounded memory.

Gram products find the candidates and coordinate differences give the values: |x|² + |y|² − 2xy
alone has no digits left between near-duplicates, which is where nearest neighbours are.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nemd_toolkit import ranks
from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.errors import InputError

__all__ = ["Neighbours", "nearest_others", "one_of_each_group"]

_ROWS, _COLUMNS = 128, 8_192  # of a thread: 8 MB at most;
_BLOCK = 4_194_304  # where all distances of some rows are needed: 32 MB
_PRECISE = 1e-9  # relative; farther apart than rounding over this, a mistaken tie is no error


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """The k nearest other points of q points, the nearest first."""

    squares: Float[Tensor, "q k"]  # squared distances, float64
    places: Int[Tensor, "q k"]  # which points


def one_of_each_group(embeddings: Embeddings) -> Int[Tensor, " s"]:
    """First row of each group; all rows without groups.

    The nearest neighbour of a view is another view of the same sample, which tells of the
    augmentation and not of the embeddings; so distances to neighbours are between samples.

    >>> one_of_each_group(Embeddings([[1, 0], [0, 1], [1, 1.0]], groups=["b", "a", "b"]))
    tensor([0, 1])
    """
    if embeddings.groups is None:
        return torch.arange(len(embeddings))
    _, first = np.unique(embeddings.groups, return_index=True)
    return torch.as_tensor(np.sort(first))


def nearest_others(points: Float[Tensor, "n d"], rows: Int[Tensor, " q"], *, k: int) -> Neighbours:
    """Find the k points nearest to each of `rows`, itself not counted; processes share the rows.

    Squared distances are right to 1e-8 relative, and 0 between equal rows. Raises InputError unless
    1 ≤ k < n.

    >>> points = torch.tensor([[0.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    >>> nearest_others(points, torch.tensor([0, 2]), k=2).squares
    tensor([[1., 4.], [4., 5.]], dtype=torch.float64)
    """
    n = len(points)
    if not 1 <= k < n:
        raise InputError(
            f"neighbours: expected between 1 and {n - 1} of them (other rows), got {k}; "
            "give more rows"
        )
    centred = points.double() - points.double().mean(0)  # a shared offset would cost digits
    norms = centred.square().sum(1)
    # what rounding can do to a squared distance from Gram products
    slack = 4 * (points.shape[1] + 2) * torch.finfo(torch.float64).eps * float(norms.max())

    def found(block: slice) -> Tensor:
        squares, places = _block(centred, norms, rows[block], k, slack)
        return torch.stack([squares, places.double()], dim=1)

    step = min(_ROWS, max(1, _BLOCK // n))
    both = ranks.by_blocks(len(rows), step, found, torch.float64, (2, k))
    return Neighbours(squares=both[:, 0], places=both[:, 1].long())


def _block(
    points: Float[Tensor, "n d"],
    norms: Float[Tensor, " n"],
    rows: Int[Tensor, " b"],
    k: int,
    slack: float,
) -> tuple[Float[Tensor, "b k"], Int[Tensor, "b k"]]:
    candidates = _candidates(points, norms, rows, k)
    squares = (points[rows, None] - points[candidates]).square().sum(2)
    squares, order = squares.sort(dim=1, stable=True)
    places = candidates.gather(1, order)
    # A nearer point may hide behind rounding, though never behind more than twice the slack. It
    # matters between near-duplicates alone, and not where k neighbours are at distance 0 already.
    last = squares[:, -1]
    unsure = ((last > 0) & (last < slack / _PRECISE)).nonzero().squeeze(1)
    if len(unsure):
        grams = _grams(points, norms, rows[unsure], slice(None))
        for at, gram in zip(unsure.tolist(), grams, strict=True):
            close = (gram <= last[at] - norms[rows[at]] + 2 * slack).nonzero().squeeze(1)
            found = (points[close] - points[rows[at]]).square().sum(1).topk(k, largest=False)
            squares[at], places[at] = found.values, close[found.indices]
    return squares, places


def _candidates(
    points: Float[Tensor, "n d"], norms: Float[Tensor, " n"], rows: Int[Tensor, " b"], k: int
) -> Int[Tensor, "b k"]:
    """Find the k points nearest to each row by Gram products, a few columns at a time."""
    kept = points.new_full((len(rows), k), torch.inf)
    places = torch.zeros(len(rows), k, dtype=torch.long, device=points.device)
    for first in range(0, len(points), _COLUMNS):
        grams = _grams(points, norms, rows, slice(first, first + _COLUMNS))
        low, where = (
            grams.min(1, keepdim=True)  # three times as fast
            if k == 1
            else grams.topk(min(k, grams.shape[1]), dim=1, largest=False)
        )
        kept, order = torch.cat([kept, low], dim=1).topk(k, dim=1, largest=False)
        places = torch.cat([places, first + where], dim=1).gather(1, order)
    return places


def _grams(
    points: Float[Tensor, "n d"], norms: Float[Tensor, " n"], rows: Int[Tensor, " b"], some: slice
) -> Float[Tensor, "b c"]:
    """|y|² − 2xy, the squared distance less |x|², which ranks alike; infinite to itself."""
    grams = torch.addmm(norms[some], points[rows], points[some].T, alpha=-2.0)
    own = rows - (some.start or 0)
    here = ((own >= 0) & (own < grams.shape[1])).nonzero().squeeze(1)
    grams[here, own[here]] = torch.inf
    return grams
