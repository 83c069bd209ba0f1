"""Seeds of k-means: greedy k-means++ (Arthur & Vassilvitskii 2007), one at a time or several."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nemd_toolkit import ranks
from nemd_toolkit.threads import one_thread

__all__ = ["plus_plus", "plus_plus_ahead"]

_BLOCK = 16_777_216  # entries of one block of distances: 64 MB in float32
_ROWS = 4_096  # of a block of one process
_AHEAD = 1 / 64  # share of very many seeds that are drawn at a time, at most


def plus_plus(
    points: Float[Tensor, "n d"], k: int, generator: torch.Generator
) -> Float[Tensor, "k d"]:
    """Choose k rows as seeds.

    A few candidates are drawn with probability proportional to the squared distance to the seeds
    before, and the one that lowers the total most is kept.
    """
    trials = 2 + int(math.log(k))
    chosen = [int(torch.randint(len(points), (1,), generator=generator))]
    squares = points.square().sum(1)
    closest = _to_candidates(points, squares, torch.tensor(chosen, device=points.device))[:, 0]
    with one_thread():
        for draws in torch.rand(k - 1, trials, generator=generator, dtype=torch.float64):
            candidates = _drawn(closest, draws)
            away = _to_candidates(points, squares, candidates)  # (n, trials)
            shared = torch.minimum(closest[:, None], away)
            best = int(shared.double().sum(0).argmin())
            chosen.append(int(candidates[best]))
            closest = shared[:, best]
    return points[chosen].clone()


def plus_plus_ahead(
    points: Float[Tensor, "n d"], k: int, generator: torch.Generator, *, shared: bool = False
) -> Float[Tensor, "k d"]:
    """`plus_plus` with candidates for several seeds at a time, as many as fit a block.

    They are drawn from the distances as these were before the block, so that one product serves
    all; the choice among them is by the distances as they are. Several times faster. shared: each
    process computes the distances of its share of the rows; the seeds are the same.
    """
    n, trials = len(points), 2 + int(math.log(k))
    share = _Share(points, shared)
    chosen = [int(torch.randint(n, (1,), generator=generator))]
    first = torch.tensor(chosen, device=points.device)
    closest = share.distances(first).clone()  # (blocks, 1, rows of a block)
    draws = torch.rand(k - 1, trials, generator=generator, dtype=torch.float64)
    ahead = max(1, min(int(_AHEAD * k), _BLOCK // (n * trials)))
    for several in draws.split(ahead):
        candidates = _drawn(share.whole(closest), several)  # (seeds, trials)
        away = share.distances(candidates.flatten())
        with one_thread():
            for own, distances in zip(candidates, away.split(trials, dim=1), strict=True):
                nearer = torch.minimum(closest, distances)
                best = int(share.totals(nearer).argmin())
                chosen.append(int(own[best]))
                closest = nearer[:, best : best + 1]
    return points[chosen].clone()


class _Share:
    """Rows in blocks of one size, of which a process has some: no number depends on how many."""

    def __init__(self, points: Tensor, shared: bool) -> None:
        self._points, self._count, self._shared = points, len(points), shared
        self._blocks = -(-self._count // _ROWS)
        cuts = ranks.cuts(self._blocks) if shared else [0, self._blocks]
        self._edges = [min(self._count, _ROWS * cut) for cut in cuts]
        rank = ranks.rank() if shared else 0
        self._first, stop = cuts[rank : rank + 2]
        self._start, self._stop = self._edges[rank : rank + 2]
        rows = points.new_zeros((stop - self._first) * _ROWS, points.shape[1])
        rows[: self._stop - self._start] = points[self._start : self._stop]
        self._rows = rows.view(stop - self._first, _ROWS, points.shape[1])
        self._squares = self._rows.square().sum(2)
        self._memory = points.new_empty(0)

    def distances(self, numbers: Int[Tensor, " c"]) -> Float[Tensor, "blocks c rows"]:
        """Squared distances of this share to the rows of these numbers; 0 past the end.

        They are overwritten by those of the next call: fresh memory takes as long again.
        """
        shape = (len(self._rows), len(numbers), _ROWS)
        if self._memory.numel() < math.prod(shape):
            self._memory = self._rows.new_empty(math.prod(shape))
        away = self._memory[: math.prod(shape)].view(shape)
        candidates = self._points[numbers]
        own = candidates.square().sum(1)[:, None]
        for rows, squares, out in zip(self._rows, self._squares, away, strict=True):
            torch.add(squares, own, out=out).addmm_(candidates, rows.T, alpha=-2.0)
        away.clamp_min_(0.0)
        here = (numbers >= self._start) & (numbers < self._stop)
        places = numbers[here] - self._first * _ROWS
        away[places // _ROWS, here.nonzero().squeeze(1), places % _ROWS] = 0.0  # to itself
        past = len(self._rows) * _ROWS - (self._stop - self._start)
        if past:
            away[-1, :, _ROWS - past :] = 0.0
        return away

    def totals(self, away: Float[Tensor, "blocks c rows"]) -> Float[Tensor, " c"]:
        """Sum over the rows of all shares, in the order of the blocks."""
        totals = away.new_zeros(self._blocks, away.shape[1], dtype=torch.float64)
        totals[self._first : self._first + len(away)] = away.sum(2, dtype=torch.float64)
        return (ranks.added(totals) if self._shared else totals).sum(0)

    def whole(self, closest: Float[Tensor, "blocks 1 rows"]) -> Float[Tensor, " n"]:
        """Give the distances of the rows of all shares."""
        own = closest.flatten()[: self._stop - self._start]
        if not self._shared:
            return own
        found = own.new_empty(self._count)
        found[self._start : self._stop] = own
        ranks.spread(found, self._edges)
        return found


def _drawn(closest: Tensor, draws: Tensor) -> Tensor:
    """Rows drawn in proportion to `closest`, by uniform numbers of any shape."""
    mass = closest.double().cpu().cumsum(0)  # on CUDA cumsum has no deterministic kernel
    places = torch.searchsorted(mass, draws * mass[-1], right=True)
    return places.clamp_max(len(closest) - 1).to(closest.device)


def _to_candidates(points: Tensor, squares: Tensor, candidates: Tensor) -> Tensor:
    """Squared distances of all rows to some of them; exactly 0 from a row to itself."""
    away = squares[:, None] + squares[candidates] - 2.0 * (points @ points[candidates].T)
    away = away.clamp_min(0.0)
    away[candidates, torch.arange(len(candidates))] = 0.0
    return away
