"""Squared distances to the nearest other points, by comparing all, in blocks of bounded memory.

Gram products find the candidates and coordinate differences give the values: |x|² + |y|² − 2xy
alone has no digits left between near-duplicates, which is where nearest neighbours are.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nemd_toolkit.errors import InputError

__all__ = ["nearest_squares"]

_BLOCK = 4_194_304  # distances at a time: 32 MB
_PRECISE = 1e-9  # relative; farther apart than rounding over this, a mistaken tie is no error


def nearest_squares(
    points: Float[Tensor, "n d"], rows: Int[Tensor, " q"], *, k: int
) -> Float[Tensor, "q k"]:
    """Squared distances from each of `rows` to its k nearest other points, ascending, float64.

    Right to 1e-8 relative, and 0 between equal rows. Raises InputError unless 1 ≤ k < n.

    >>> points = torch.tensor([[0.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    >>> nearest_squares(points, torch.tensor([0, 2]), k=2)
    tensor([[1., 4.], [4., 5.]], dtype=torch.float64)
    """
    n = len(points)
    if not 1 <= k < n:
        raise InputError(
            f"neighbours: expected between 1 and {n - 1} of them (other rows), got {k}; "
            "give more rows"
        )
    centred = points.double() - points.double().mean(0)  # a shared offset would cost digits
    squares = centred.square().sum(1)
    # what rounding can do to a squared distance from Gram products
    slack = 4 * (points.shape[1] + 2) * torch.finfo(torch.float64).eps * float(squares.max())
    found = torch.empty(len(rows), k, dtype=torch.float64)
    step = max(1, _BLOCK // n)
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        found[start : start + step] = _block(centred, squares, some, k, slack)
    return found


def _block(
    points: Float[Tensor, "n d"],
    squares: Float[Tensor, " n"],
    rows: Int[Tensor, " b"],
    k: int,
    slack: float,
) -> Float[Tensor, "b k"]:
    # |y|² − 2xy: the squared distance less |x|², which ranks alike
    gram = torch.addmm(squares, points[rows], points.T, alpha=-2.0)  # (b, n)
    gram[torch.arange(len(rows)), rows] = torch.inf
    candidates = gram.topk(k, dim=1, largest=False).indices
    best = (points[rows, None] - points[candidates]).square().sum(2).sort(dim=1).values  # (b, k)
    # A nearer point may hide behind rounding, though never behind more than twice the slack. It
    # matters between near-duplicates alone, and not where k neighbours are at distance 0 already.
    last = best[:, -1]
    for place in ((last > 0) & (last < slack / _PRECISE)).nonzero().squeeze(1).tolist():
        row = rows[place]
        close = gram[place] <= last[place] - squares[row] + 2 * slack
        others = (points[close] - points[row]).square().sum(1)
        best[place] = others.topk(k, largest=False).values
    return best
