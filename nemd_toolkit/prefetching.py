"""Work done ahead by threads, handed over in order."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import torch

__all__ = ["prefetched"]

Item = TypeVar("Item")
Result = TypeVar("Result")
_AHEAD = 2  # results that wait for each worker: one in the making, one ready


def prefetched(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[Result]:
    """Give work(item) for every item, in the order of items, whoever is done first.

    `workers` threads run at most twice their number of items ahead of what was taken; 0 works in
    the caller's thread. Pillow, NumPy and torch hold no lock of Python's while they compute. torch
    gets one thread in each worker. An error comes where its result would have.

    >>> list(prefetched(lambda n: n * n, [3, 1, 2], workers=2))
    [9, 1, 4]
    """
    if workers == 0:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="nemd-prefetch")
    waiting: deque[Future[Result]] = deque()
    try:
        _to_one_thread(pool, workers)
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _to_one_thread(pool: ThreadPoolExecutor, workers: int) -> None:
    """Limit torch in the workers, each of which would otherwise start a team of its own."""
    usual = torch.get_num_threads()
    all_here = Barrier(workers)  # so that no worker takes the task of another

    def limit(_: int) -> None:
        torch.get_num_threads()  # a thread's first look takes the default, and must not come later
        torch.set_num_threads(1)
        all_here.wait()

    list(pool.map(limit, range(workers)))
    torch.set_num_threads(usual)  # the limit is each thread's own, its default for new ones is not
