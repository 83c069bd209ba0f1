"""Many pairs on all cores: threads over compiled kernels, one BLAS thread each.

The kernels hold no lock of Python's, so threads share memory and scale like processes, without
copies and without a worker that can be killed on its own. Each thread holds two float32 matrices of
the largest pair. The number of threads is torch's (`torch.set_num_threads`, OMP_NUM_THREADS).
"""

import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  (the kernels' BLAS: loaded before it is limited)
import torch
from jaxtyping import Float64, Int64
from threadpoolctl import ThreadpoolController

from nemd_toolkit.errors import NotOptimal
from nemd_toolkit.sphere import chord
from nemd_toolkit.transport.clouds import Packed
from nemd_toolkit.transport.kernels.pair import GAVE_UP, WAITING, solve_pairs
from nemd_toolkit.transport.simplex import full_simplex

__all__ = ["solve_all"]

_BLOCK = 10**8  # work of one block of pairs, about n·m·(d + 200): some 10 ms


class _Task:
    """What the threads share: the pairs, the results, and whether to stop."""

    def __init__(self, packed: Packed, pairs: Int64[np.ndarray, "p 2"], rtol: float) -> None:
        self.packed, self.pairs, self.rtol = packed, pairs, rtol
        self.lower, self.upper = np.empty(len(pairs)), np.empty(len(pairs))
        self.state = np.full(len(pairs), WAITING)
        self.stop = np.zeros(1, np.int64)
        sizes = packed.sizes
        self.areas = sizes[pairs[:, 0]] * sizes[pairs[:, 1]]

    def blocks(self) -> list[slice]:
        """Cut the pairs into runs of about equal work."""
        done = np.cumsum(self.areas * (self.packed.points.shape[1] + 200)) // _BLOCK
        edges = [0, *(np.flatnonzero(np.diff(done)) + 1).tolist(), len(self.pairs)]
        return [slice(a, b) for a, b in pairwise(edges)]

    def solve(self, block: slice, scratch: np.ndarray) -> None:
        """Fill the results of a block."""
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
            p, q = self.pairs[k].tolist()
            costs = chord(torch.from_numpy(packed.cloud(p)), torch.from_numpy(packed.cloud(q)))
            self.lower[k] = self.upper[k] = full_simplex(costs.numpy(), self._name(p, q))

    def work(self, todo: "queue.SimpleQueue[slice]", advance: Callable[[int], None]) -> None:
        """Solve blocks until there are none left."""
        scratch = np.empty(2 * int(self.areas.max()), np.float32)
        while not self.stop[0]:
            try:
                block = todo.get_nowait()
            except queue.Empty:
                return
            try:
                self.solve(block, scratch)
            except Exception as error:
                raise self._named(block, error) from error
            advance(block.stop - block.start)

    def _name(self, p: int, q: int) -> str:
        return f"{self.packed.names[p]} and {self.packed.names[q]}"

    def _named(self, block: slice, error: Exception) -> Exception:
        if isinstance(error, NotOptimal):
            return error
        p, q = self.pairs[block.start + int(np.argmax(self.state[block] == WAITING))].tolist()
        return NotOptimal(
            f"{self._name(p, q)}: expected a transport plan, but the solver broke off "
            f"({type(error).__name__}: {error}); its number is withheld"
        )


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def solve_all(
    packed: Packed,
    pairs: Int64[np.ndarray, "p 2"],
    rtol: float,
    advance: Callable[[int], None],
) -> tuple[Float64[np.ndarray, " p"], Float64[np.ndarray, " p"]]:
    """Lower and upper bounds of W1 of pairs of packed clouds, in packed units.

    Results do not depend on the number of threads. Raises NotOptimal naming the pair; an
    interruption (Ctrl-C) stops all threads within the time of one pair.
    """
    task = _Task(packed, pairs, rtol)
    if not len(pairs):
        return task.lower, task.upper
    todo: queue.SimpleQueue[slice] = queue.SimpleQueue()
    blocks = task.blocks()
    for block in blocks:
        todo.put(block)
    workers = min(torch.get_num_threads(), len(blocks))
    with _blas().limit(limits=1), ThreadPoolExecutor(workers, "transport") as pool:
        futures = [pool.submit(task.work, todo, advance) for _ in range(workers)]
        try:
            wait(futures, return_when="FIRST_EXCEPTION")
        finally:
            task.stop[0] = any(not future.done() for future in futures)
            while not todo.empty():
                todo.get_nowait()
    for future in futures:
        future.result()
    return task.lower, task.upper
