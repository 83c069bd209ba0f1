"""Pairs of clouds on a torch device (a GPU), with plans on the processor's cores.

The device computes costs, potentials, bounds and likely edges of a batch of pairs at once, ragged
sizes padded with points of no mass; the cores ship along those edges in float64 and, where it is
asked for, pivot to the optimum; the device then looks at all edges for missed ones. Several threads
each carry a batch, so that the device works on one while the cores work on another. Any torch
device will do, the processor too.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from nemd_toolkit.transport.clouds import Packed
from nemd_toolkit.transport.host import solve_on_host
from nemd_toolkit.transport.kernels.low_costs import UNIT_32
from nemd_toolkit.transport.kernels.settings import (
    CERTIFIED,
    EDGES_A_NODE,
    FIRST,
    LAST,
    LAST_PASSES,
    PASSES,
    TIGHT,
    UNIT,
    WIDTH,
)
from nemd_toolkit.transport.plans import Edges, Plans
from nemd_toolkit.transport.workers import in_threads

__all__ = ["solve_on_device"]

_ABSENT = 1e30  # cost of an edge to a point of no mass
_CELLS_HOST = 2_000_000  # padded costs of a batch, where the device is the processor
_CELLS_MOST = 50_000_000  # and on a GPU, memory permitting
_BYTES_A_CELL = 32  # several float32 matrices of a batch at once


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Lower bounds on the costs of some pairs, padded; points of no mass cost _ABSENT."""

    costs: Float[Tensor, "b n m"]
    rows: Bool[Tensor, "b n"]
    columns: Bool[Tensor, "b m"]
    extent: Float[Tensor, " b"]
    deviation: Float[Tensor, " b"]
    tight: Bool[Tensor, " b"]


def solve_on_device(
    device: torch.device,
    packed: Packed,
    pairs: Int64[np.ndarray, "p 2"],
    rtol: float,
    advance: Callable[[int], None],
) -> tuple[Float64[np.ndarray, " p"], Float64[np.ndarray, " p"]]:
    """Do as `solve_on_host`, with the dense work on a device.

    Pairs that need float64 costs, or whose edges are too many to carry, are solved on the host.
    Memory on the device: the clouds, and about 32 bytes a padded cost of the batches in flight.
    """
    if not len(pairs):
        return np.empty(0), np.empty(0)
    task = _Task(device, packed, pairs, rtol)
    with _full_float32():
        in_threads(task.blocks(), task.solver, stop=task.halt, pair=task.broken, advance=advance)
    left = np.flatnonzero(~task.done)
    task.lower[left], task.upper[left] = solve_on_host(packed, pairs[left], rtol, lambda _: None)
    return task.lower, task.upper


@contextmanager
def _full_float32() -> Iterator[None]:
    """Keep products in float32: the lower bounds count on its rounding, TF32's is coarser."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class _Task:
    """What the threads share: clouds on the device, pairs in the order of their size, results."""

    def __init__(
        self, device: torch.device, packed: Packed, pairs: Int64[np.ndarray, "p 2"], rtol: float
    ) -> None:
        self.device, self.packed, self.pairs, self.rtol = device, packed, pairs, rtol
        self.lower, self.upper = np.empty(len(pairs)), np.empty(len(pairs))
        self.done = np.zeros(len(pairs), bool)
        self.stopped = False
        self.near = torch.from_numpy(packed.near).to(device)
        self.squares = torch.from_numpy(packed.squares).to(device)
        self.starts = torch.from_numpy(packed.starts).to(device)
        sizes = packed.sizes[pairs]
        self.order = np.lexsort((sizes[:, 1], sizes[:, 0]))  # neighbours need little padding

    def blocks(self) -> list[slice]:
        """Cut the ordered pairs into batches that fit into memory."""
        sizes = self.packed.sizes[self.pairs[self.order]]
        most = self._cells()
        edges, widest = [0], np.zeros(2, np.int64)
        for k, size in enumerate(sizes):
            widest = np.maximum(widest, size)
            if k > edges[-1] and widest.prod() * (k + 1 - edges[-1]) > most:
                edges.append(k)
                widest = size
        return [slice(a, b) for a, b in pairwise([*edges, len(sizes)])]

    def _cells(self) -> int:
        if self.device.type != "cuda":
            return _CELLS_HOST
        free, _ = torch.cuda.mem_get_info(self.device)
        return int(min(_CELLS_MOST, free / torch.get_num_threads() / _BYTES_A_CELL / 2))

    def halt(self) -> None:
        """Let the threads return after their present step."""
        self.stopped = True

    def broken(self, block: slice) -> str:
        """Name the first pair of a block."""
        return self.packed.name(*self.pairs[self.order[block.start]].tolist())

    def solver(self) -> Callable[[slice], None]:
        """Make a solver of batches."""
        return self._solve

    @torch.no_grad()
    def _solve(self, block: slice) -> None:
        which = self.order[block]
        batch = _low_costs(self.near, self.squares, self.starts, self.pairs[which])
        f, g = _potentials(batch)
        lower = _dual_value(batch, f, g)
        edges, slack, width, crowded = _likely_edges(batch, f, g)
        host = (batch.tight | crowded).cpu().numpy()
        plans = Plans(
            self.packed, self.pairs[which], _flat(batch, f, g), batch.extent.double().cpu().numpy()
        )
        plans.start(edges, slack, width)
        self.lower[which], self.upper[which] = np.minimum(lower, plans.upper), plans.upper
        open_ = ~host & ~self._close(which)
        self.done[which] = ~host & ~open_
        places = np.flatnonzero(open_)
        self._refine(batch, plans.only(places, np.zeros(len(places), np.int64)), which, places)

    def _close(self, which: Int64[np.ndarray, " b"]) -> Bool[np.ndarray, " b"]:
        gap = self.upper[which] - self.lower[which]
        close: Bool[np.ndarray, " b"] = (gap <= self.rtol * self.lower[which]) & (self.rtol > 0)
        return close

    def _refine(
        self,
        batch: _Batch,
        plans: Plans,
        which: Int64[np.ndarray, " b"],
        places: Int64[np.ndarray, " q"],
    ) -> None:
        """Pivot and look for missed edges until every pair is close or solved, or given up."""
        while len(places) and not self.stopped:
            plans.improve()
            self.upper[which[places]] = plans.upper
            self.lower[which[places]] = np.minimum(self.lower[which[places]], plans.upper)
            able = plans.state == CERTIFIED
            close = able & self._close(which[places])
            edges, cost = plans.missing(_near_edges(batch, plans, places))
            solved = able & (np.bincount(edges.pair, minlength=len(places)) == 0)
            self.done[which[places[close | solved]]] = True
            exact = solved & ~close
            self.lower[which[places[exact]]] = plans.upper[exact]
            going = (able & ~close)[edges.pair]
            edges = Edges(pair=edges.pair[going], row=edges.row[going], column=edges.column[going])
            places = places[np.unique(edges.pair)]
            plans = plans.with_edges(edges, cost[going])


def _low_costs(
    near: Float[Tensor, "N d"],
    squares: Float[Tensor, " N"],
    starts: Int64[Tensor, " c"],
    pairs: Int64[np.ndarray, "b 2"],
) -> _Batch:
    """Lower bounds on distances, as kernels.low_costs.wide_costs computes them."""
    p, q = torch.from_numpy(pairs).to(near.device).unbind(1)
    x, rows = _gather(starts, p)
    y, columns = _gather(starts, q)
    xx, yy = squares[x], squares[y]
    extent = xx.amax(1).sqrt() + yy.amax(1).sqrt()
    keep = 1.0 - (near.shape[1] + 8) * UNIT_32
    costs = torch.baddbmm((xx[:, :, None] + yy[:, None, :]) * keep, near[x], near[y].mT, alpha=-2.0)
    costs = costs.clamp_min_(0.0).sqrt_()
    present = rows[:, :, None] & columns[:, None, :]
    count = rows.sum(1) * columns.sum(1)
    mean = (costs * present).sum((1, 2), dtype=torch.float64) / count
    offset = (costs - mean.float()[:, None, None]) * present
    deviation = (offset.square().sum((1, 2), dtype=torch.float64) / count).sqrt().float()
    norms = (xx.amax(1) + yy.amax(1)).double()
    error = (near.shape[1] + 8) * UNIT_32 * norms / (2.0 * mean).clamp_min(1e-30)
    costs = (costs - (4.0 * UNIT_32 * extent)[:, None, None]).clamp_min_(0.0)
    return _Batch(
        costs=costs.masked_fill_(~present, _ABSENT),
        rows=rows,
        columns=columns,
        extent=extent,
        deviation=torch.maximum(deviation, (1e-9 * extent).clamp_min(1e-25)),
        tight=error >= TIGHT * deviation,
    )


def _gather(
    starts: Int64[Tensor, " c"], cloud: Int64[Tensor, " b"]
) -> tuple[Int64[Tensor, "b n"], Bool[Tensor, "b n"]]:
    """Rows of each cloud, padded by repeating its last, and which of them are its own."""
    sizes = starts[cloud + 1] - starts[cloud]
    index = torch.arange(int(sizes.max()), device=starts.device).expand(len(cloud), -1)
    own = index < sizes[:, None]
    return starts[cloud][:, None] + index.minimum(sizes[:, None] - 1), own


def _potentials(batch: _Batch) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b m"]]:
    """Sinkhorn with falling regularisation, then c-transforms, as kernels.duals does."""
    costs, rows, columns = batch.costs, batch.rows.float(), batch.columns.float()
    n, m = rows.sum(1, keepdim=True), columns.sum(1, keepdim=True)
    f = torch.zeros_like(rows)
    g = torch.where(batch.columns, costs.amin(1), 0.0)
    eps = FIRST
    while True:
        final = eps <= LAST * 1.001
        scale = (eps * batch.deviation)[:, None]
        gibbs = (
            ((f[:, :, None] + g[:, None, :] - costs) / scale[:, :, None]).clamp_max_(60.0).exp_()
        )
        v = columns / m
        for _ in range(LAST_PASSES if final else PASSES):
            u = rows / n / torch.bmm(gibbs, v[:, :, None])[:, :, 0].clamp_min(1e-30)
            v = columns / m / torch.bmm(u[:, None, :], gibbs)[:, 0].clamp_min(1e-30)
        f = torch.where(batch.rows, f + scale * (u * n).clamp_min(1e-37).log(), 0.0)
        g = torch.where(batch.columns, g + scale * (v * m).clamp_min(1e-37).log(), 0.0)
        if final:
            break
        eps = max(eps * 0.5, LAST)
    g = torch.where(batch.columns, (costs - f[:, :, None]).amin(1), 0.0)
    f = torch.where(batch.rows, (costs - g[:, None, :]).amin(2), 0.0)
    return f, g


def _dual_value(
    batch: _Batch, f: Float[Tensor, "b n"], g: Float[Tensor, "b m"]
) -> Float64[np.ndarray, " b"]:
    rounding = float(UNIT) * (batch.extent + g.abs().amax(1)).double()
    mean_f = f.double().sum(1) / batch.rows.sum(1)
    mean_g = g.double().sum(1) / batch.columns.sum(1)
    value: Float64[np.ndarray, " b"] = (mean_f + mean_g - rounding).clamp_min(0.0).cpu().numpy()
    return value


def _flat(
    batch: _Batch, f: Float[Tensor, "b n"], g: Float[Tensor, "b m"]
) -> Float64[np.ndarray, " nodes"]:
    """Potentials of rows, then columns, pair after pair."""
    present = torch.cat([batch.rows, batch.columns], 1)
    flat: Float64[np.ndarray, " nodes"] = torch.cat([f, g], 1)[present].double().cpu().numpy()
    return flat


def _likely_edges(
    batch: _Batch, f: Float[Tensor, "b n"], g: Float[Tensor, "b m"]
) -> tuple[Edges, np.ndarray, np.ndarray, Bool[Tensor, " b"]]:
    """Edges of small reduced cost, the widths that say small, and which pairs have too many."""
    slack = (batch.costs - g[:, None, :]).sub_(f[:, :, None])
    room = EDGES_A_NODE * (batch.rows.sum(1) + batch.columns.sum(1))
    width = WIDTH * batch.deviation
    for _ in range(4):
        crowded = (slack < width[:, None, None]).sum((1, 2)) > room
        if not bool(crowded.any()):
            break
        width = torch.where(crowded, 0.3 * width, width)
    crowded = (slack < width[:, None, None]).sum((1, 2)) > room
    chosen = (slack < width[:, None, None]) & ~crowded[:, None, None]
    return _edges(chosen), slack[chosen].cpu().numpy(), width.cpu().numpy(), crowded


def _near_edges(batch: _Batch, plans: Plans, places: Int64[np.ndarray, " q"]) -> Edges:
    """Edges whose reduced cost may be negative, by the lower bounds and their rounding."""
    which = torch.from_numpy(places).to(batch.costs.device)
    rows, columns = batch.rows[which], batch.columns[which]
    flat = torch.from_numpy(plans.potential).to(batch.costs.device)
    both = torch.cat([rows, columns], 1)
    potential = torch.zeros(both.shape, dtype=torch.float64, device=flat.device)
    potential[both] = flat
    f, g = potential.float().split([rows.shape[1], columns.shape[1]], 1)
    margin = float(UNIT) * (batch.extent[which] + f.abs().amax(1) + g.abs().amax(1))
    slack = (batch.costs[which] - g[:, None, :]).sub_(f[:, :, None])
    return _edges(slack < margin[:, None, None])


def _edges(chosen: Bool[Tensor, "b n m"]) -> Edges:
    pair, row, column = (index.cpu().numpy() for index in chosen.nonzero(as_tuple=True))
    return Edges(pair=pair, row=row, column=column)
