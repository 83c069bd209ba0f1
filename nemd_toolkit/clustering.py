"""k-means on any torch device, spherical (cosine) or Euclidean, deterministic by seed.

Lloyd's iterations from k-means++ seeds. Memory is bounded by blocks of rows, whatever n and k.
k-means "succeeds" on identical points, so the number of clusters in use is part of the answer.

Beyond 65,536 rows and 40 rows a centroid, centroids are fitted to a random sample of so many rows
(FAISS, Johnson et al. 2019, warns below 39 a centroid and stops at 256); then every row is
assigned. Beyond 16,384 rows, seeds are chosen among a sample, and fitting ends when fewer than one
in a thousand rows changes its centroid. From 256 centroids on, candidates for several seeds are
drawn at a time (a third of the time, the same objective). Where more than 65,536 rows are fitted
to, that is so as well, and fitting ends when a step lowers the objective by less than a thousandth:
at most 0.2 % above that of 25 steps where measured, in a third of the time.

Sums of members are exact: entries are rounded to a grid on which no sum of so many is rounded. So
they do not depend on an order, on threads, or on how many processes (`ranks`) share the rows. These
are shared in whole blocks, which all cut alike. Rows may be mapped from a file: of those that
centroids are fitted to, a process holds its own share, and of the others a block at a time.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from nemd_toolkit import ranks
from nemd_toolkit.errors import InputError
from nemd_toolkit.exact_sums import Grid
from nemd_toolkit.progress import bar
from nemd_toolkit.scratch import release, rows_at
from nemd_toolkit.seeding import plus_plus, plus_plus_ahead
from nemd_toolkit.stages import fingerprint, kept
from nemd_toolkit.threads import one_thread

__all__ = ["KMeans", "kmeans", "rows_to_fit"]

_TINY = 1e-30
_BLOCK = 16_777_216  # entries of one (rows, k) block: 64 MB in float32
_CACHED = 1_048_576  # entries of a block that one core works on: 4 MB
_PART, _LEAST_ROWS = 262_144, 32  # entries, rows at a time where k is of no matter: 1 MB
_ENOUGH_ROWS, _ENOUGH_ROWS_EACH = 65_536, 40  # to fit centroids to, in all and for each
_SEED_ROWS, _SEED_ROWS_EACH = 16_384, 8  # to choose seeds among: it takes time as rows·k·log k
_MANY_SEEDS = 256
_MOVED = 1e-3  # share of many rows that change their centroid: below it fitting ends
_FELL = 1e-3  # share by which a step lowers the objective of very many rows: below it as well
_WORTH_SHARING = 2e8  # products of a step: some milliseconds, ten times what it takes to agree


@dataclass(frozen=True, slots=True, kw_only=True)
class KMeans:
    """Centroids, which one each row belongs to, and how far away it is."""

    centroids: Float[Tensor, "k d"]  # unit rows if spherical; plain means otherwise
    assignment: Int[Tensor, " n"]
    squared_distances: Float[Tensor, " n"]  # to the row's centroid, as it stands in `centroids`
    iterations: int
    converged: bool
    fitted_rows: int  # rows that the centroids were fitted to

    @property
    def objective(self) -> float:
        """Mean squared distance to the centroid; lower is better."""
        return float(self.squared_distances.double().mean())

    @property
    def used(self) -> int:
        """How many centroids have members."""
        return len(self.assignment.unique())


def kmeans(
    points: Float[Tensor, "n d"],
    k: int,
    *,
    seed: int = 0,
    spherical: bool = True,
    iterations: int = 25,
    restarts: int = 1,
    most_rows: int | None = None,
) -> KMeans:
    """Cluster rows into at most k groups; the best of `restarts` runs by objective.

    Spherical: rows must be unit vectors, and centroids are mean directions. Where fewer than k
    distinct rows exist, the surplus centroids stay without members (see `KMeans.used`). most_rows:
    to fit to, `rows_to_fit` by default. Raises InputError if k is not in 1…n.

    >>> points = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    >>> result = kmeans(points, 2)
    >>> bool(result.assignment[0] == result.assignment[1]), result.used, result.objective
    (True, 2, 0.0)
    """
    if not 1 <= k <= len(points):
        raise InputError(
            f"prototypes: expected between 1 and {len(points)} (the number of samples), got {k}; "
            "ask for fewer prototypes or give more samples"
        )
    most = rows_to_fit(len(points), k) if most_rows is None else most_rows
    chosen = _some(len(points), most, seed)
    if points.is_cuda:  # stages lie in files
        return _best(points, chosen, k, seed, spherical, iterations, restarts)
    return kept(
        f"k-means-{k}",
        lambda: (fingerprint(points), k, seed, spherical, iterations, restarts, most),
        lambda: _best(points, chosen, k, seed, spherical, iterations, restarts),
        _plain,
        _from_plain,
    )


def _best(
    points: Tensor,
    chosen: Tensor | None,
    k: int,
    seed: int,
    spherical: bool,
    iterations: int,
    restarts: int,
) -> KMeans:
    """Fit to all rows or those chosen, and place all."""
    rows = _Rows(points, chosen, k)
    grid = rows.grid(1.0 if spherical else None)
    with bar(f"k-means, K={k:,}", restarts * (1 + iterations)) as advance:
        runs = [
            # any fixed stride of seeds will do
            _lloyd(rows, k, seed + 7919 * run, spherical, iterations, grid, advance)
            for run in range(restarts)
        ]
    best = min(runs, key=lambda run: run.placed.total)
    placed = best.placed
    if chosen is not None:
        rows = _Rows(points, None, k)
        placed = rows.place(best.centroids)
    return KMeans(
        centroids=best.centroids,
        assignment=rows.all_of(placed.nearest),
        squared_distances=rows.all_of(placed.squared),
        iterations=best.iterations,
        converged=best.converged,
        fitted_rows=len(points) if chosen is None else len(chosen),
    )


def _plain(found: KMeans) -> list[NDArray[Any]]:
    ended = np.array([found.iterations, found.converged, found.fitted_rows])
    tensors = (found.centroids, found.assignment, found.squared_distances)
    return [*(tensor.numpy() for tensor in tensors), ended]


def _from_plain(arrays: list[NDArray[Any]]) -> KMeans:
    centroids, assignment, squared = map(torch.from_numpy, arrays[:3])
    iterations, converged, fitted_rows = arrays[3].tolist()
    return KMeans(
        centroids=centroids,
        assignment=assignment,
        squared_distances=squared,
        iterations=iterations,
        converged=bool(converged),
        fitted_rows=fitted_rows,
    )


def rows_to_fit(n: int, k: int) -> int:
    """Rows of n that k centroids are fitted to.

    >>> rows_to_fit(10_000, 100), rows_to_fit(1_280_000, 100), rows_to_fit(1_280_000, 10_000)
    (10000, 65536, 400000)
    """
    return min(n, max(_ENOUGH_ROWS, _ENOUGH_ROWS_EACH * k))


def _some(count: int, most: int, seed: int) -> Int[Tensor, " m"] | None:
    """Draw so many rows; None for all of them, where there are no more."""
    if count <= most:
        return None
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:most]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """Rows of this process with their nearest centroids, and sums over the rows of all."""

    nearest: Int[Tensor, " m"]
    squared: Float[Tensor, " m"]
    sums: Float[Tensor, "k d"] | None  # of each centroid's members, float64, where asked for
    sizes: Int[Tensor, " k"]
    total: float  # of the squared distances
    moved: int  # rows with another centroid than before


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """Where one run ended."""

    centroids: Float[Tensor, "k d"]
    placed: _Placed
    iterations: int
    converged: bool


def _lloyd(
    rows: "_Rows",
    k: int,
    seed: int,
    spherical: bool,
    iterations: int,
    grid: Grid,
    advance: Callable[[int], None],
) -> _Fit:
    centroids = rows.agreed(_seeds(rows, k, seed))
    very_many = rows.count > _ENOUGH_ROWS
    enough = _MOVED * rows.count if rows.count > _SEED_ROWS else 0.0
    placed = rows.place(centroids, grid)
    converged = False
    step = 0
    advance(1)  # the seeds
    while step < iterations and not converged:
        step += 1
        advance(1)
        centroids = rows.agreed(_means(rows, placed, centroids, spherical))
        before = placed
        placed = rows.place(centroids, grid if step < iterations else None, before)
        converged = placed.moved <= enough
        if very_many:
            converged |= placed.total / max(before.total, _TINY) > 1 - _FELL
    return _Fit(centroids=centroids, placed=placed, iterations=step, converged=converged)


def _seeds(rows: "_Rows", k: int, seed: int) -> Float[Tensor, "k d"]:
    among = rows.some(max(_SEED_ROWS, _SEED_ROWS_EACH * k), seed)
    ahead = rows.count > _ENOUGH_ROWS or k >= _MANY_SEEDS
    generator = torch.Generator().manual_seed(seed)
    return (plus_plus_ahead if ahead else plus_plus)(among, k, generator)


class _Rows:
    """The rows to fit to or to assign, in blocks; of several processes each has a run of them."""

    def __init__(self, points: Tensor, chosen: Tensor | None, k: int) -> None:
        self._points, self._chosen, self._k = points, chosen, k
        self.count = len(points) if chosen is None else len(chosen)
        self._block = _rows_at_a_time(points, k)
        blocks = -(-self.count // self._block)
        worth = self.count * k * points.shape[1] >= _WORTH_SHARING and not points.is_cuda
        self._shared = worth and ranks.workers() > 1
        places = ranks.cuts(blocks) if self._shared else [0, blocks]
        self._edges = [min(self.count, self._block * place) for place in places]
        rank = ranks.rank() if self._shared else 0
        self._start, stop = self._edges[rank : rank + 2]
        self._own = self.at(slice(self._start, stop))

    def at(self, places: slice | Tensor) -> Tensor:
        """Give rows by their places among those to fit to: a view where that is possible."""
        if self._chosen is None:
            return self._points[places]
        return rows_at(self._points, self._chosen[places].to(self._points.device))

    def some(self, most: int, seed: int) -> Tensor:
        """Draw so many rows, or give all as they come where there are no more."""
        places = _some(self.count, most, seed)
        return self.at(slice(None) if places is None else places)

    def grid(self, largest: float | None) -> Grid:
        """Give a grid on which sums of the rows are exact; `largest`: entry, where it is known."""
        if largest is None:
            largest = max(
                (float(part.abs().max()) for part in self._own.split(_LEAST_ROWS * 128)),
                default=0.0,
            )
            if self._shared:
                largest = float(ranks.gathered(torch.tensor([largest])).max())
        return Grid.of(self.count, largest)

    def agreed(self, x: Tensor) -> Tensor:
        """Give the first process's to those that share."""
        return ranks.agreed(x) if self._shared else x

    def all_of(self, own: Tensor) -> Tensor:
        """Give the numbers of all rows where each process has those of its own."""
        if not self._shared:
            return own
        whole = own.new_empty(self.count)
        whole[self._start : self._start + len(own)] = own
        ranks.spread(whole, self._edges)
        return whole

    def place(
        self, centroids: Tensor, grid: Grid | None = None, before: _Placed | None = None
    ) -> _Placed:
        """Find each row's nearest centroid; on a grid, with the sums of each centroid's rows."""
        nearest, squared, sums = _nearest(self._own, centroids, self._block, grid)
        moved = 0 if before is None else int((nearest != before.nearest).sum())
        totals = torch.zeros(-(-self.count // self._block), dtype=torch.float64)
        first = self._start // self._block  # sums of blocks are added in the order of the rows
        for place, block in enumerate(squared.split(self._block), first):
            totals[place] = block.sum(dtype=torch.float64)
        sizes = torch.bincount(nearest, minlength=self._k)
        counted = torch.cat([sizes.cpu(), torch.tensor([moved])])
        if self._shared:
            ranks.added(totals), ranks.added(counted)
            if sums is not None:
                ranks.added(sums)
        return _Placed(
            nearest=nearest,
            squared=squared,
            sums=sums,
            sizes=counted[:-1].to(nearest.device),
            total=sum(totals.tolist()),
            moved=int(counted[-1]),
        )


def _nearest(
    points: Tensor, centroids: Tensor, rows: int, grid: Grid | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Index of, and squared distance to, the nearest centroid; the lowest index wins ties.

    And the sums of the rows of each centroid. Threads of ours share the blocks, each with torch on
    one thread: a block is too short for two. Its rows do not depend on the number of threads, and
    sums are exact, so that the answer does not.
    """
    half = 0.5 * centroids.square().sum(1)
    nearest = torch.empty(len(points), dtype=torch.long, device=points.device)
    squared = points.new_empty(len(points))
    sums = None if grid is None else torch.zeros_like(centroids, dtype=torch.float64)
    blocks = list(zip(*(t.split(rows) for t in (points, nearest, squared)), strict=True))
    each = max(_LEAST_ROWS, _PART // points.shape[1])
    adding = threading.Lock()  # one sum for all threads: it may be as large as the rows

    def take(some: Sequence[tuple[Tensor, Tensor, Tensor]]) -> None:
        scores = points.new_empty(min(rows, len(points)), len(centroids))  # one for all: memory
        apart = points.new_empty(each, points.shape[1])
        wide = torch.empty_like(apart, dtype=torch.float64)
        for block, found, away in some:
            own = scores[: len(block)]
            torch.addmm(half, block, centroids.T, alpha=-1.0, out=own)
            torch.argmin(own, 1, out=found)
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

    threads = 1 if points.is_cuda else min(torch.get_num_threads(), len(blocks))
    if threads <= 1:
        take(blocks)
        return nearest, squared, sums
    with one_thread(), ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(take, blocks[first::threads]) for first in range(threads)]:
            done.result()
    return nearest, squared, sums


def _rows_at_a_time(points: Tensor, k: int) -> int:
    """Give rows whose scores stay in the cache of a core, where there are not very many centroids.

    With fewer than 512 rows a product spends its time on the centroids; on a GPU larger is faster.
    """
    most = max(1, _BLOCK // k)
    return most if points.is_cuda else min(most, max(512, _CACHED // k))


def _means(rows: _Rows, placed: _Placed, centroids: Tensor, spherical: bool) -> Tensor:
    """Means (or mean directions) of the members; an empty cluster takes over the worst-placed row.

    A row that already lies on its centroid is not worth taking: its cluster then stays empty.
    """
    assert placed.sums is not None  # asked for before every step
    sizes = placed.sizes[:, None]
    means = (placed.sums / sizes.clamp_min(1)).to(centroids.dtype)
    means = torch.where(sizes > 0, means, centroids)
    empty = (placed.sizes == 0).nonzero().squeeze(1)
    if len(empty):
        squared = rows.all_of(placed.squared)
        worst = squared.topk(min(len(empty), len(squared))).indices
        worst = worst[squared[worst] > 0]
        means[empty[: len(worst)]] = rows.at(worst.cpu())
    if not spherical:
        return means
    lengths = means.norm(dim=1, keepdim=True)  # members that cancel keep their old direction
    return torch.where(lengths > 0, means / lengths.clamp_min(_TINY), centroids)
