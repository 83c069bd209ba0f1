"""Seeds of k-means: greedy k-means++ (Arthur & Vassilvitskii 2007), one at a time or several."""

import math
from contextlib import nullcontext

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from nemd_toolkit import ranks
from nemd_toolkit.seeding_kernel import RUN, totals_if_taken
from nemd_toolkit.threads import one_thread

__all__ = ["plus_plus"]

_BLOCK = 16_777_216  # entries of one block of products: 64 MB in float32
_ROWS = 4_096  # of a block of one process at most; whole runs of the kernel
# Products of a seed's choice, 2 ms: telling the sums, that every choice waits for, takes .5 ms.
_WORTH_SHARING = 1e8
_PASSES = 32  # products in the time that a distance is compared and summed
_AHEAD = 1 / 64  # share of very many seeds that are drawn at a time, at most;
_LEAST_AHEAD = 8  # of more than fit a block: a product with few candidates takes twice the time


def plus_plus(
    points: Float[Tensor, "n d"],
    k: int,
    generator: torch.Generator,
    *,
    ahead: bool = False,
    shared: bool = False,
) -> Float[Tensor, "k d"]:
    """Choose k rows as seeds.

    A few candidates are drawn with probability proportional to the squared distance to the seeds
    before, and the one that lowers the total most is kept. ahead: candidates for several seeds at a
    time, eight or as many as fit a block, from the distances as these were before it, so that one
    product serves all; the choice among them is by the distances as they are. Several times faster.
    shared: each process computes the distances of its share of the rows where that pays; the seeds
    are the same.
    """
    n, trials = len(points), 2 + int(math.log(k))
    share = _Share(points, shared and n * trials * (points.shape[1] + _PASSES) >= _WORTH_SHARING)
    chosen = [int(torch.randint(n, (1,), generator=generator))]
    share.compare(torch.tensor(chosen, device=points.device))
    share.take(0)
    draws = torch.rand(k - 1, trials, generator=generator, dtype=torch.float64)
    fit = max(_LEAST_AHEAD, _BLOCK // (n * trials))
    step = max(1, min(int(_AHEAD * k), fit)) if ahead else 1
    with one_thread() if step == 1 else nullcontext():
        for several in draws.split(step):
            candidates = share.drawn(several).flatten()
            share.compare(candidates)
            with one_thread():
                for first in range(0, len(candidates), trials):
                    best = first + int(share.totals(first, trials).argmin())
                    chosen.append(int(candidates[best]))
                    share.take(best)
    return points[chosen].clone()


class _Share:
    """Rows in blocks of one size, of which a process has some: no number depends on how many.

    And the squared distance of each to the nearest seed, 0 past the end.
    """

    def __init__(self, points: Tensor, shared: bool) -> None:
        self._points, self._count, self._shared = points, len(points), shared
        self._size = min(_ROWS, -(-self._count // RUN) * RUN)
        self._blocks = -(-self._count // self._size)
        cuts = ranks.cuts(self._blocks) if shared else [0, self._blocks]
        self._edges = [min(self._count, self._size * cut) for cut in cuts]
        rank = ranks.rank() if shared else 0
        self._first, stop = cuts[rank : rank + 2]
        self._start, self._stop = self._edges[rank : rank + 2]
        rows = points.new_zeros((stop - self._first) * self._size, points.shape[1])
        rows[: self._stop - self._start] = points[self._start : self._stop]
        self._rows = rows.view(stop - self._first, self._size, points.shape[1])
        self._squares = self._rows.square().sum(2)
        self._closest = torch.full_like(self._squares, torch.inf)
        self._closest.view(-1)[self._stop - self._start :] = 0.0
        self._memory = points.new_empty(0)

    def drawn(self, draws: Float64[Tensor, "*s"]) -> Int[Tensor, "*s"]:
        """Rows drawn in proportion to their squared distances, by uniform numbers of any shape."""
        closest = self._closest.flatten()[: self._stop - self._start]
        if self._shared:
            own, closest = closest, closest.new_empty(self._count)
            closest[self._start : self._stop] = own
            ranks.spread(closest, self._edges)
        mass = closest.double().cpu().cumsum(0)  # on CUDA cumsum has no deterministic kernel
        places = torch.searchsorted(mass, draws * mass[-1], right=True)
        return places.clamp_max(self._count - 1).to(closest.device)

    def compare(self, candidates: Int[Tensor, " c"]) -> None:
        """Multiply rows by candidates, the rows of these numbers, for `totals` and `take`.

        The products take the place of those before: fresh memory takes as long again.
        """
        rows = self._points[candidates]
        shape = (len(self._rows), len(candidates), self._size)
        if self._memory.numel() < math.prod(shape):
            self._memory = self._rows.new_empty(math.prod(shape))
        self._products = self._memory[: math.prod(shape)].view(shape)
        self._candidates, self._own = candidates, rows.square().sum(1)
        for block, out in zip(self._rows, self._products, strict=True):
            torch.mm(rows, block.T, out=out)

    def totals(self, first: int, count: int) -> Float64[Tensor, " c"]:
        """Sum of the squared distances of all rows if one of `count` candidates were a seed.

        Over the rows of all shares, in the order of the blocks.
        """
        own = self._own[first : first + count]
        sums = own.new_zeros(self._blocks, count, dtype=torch.float64)
        here = sums[self._first : self._first + len(self._rows)]
        if here.is_cuda:
            apart = self._squared_distances(first, count)
            torch.sum(apart.minimum(self._closest[:, None]), 2, dtype=torch.float64, out=here)
        else:
            given = (self._products, self._squares, self._closest, own, here)
            totals_if_taken(*(tensor.numpy() for tensor in given), first)
        return (ranks.added(sums) if self._shared else sums).sum(0)

    def take(self, place: int) -> None:
        """Let a candidate be a seed."""
        apart = self._squared_distances(place, 1)[:, 0]
        torch.minimum(self._closest, apart, out=self._closest)
        number = int(self._candidates[place])
        if self._start <= number < self._stop:  # to itself
            self._closest.view(-1)[number - self._first * self._size] = 0.0

    def _squared_distances(self, first: int, count: int) -> Float[Tensor, "blocks c rows"]:
        some = slice(first, first + count)
        squares = self._squares[:, None] + self._own[some, None]
        return squares.sub_(self._products[:, some], alpha=2).clamp_min_(0.0)
