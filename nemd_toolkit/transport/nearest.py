"""Nearest cloud of each cloud in Wasserstein-1, found exactly by bounds of rising cost.

1. centroids: |m_p − m_q| ≤ W1, for all candidates of a block of queries by one product;
2. certified intervals for the few candidates that moments predict to be near: an upper bound;
3. points: a quick lower bound from all distances of the two clouds (kernels/quick);
4. certified intervals of what is left, most promising first;
5. exact costs of what still overlaps, most promising first.

A candidate is dropped as soon as its lower bound lies above its query's least upper bound.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64
from numpy.typing import ArrayLike
from torch import Tensor

from nemd_toolkit.errors import InputError
from nemd_toolkit.progress import bar, show_progress
from nemd_toolkit.transport.clouds import as_cloud
from nemd_toolkit.transport.lower_bounds import (
    Frame,
    Near,
    centroid_bounds,
    quick_lower_bounds,
    squared_distances,
)
from nemd_toolkit.transport.many import pairwise_wasserstein1
from nemd_toolkit.transport.moments import Moments, cloud_moments

__all__ = ["Nearest", "nearest_clouds"]

_LEFT_OUT, _BOUNDED, _INTERVAL, _SOLVED = range(-1, 3)  # what is known of a candidate
_TIE = 1e-10  # of a query's spread and cost: costs closer than this are a tie
_SEEDS = 8  # candidates a query that get an interval first; ours
_ENTRIES = 2**23  # of the matrix of lower bounds: 67 MB
_HELD = 2**23  # coordinates of clouds held at a time
_CHUNK = 2**20  # coordinates of candidates bounded at a time: 4 MB of float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """Nearest other cloud of each query, and the work that it took.

    Where `certified`, no other cloud is nearer than `index` (ties aside), and `lower` = `cost`.
    Elsewhere (only with a budget) the distance to the nearest cloud lies in `lower`…`cost`.
    """

    queries: Int64[np.ndarray, " q"]
    index: Int64[np.ndarray, " q"]
    cost: Float64[np.ndarray, " q"]  # exact W1 between query and index
    lower: Float64[np.ndarray, " q"]
    certified: Bool[np.ndarray, " q"]
    candidates: int  # pairs of a query and another cloud
    after_centroids: int  # of these, not excluded by centroids (nor left out by the budget)
    after_points: int  # of these, not excluded by quick bounds
    intervals: int  # certified intervals computed; a pair of two queries counts once
    solved: int  # exact costs computed, counted alike


def nearest_clouds(
    clouds: Sequence[ArrayLike | Tensor],
    *,
    of: ArrayLike | None = None,
    most: int | None = None,
) -> Nearest:
    """Find the nearest other cloud in Wasserstein-1 of every cloud (n_i, d), or of those in `of`.

    The answer is that of the full matrix of exact costs, by far fewer solves. Costs within 1e-10 of
    the query's spread and cost are a tie, and the lowest index wins.

    most: a budget, candidates a query that are looked at beyond their centroid (those that moments
    predict to be nearest). Whether that proves the answer is said for each query.

    Clouds are read when needed, so `MemberClouds` over a memory-mapped array will do. Memory: some
    0.3 GB for bounds, as much for clouds, K·d numbers for means. Works on torch's threads.

    Raises InputError for unusable clouds, fewer than two, queries that are not distinct indices,
    and a budget below 1; NotOptimal naming the pair.

    >>> found = nearest_clouds([[[0.0], [2.0]], [[1.0], [3.0]], [[7.0]]])
    >>> found.index
    array([1, 0, 1])
    >>> found.cost
    array([1., 1., 5.])
    """
    if most is not None and most < 1:
        raise InputError(f"most: expected at least 1, got {most}; leave it out to prove all")
    queries = _query_index(of, len(clouds))
    moments = cloud_moments(clouds)
    frame = Frame.of(moments, as_cloud(clouds[0], "cloud 0").numpy())
    blocks = _blocks(queries, moments, len(clouds))
    with bar("nearest", len(queries) * len(clouds)) as advance:
        searches = [_search(clouds, moments, frame, block, most, advance) for block in blocks]
    return Nearest(
        queries=queries,
        index=np.concatenate([part.index for part in searches]),
        cost=np.concatenate([part.cost for part in searches]),
        lower=np.concatenate([part.lower for part in searches]),
        certified=np.concatenate([part.certified for part in searches]),
        candidates=sum(part.candidates for part in searches),
        after_centroids=sum(part.after_centroids for part in searches),
        after_points=sum(part.after_points for part in searches),
        intervals=sum(part.intervals for part in searches),
        solved=sum(part.solved for part in searches),
    )


def _search(
    clouds: Sequence[ArrayLike | Tensor],
    moments: Moments,
    frame: Frame,
    queries: Int64[np.ndarray, " q"],
    most: int | None,
    advance: Callable[[int], None],
) -> Nearest:
    search = _Search(clouds, moments, frame, queries, most)
    search.seed()
    after_centroids = int(search.open().sum())
    search.bound_by_points(advance)
    after_points = int(search.open().sum())
    search.narrow(_INTERVAL)
    search.narrow(_SOLVED)
    left = np.asarray(search.open(left_out=True).any(axis=1))
    least = np.minimum(search.lower.min(axis=1), search.cost)
    return Nearest(
        queries=queries,
        index=search.index,
        cost=search.cost,
        lower=np.where(left, least, search.cost),
        certified=np.logical_not(left),
        candidates=len(queries) * (len(clouds) - 1),
        after_centroids=after_centroids,
        after_points=after_points,
        intervals=search.intervals,
        solved=search.solved,
    )


class _Search:
    """Bounds between a block of queries and all clouds, and how each candidate was bounded."""

    def __init__(
        self,
        clouds: Sequence[ArrayLike | Tensor],
        moments: Moments,
        frame: Frame,
        queries: Int64[np.ndarray, " q"],
        most: int | None,
    ) -> None:
        self.clouds, self.moments, self.frame, self.queries = clouds, moments, frame, queries
        count, rows = len(clouds), np.arange(len(queries))
        self.place = np.full(count, -1)  # row of each cloud that is a query
        self.place[queries] = rows
        squared = squared_distances(moments.means, queries)
        self.lower = centroid_bounds(squared, moments, queries, frame)
        self.lower[rows, queries] = np.inf
        self.stage: Int8[np.ndarray, "q k"] = np.full((len(queries), count), _BOUNDED, np.int8)
        squared += np.square(moments.spreads) + np.square(moments.spreads[queries])[:, None]
        squared[rows, queries] = np.inf
        near = min(count - 1, max(_SEEDS, most or 0))
        order = np.argpartition(squared, near - 1, axis=1)[:, :near]
        if most is not None and most < count - 1:
            order = _sorted_rows(order, squared)[:, :most]
            self.stage[:] = _LEFT_OUT
            np.put_along_axis(self.stage, order, _BOUNDED, axis=1)
        self.seeds = _sorted_rows(order, squared)[:, :_SEEDS]
        self.upper = np.full(len(queries), np.inf)
        self.cost = np.full(len(queries), np.inf)  # least exact cost, of the cloud `index`
        self.index = np.full(len(queries), count)
        self.intervals = self.solved = 0

    def open(self, *, left_out: bool = False) -> Bool[np.ndarray, "q k"]:
        """Candidates that could still be the answer; with left_out those beyond the budget too.

        The answer is the lowest index within `tie` of the minimum. A later cloud than `index` can
        only take its place by being nearer than it by more than that.
        """
        tie = _TIE * (self.moments.spreads[self.queries] + np.minimum(self.upper, self.cost))
        earlier = (np.minimum(self.upper, self.cost) + tie)[:, None]
        later = np.minimum(self.cost - tie, earlier[:, 0])[:, None]
        before = np.arange(len(self.clouds)) < self.index[:, None]
        found: Bool[np.ndarray, "q k"]
        found = np.where(before, self.lower <= earlier, self.lower < later)
        found &= (self.stage < _SOLVED) & (left_out | (self.stage != _LEFT_OUT))
        return found

    def seed(self) -> None:
        """Find upper bounds from the candidates that moments predict to be near."""
        rows = np.repeat(np.arange(len(self.queries)), self.seeds.shape[1])
        self._take(rows, self.seeds.ravel(), _INTERVAL)

    def bound_by_points(self, advance: Callable[[int], None]) -> None:
        """Bound all open candidates quickly; a pair of two queries once."""
        wanted = self.open() & (self.stage == _BOUNDED)
        among = wanted[:, self.queries]
        wanted[:, self.queries] = np.triu(among | among.T)
        needed = np.flatnonzero(wanted.any(axis=0))
        if len(needed):
            near = Near.read(self.clouds, self.queries, self.frame)
            sizes = self.moments.sizes[needed] * near.points.shape[1]
            for part in _cut(needed, sizes, _CHUNK):
                others = Near.read(self.clouds, part, self.frame)
                quick = quick_lower_bounds(near, others, wanted[:, part], self.frame)
                self.lower[:, part] = np.maximum(self.lower[:, part], quick)
                advance(len(self.queries) * len(part))
        advance(len(self.queries) * (len(self.clouds) - len(needed)))
        mutual = self.lower[:, self.queries]
        self.lower[:, self.queries] = np.maximum(mutual, mutual.T)

    def narrow(self, stage: int) -> None:
        """Bring open candidates to a stage, most promising first, more in every round."""
        most = 1
        while True:
            rows, columns = np.nonzero(self.open() & (self.stage < stage))
            if not len(rows):
                return
            order = np.lexsort((columns, self.lower[rows, columns], rows))
            rows, columns = rows[order], columns[order]
            rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
            self._take(rows[rank < most], columns[rank < most], stage)
            most *= 2

    def _take(
        self, rows: Int64[np.ndarray, " p"], columns: Int64[np.ndarray, " p"], stage: int
    ) -> None:
        """Compute intervals or exact costs of some pairs and note them with both their ends."""
        ends = np.sort(np.stack([self.queries[rows], columns], axis=1), axis=1)
        pairs = np.unique(ends, axis=0)
        sizes = self.moments.sizes[pairs].sum(axis=1) * self.moments.means.shape[1]
        rtol = 0.0 if stage == _SOLVED else math.inf
        for part in _cut(pairs, sizes, _HELD):
            with show_progress(False):  # one bar at a time
                found = pairwise_wasserstein1(self.clouds, part, rtol)
            reached = np.where(found.lower == found.upper, _SOLVED, stage)
            for own, other in (part.T, part.T[::-1]):
                row = self.place[own]
                kept = row >= 0
                at = (row[kept], other[kept])
                lower, solved = found.lower[kept], reached[kept] == _SOLVED
                self.lower[at] = np.where(solved, lower, np.maximum(lower, self.lower[at]))
                self.stage[at] = reached[kept]
                np.minimum.at(self.upper, row[kept], found.upper[kept])
        self.intervals += len(pairs) if stage == _INTERVAL else 0
        self.solved += len(pairs) if stage == _SOLVED else 0
        self._settle()

    def _settle(self) -> None:
        """Find the least exact cost of each query, and of clouds that tie the first."""
        costs = np.where(self.stage == _SOLVED, self.lower, np.inf)
        least = costs.min(axis=1)
        known = np.flatnonzero(np.isfinite(least))
        tie = _TIE * (self.moments.spreads[self.queries] + least)
        self.index[known] = np.argmax(costs[known] <= (least + tie)[known, None], axis=1)
        self.cost[known] = costs[known, self.index[known]]


def _sorted_rows(
    order: Int64[np.ndarray, "q s"], keys: Float64[np.ndarray, "q k"]
) -> Int64[np.ndarray, "q s"]:
    """Sort each row's columns by their keys, then by number."""
    order = np.sort(order, axis=1)
    held = np.take_along_axis(keys, order, axis=1)
    return np.take_along_axis(order, np.argsort(held, axis=1, kind="stable"), axis=1)


def _cut(
    items: Int64[np.ndarray, "i *e"], sizes: Int64[np.ndarray, " i"], room: int
) -> Iterator[Int64[np.ndarray, "j *e"]]:
    """Cut a list into runs of about `room` in all."""
    edges = np.flatnonzero(np.diff(np.cumsum(sizes) // room)) + 1
    yield from np.split(items, edges)


def _blocks(
    queries: Int64[np.ndarray, " q"], moments: Moments, count: int
) -> Iterator[Int64[np.ndarray, " b"]]:
    """Cut the queries so that neither bounds nor points outgrow their room."""
    points = moments.sizes[queries] * moments.means.shape[1]
    share = np.maximum(points / _HELD, count / _ENTRIES)
    yield from _cut(queries, np.ceil(share * 2**30).astype(np.int64), 2**30)


def _query_index(of: ArrayLike | None, count: int) -> Int64[np.ndarray, " q"]:
    if of is None:
        return np.arange(count)
    index = np.asarray(of)
    usable = index.ndim == 1 and len(index) > 0 and index.dtype.kind in "iu"
    if not usable or index.min() < 0 or index.max() >= count or len(set(index)) < len(index):
        raise InputError(
            f"of: expected distinct integers in 0…{count - 1}, got shape {index.shape} of "
            f"{index.dtype}; number the clouds from 0"
        )
    return index.astype(np.int64)
