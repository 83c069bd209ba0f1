"""Pairs of clouds on the processor's cores, by the compiled kernels."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float64, Int64

from nemd_toolkit.progress import bar
from nemd_toolkit.transport.clouds import Packed, pack
from nemd_toolkit.transport.kernels.full import all_costs
from nemd_toolkit.transport.kernels.pair import Scratch, solve_pairs
from nemd_toolkit.transport.kernels.settings import GAVE_UP, WAITING
from nemd_toolkit.transport.simplex import full_simplex
from nemd_toolkit.transport.workers import in_threads, no_interrupt_lost

__all__ = ["solve_on_host"]

_CACHE = 2**20  # bytes of a core's own cache
_BLOCK = 10**8  # work of one block of pairs at most, as n·m·(d + 200): some 10 ms
_LITTLE = 2 * 10**7  # work that is not worth another block, and so another thread: some 2 ms


def solve_on_host(
    packed: Packed,
    pairs: Int64[np.ndarray, "p 2"],
    rtol: float,
    advance: Callable[[int], None],
) -> tuple[Float64[np.ndarray, " p"], Float64[np.ndarray, " p"]]:
    """Lower and upper bounds of W1 of pairs of packed clouds, in packed units.

    Each thread holds two float32 matrices of the largest pair, and a float64 one where a pair needs
    it. Results do not depend on the number
    of threads. Raises NotOptimal naming the pair.
    """
    if not len(pairs):
        return np.empty(0), np.empty(0)
    _load_kernels()
    order = _in_tiles(packed, pairs)
    task = _Task(packed, pairs[order], rtol)
    in_threads(task.blocks(), task.solver, stop=task.halt, pair=task.broken, advance=advance)
    lower, upper = np.empty(len(pairs)), np.empty(len(pairs))
    lower[order], upper[order] = task.lower, task.upper
    return lower, upper


def _in_tiles(packed: Packed, pairs: Int64[np.ndarray, "p 2"]) -> Int64[np.ndarray, " p"]:
    """Order pairs so that the clouds of a run of them stay in a core's cache."""
    cloud_bytes = 12 * packed.points.size / len(packed.sizes)
    side = max(1, int(_CACHE / 2 / cloud_bytes))
    order: Int64[np.ndarray, " p"] = np.lexsort((pairs[:, 1] // side, pairs[:, 0] // side))
    return order


@cache
def _load_kernels() -> None:
    """Compile the kernels, half a minute once on a machine; half a second from then on."""
    with no_interrupt_lost(), bar("preparing transport (the first time compiles it)", 1):
        cloud = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
        _Task(pack([cloud, cloud], ["x", "y"]), np.array([[0, 1]]), 0.0).solver()(slice(0, 1))


class _Task:
    """What the threads share: pairs, results, and whether to stop."""

    def __init__(self, packed: Packed, pairs: Int64[np.ndarray, "p 2"], rtol: float) -> None:
        self.packed, self.pairs, self.rtol = packed, pairs, float(rtol)  # one type: compiled once
        self.lower, self.upper = np.empty(len(pairs)), np.empty(len(pairs))
        self.state = np.full(len(pairs), WAITING)
        self.stop = np.zeros(1, np.int64)
        self.areas = packed.sizes[pairs[:, 0]] * packed.sizes[pairs[:, 1]]

    def blocks(self) -> list[slice]:
        """Cut the pairs into runs of about equal work."""
        work = np.cumsum(self.areas * (self.packed.points.shape[1] + 200))
        share = int(work[-1]) // (4 * torch.get_num_threads())
        done = work // max(_LITTLE, min(_BLOCK, share))
        edges = [0, *(np.flatnonzero(np.diff(done)) + 1).tolist(), len(self.pairs)]
        return [slice(a, b) for a, b in pairwise(edges)]

    def solver(self) -> Callable[[slice], None]:
        """Make a solver of blocks with scratch memory of its own."""
        sizes, area = self.packed.sizes[self.pairs], int(self.areas.max())
        points = int(sizes.sum(axis=1).max()) * self.packed.points.shape[1]
        scratch = Scratch(np.empty(2 * area, np.float32), np.empty(area), np.empty(points))
        return lambda block: self._solve(block, scratch)

    def _solve(self, block: slice, scratch: Scratch) -> None:
        packed = self.packed
        solve_pairs(
            packed.points,
            packed.near,
            packed.squares,
            packed.starts,
            self.pairs[block],
            self.rtol,
            scratch,
            self.lower[block],
            self.upper[block],
            self.state[block],
            self.stop,
        )
        for k in np.flatnonzero(self.state[block] == GAVE_UP) + block.start:
            self.lower[k] = self.upper[k] = self._solve_fully(*self.pairs[k].tolist())

    def _solve_fully(self, p: int, q: int) -> float:
        x, y = self.packed.cloud(p), self.packed.cloud(q)
        centre = x.mean(axis=0)
        costs = np.empty((len(x), len(y)))
        all_costs(x, y, x - centre, y - centre, costs)
        scale = float(costs.max()) or 1.0
        return scale * full_simplex(costs / scale, self.packed.name(p, q))

    def halt(self) -> None:
        """Let running kernels return after their present pair."""
        self.stop[0] = 1

    def broken(self, block: slice) -> str:
        """Name the first pair of a block that has no result."""
        k = block.start + int(np.argmax(self.state[block] == WAITING))
        return self.packed.name(*self.pairs[k].tolist())
