"""What ours is timed against: the loop a user would write, on one thread or on two processes.

Also the floor: a float32 matrix product for each pair. Nothing of ours is used here.
"""

import multiprocessing as mp
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import Synchronized
from types import TracebackType
from typing import Any

import numpy as np
import ot
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

__all__ = ["BASELINE", "TwoProcesses", "emd2", "emd2_loop", "matrix_products", "sample_pairs"]

BASELINE = 'ot.emd2(a, b, ot.dist(X, Y, metric="euclidean"), numItermax=10**7)'
_PROCESSES = 2

Cloud = NDArray[np.floating[Any]]


def emd2(x: Cloud, y: Cloud) -> float:
    """Solve one pair exactly as `BASELINE` says, uniform weights."""
    a, b = np.full(len(x), 1 / len(x)), np.full(len(y), 1 / len(y))
    return float(ot.emd2(a, b, ot.dist(x, y, metric="euclidean"), numItermax=10**7))


def emd2_loop(clouds: Sequence[Cloud], pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Solve all pairs (p, 2), one after the other."""
    return np.array([emd2(clouds[p], clouds[q]) for p, q in pairs.tolist()])


def matrix_products(clouds: Sequence[Cloud], pairs: NDArray[np.int64]) -> None:
    """One float32 product X @ Y.T for each pair: no method that sees all distances does less."""
    longest = max(map(len, clouds))
    room = np.empty(longest * longest, np.float32)
    for p, q in pairs.tolist():
        x, y = clouds[p], clouds[q]
        np.matmul(x, y.T, out=room[: len(x) * len(y)].reshape(len(x), len(y)))


def sample_pairs(
    work: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Numbers of `count` pairs, spread evenly over the pairs in order of `work`.

    Every pair is drawn with the same probability, so the mean time is unbiased, and small and
    large pairs come in their true proportions, so it varies little.
    """
    order = rng.permutation(len(work))  # breaks ties at random
    order = order[np.argsort(work[order], kind="stable")]
    places = (np.arange(count) + rng.random()) * (len(work) / count)
    return order[places.astype(np.int64)]


class TwoProcesses:
    """Two processes, one thread each, that share a list of pairs: whoever is free takes the next.

    Clouds are sent beforehand by `load`, the first of which starts the processes; `solve` is what
    is timed.
    """

    def __init__(self) -> None:
        self._context = mp.get_context("spawn")
        self._next = self._context.Value("q", 0)
        self._pipes: list[Connection] = []
        self._processes: list[SpawnProcess] = []
        self._count = 0

    def _start(self) -> None:
        for _ in range(_PROCESSES):
            here, there = self._context.Pipe()
            process = self._context.Process(target=_serve, args=(there, self._next), daemon=True)
            process.start()
            there.close()  # so that a dead process ends the wait instead of prolonging it
            self._pipes.append(here)
            self._processes.append(process)

    def load(self, clouds: Sequence[Cloud], pairs: NDArray[np.int64]) -> None:
        """Send clouds and pairs, and wait until both processes have them."""
        if not self._processes:
            self._start()
        self._count = len(pairs)
        for pipe in self._pipes:
            pipe.send((clouds, pairs))
        for pipe in self._pipes:
            pipe.recv()

    def solve(self) -> NDArray[np.float64]:
        """Solve the loaded pairs; cost of each, in their order."""
        self._next.value = 0
        for pipe in self._pipes:
            pipe.send(None)
        cost = np.full(self._count, np.nan)
        for pipe in self._pipes:
            places, values = pipe.recv()
            cost[places] = values
        return cost

    def __enter__(self) -> "TwoProcesses":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pipe in self._pipes:
            pipe.close()  # the processes end with their pipe
        for process in self._processes:
            process.join()


def _serve(pipe: Connection, following: "Synchronized[int]") -> None:
    with threadpool_limits(limits=1):
        clouds: Sequence[Cloud] = []
        pairs = np.empty((0, 2), np.int64)
        while True:
            try:
                message = pipe.recv()
            except (EOFError, KeyboardInterrupt):
                return
            if message is not None:
                clouds, pairs = message
                pipe.send(None)
                continue
            places, values = [], []
            while (place := _take(following)) < len(pairs):
                p, q = pairs[place]
                places.append(place)
                values.append(emd2(clouds[p], clouds[q]))
            pipe.send((places, values))


def _take(following: "Synchronized[int]") -> int:
    with following.get_lock():
        place = following.value
        following.value = place + 1
    return place
