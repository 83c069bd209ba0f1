"""Rows and the centroids nearest to them: in blocks, which processes and threads share.

Sums of members are exact: entries are rounded to a grid on which no sum of so many is rounded. So
they do not depend on an order, on threads, or on how many processes (`ranks`) share the rows. These
are shared in whole blocks, which all cut alike. Rows may be mapped from a file: of those that
centroids are fitted to, a process holds its own share, and of the others a block at a time.
"""

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nemd_toolkit import ranks
from nemd_toolkit.exact_sums import Grid
from nemd_toolkit.nearest_centroid import TILE, Search
from nemd_toolkit.progress import bar
from nemd_toolkit.scratch import release, rows_at
from nemd_toolkit.threads import in_threads

if TYPE_CHECKING:  # compiling takes time, which few rows do not need
    from nemd_toolkit.pruning import Bound, PrunedSearch

__all__ = ["Placed", "Rows", "nearest_directions", "some_of"]

_BLOCK = 16_777_216  # entries of one (rows, k) block: 64 MB in float32
_CACHED = 1_048_576  # entries of a block that one core works on: 4 MB
_PART, _LEAST_ROWS = 262_144, 32  # entries, rows at a time where k is of no matter: 1 MB
_WORTH_PRUNING = 2e9  # products of a step: below it a compiler's time is not worth it
_FEWER = 8  # a bound's directions for each centroid, where rows are shortened at every step
_GATHERED = 8_192  # rows copied at a time where some are taken of many
_WORTH_A_BAR = 3e10  # products: about a second
_WORTH_SHARING = 2e8  # products of a step: some milliseconds, ten times what it takes to agree


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Rows of this process with their nearest centroids, and sums over the rows of all."""

    nearest: Int[Tensor, " m"]
    squared: Float[Tensor, " m"]
    sums: Float[Tensor, "k d"] | None  # of each centroid's members, float64, where asked for
    sizes: Int[Tensor, " k"]
    total: float  # of the squared distances
    moved: int  # rows with another centroid than before


class Rows:
    """The rows to fit to or to assign, in blocks; of several processes each has a run of them."""

    def __init__(self, points: Tensor, chosen: Tensor | None, k: int) -> None:
        self._points, self._chosen, self._k = points, chosen, k
        self.count = len(points) if chosen is None else len(chosen)
        self._block = _rows_at_a_time(points, k)
        blocks = -(-self.count // self._block)
        worth = self.count * k * points.shape[1] >= _WORTH_SHARING and not points.is_cuda
        self.shared = worth and ranks.workers() > 1
        places = ranks.cuts(blocks) if self.shared else [0, blocks]
        self._edges = [min(self.count, self._block * place) for place in places]
        rank = ranks.rank() if self.shared else 0
        self._start, stop = self._edges[rank : rank + 2]
        self._own = self.at(slice(self._start, stop))
        self.bound: Bound | None = None
        self._short: list[Tensor] | None = None

    def at(self, places: slice | Tensor) -> Tensor:
        """Give rows by their places among those to fit to: a view where that is possible."""
        if self._chosen is None:
            return self._points[places]
        return rows_at(self._points, self._chosen[places].to(self._points.device))

    def some(self, most: int, seed: int) -> Tensor:
        """Draw so many rows, or give all as they come where there are no more."""
        places = some_of(self.count, most, seed)
        return self.at(slice(None) if places is None else places)

    def grid(self, largest: float | None) -> Grid:
        """Give a grid on which sums of the rows are exact; `largest`: entry, where it is known."""
        if largest is None:
            largest = max(
                (float(part.abs().max()) for part in self._own.split(_LEAST_ROWS * 128)),
                default=0.0,
            )
            if self.shared:
                largest = float(ranks.gathered(torch.tensor([largest])).max())
        return Grid.of(self.count, largest)

    def agreed(self, x: Tensor) -> Tensor:
        """Give the first process's to those that share the rows."""
        return ranks.agreed(x) if self.shared else x

    def all_of(self, own: Tensor) -> Tensor:
        """Give the numbers of all rows where each process has those of its own, the same in all."""
        if not self.shared:
            return ranks.agreed(own) if ranks.workers() > 1 and not own.is_cuda else own
        whole = own.new_empty(self.count)
        whole[self._start : self._start + len(own)] = own
        ranks.spread(whole, self._edges)
        return whole

    def prune(self, centroids: Tensor) -> None:
        """Let a bound pass over centroids from now on, if one pays.

        What it compares first is kept for each row: some of their memory more.
        """
        self.bound = _bound(self._points, self.count, centroids, lambda most: self.some(most, 0))
        if self.bound is not None:
            self._short = [self.bound.shortened(b) for b in self._own.split(self._block)]

    def prune_by(self, bound: "Bound | None") -> None:
        """Take a bound found for others of these rows, if it pays to shorten each when it comes."""
        self.bound = bound if _pays(bound, self._k) else None

    def _search(self, centroids: Tensor, before: Placed | None) -> "Search | PrunedSearch":
        if self.bound is None:
            return Search(centroids)
        from nemd_toolkit.pruning import PrunedSearch

        earlier = None if before is None else before.nearest.split(self._block)
        return PrunedSearch(self.bound, centroids, self._short, earlier)

    def place(
        self, centroids: Tensor, grid: Grid | None = None, before: Placed | None = None
    ) -> Placed:
        """Find each row's nearest centroid; on a grid, with the sums of each centroid's rows."""
        search = self._search(centroids, before)
        own = 0 if grid else len(self._own)  # on a grid it is a step, and steps are shown
        with _bar_of_rows(own, centroids) as advance:
            found = _nearest(self._own, centroids, search, self._block, grid, advance)
        nearest, squared, sums = found
        moved = 0 if before is None else int((nearest != before.nearest).sum())
        totals = torch.zeros(-(-self.count // self._block), dtype=torch.float64)
        first = self._start // self._block  # sums of blocks are added in the order of the rows
        if len(squared):
            for place, block in enumerate(squared.split(self._block), first):
                totals[place] = block.sum(dtype=torch.float64)
        sizes = torch.bincount(nearest, minlength=self._k)
        counted = torch.cat([sizes.cpu(), torch.tensor([moved])])
        if self.shared:
            ranks.added(totals)
            ranks.added(counted)
            if sums is not None:
                ranks.added(sums)
        return Placed(
            nearest=nearest,
            squared=squared,
            sums=sums,
            sizes=counted[:-1].to(nearest.device),
            total=sum(totals.tolist()),
            moved=int(counted[-1]),
        )


def _nearest(
    points: Tensor,
    centroids: Tensor,
    search: "Search | PrunedSearch",
    rows: int,
    grid: Grid | None,
    advance: Callable[[int], None],
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Find the number of, and squared distance to, the nearest centroid of each row.

    And the sums of the rows of each centroid. Threads of ours share the blocks, each with torch on
    one thread: a block is too short for two. Its rows do not depend on the number of threads, and
    sums are exact, so that the answer does not.
    """
    nearest = torch.empty(len(points), dtype=torch.long, device=points.device)
    squared = points.new_empty(len(points))
    sums = None if grid is None else torch.zeros_like(centroids, dtype=torch.float64)
    parts = zip(*(t.split(rows) for t in (points, nearest, squared)), strict=True)
    blocks = [(number, *block) for number, block in enumerate(parts)]
    each = max(_LEAST_ROWS, _PART // points.shape[1])
    adding = threading.Lock()  # one sum for all threads: it may be as large as the rows

    def take(some: Iterable[tuple[int, Tensor, Tensor, Tensor]]) -> None:
        scores = points.new_empty(min(rows, len(points)) * search.width)  # one for all: memory
        apart = points.new_empty(each, points.shape[1])
        wide = torch.empty_like(apart, dtype=torch.float64)
        for number, block, found, away in some:
            search.find(number, block, scores, found)
            for part, which, out in zip(
                *(t.split(each) for t in (block, found, away)), strict=True
            ):
                # by differences: float32 |x|^2 + |c|^2 - 2xc is wrong by up to 1e-3 near a centroid
                torch.index_select(centroids, 0, which, out=apart[: len(part)])
                torch.sum(apart[: len(part)].sub_(part).square_(), 1, out=out)
                if grid is not None and sums is not None:
                    rounded = grid.rounded(part, wide[: len(part)])
                    with adding:
                        sums.index_add_(0, which, rounded)
            release(block)
            advance(len(block))

    in_threads(blocks, take, alone=points.is_cuda)
    return nearest, squared, sums


def nearest_directions(
    points: Float[Tensor, "n d"],
    directions: Float[Tensor, "k d"],
    rows: Int[Tensor, " m"] | None = None,
) -> Int[Tensor, " m"]:
    """Give the direction of highest cosine to each row, or to `rows`; the lowest index wins ties.

    Directions are unit rows. Processes and threads share the work, rows are copied a few at a time.

    >>> nearest_directions(torch.eye(2), torch.tensor([[0.6, 0.8], [1.0, 0.0]]))
    tensor([1, 0])
    """
    count = len(points) if rows is None else len(rows)

    def at(places: slice | Tensor) -> Tensor:
        return points[places] if rows is None else rows_at(points, rows[places])

    def some(most: int) -> Tensor:
        places = some_of(count, most, 0)
        return at(slice(None) if places is None else places)

    search = _search_for(points, count, directions, some)
    each = _rows_at_a_time(points, len(directions))

    def nearest(part: slice) -> Tensor:
        own = at(part)
        found = torch.empty(len(own), dtype=torch.long, device=own.device)
        scores = own.new_empty(min(each, len(own)) * search.width)
        for block, out in zip(own.split(each), found.split(each), strict=True):
            search.find(0, block, scores, out)  # the number is of no matter here
        release(own)
        advance(len(own))
        return found.cpu()

    at_a_time = count if points.is_cuda else max(each, _GATHERED)
    with _bar_of_rows(count // ranks.workers(), directions) as advance:
        return ranks.by_blocks(count, at_a_time, nearest).to(points.device)


def _search_for(
    points: Tensor, count: int, directions: Tensor, some: Callable[[int], Tensor]
) -> "Search | PrunedSearch":
    """Search with a bound where one pays for rows that are shortened when they come."""
    bound = _bound(points, count, directions, some)
    if not _pays(bound, len(directions)):
        return Search(directions)
    from nemd_toolkit.pruning import PrunedSearch

    assert bound is not None
    return PrunedSearch(bound, directions, None, None)


def _bound(
    points: Tensor, count: int, centroids: Tensor, some: Callable[[int], Tensor]
) -> "Bound | None":
    """Find a bound for so many rows, of which `some` gives as many as asked for, if one pays."""
    k, dim = centroids.shape
    if points.is_cuda or points.dtype != torch.float32 or count * k * dim < _WORTH_PRUNING:
        return None
    from nemd_toolkit.pruning import SAMPLED, bound_for, may_pay

    return bound_for(some(SAMPLED), centroids) if may_pay(count, k, dim) else None


def _bar_of_rows(own: int, centroids: Tensor) -> AbstractContextManager[Callable[[int], None]]:
    """Show how many rows of this process have a centroid, where that takes a while."""
    worth = own * centroids.numel() >= _WORTH_A_BAR
    return bar(f"giving rows to {len(centroids):,} prototypes", own if worth else 0)


def _pays(bound: "Bound | None", k: int) -> bool:
    """Whether a bound pays where every row has to be shortened for it."""
    return bound is not None and k >= _FEWER * bound.basis.shape[1]


def _rows_at_a_time(points: Tensor, k: int) -> int:
    """Give rows whose scores stay in the cache of a core; on a GPU more is faster.

    With fewer than 512 rows a product spends its time on the centroids.
    """
    if points.is_cuda:
        return max(1, _BLOCK // k)
    return max(512, _CACHED // min(k, TILE) // 512 * 512)


def some_of(count: int, most: int, seed: int) -> Int[Tensor, " m"] | None:
    """Draw so many rows; None for all of them, where there are no more."""
    if count <= most:
        return None
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:most]
