"""torch on one thread, for many short steps, and threads of ours that share such steps."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

__all__ = ["in_threads", "one_thread"]

T = TypeVar("T")
_LOCK = threading.RLock()  # one caller at a time: two would leave torch with the other's limit


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one thread inside this block.

    A step of a millisecond gains little from a second thread, and where other work holds a core it
    waits for that thread: beside two other jobs on two cores, seeds of k-means took eight times as
    long on two threads, and drawing 2,500 clouds thirty times.

    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    """
    with _LOCK:
        usual = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(usual)


def in_threads(
    parts: Sequence[T], take: Callable[[Iterable[T]], None], *, alone: bool = False
) -> None:
    """Share parts among as many threads as torch may use, each with torch on one.

    A thread calls `take` with those that are its own, every so many; where one fails, or the user
    ends it, the others end after the part that they are at. `alone`: there is one thread.

    >>> found = []
    >>> in_threads([1, 2, 3], found.extend, alone=True)
    >>> found
    [1, 2, 3]
    """
    threads = 1 if alone else min(torch.get_num_threads(), len(parts))
    if threads <= 1:
        take(parts)
        return
    halt = threading.Event()

    def own(first: int) -> Iterator[T]:
        for part in parts[first::threads]:
            if halt.is_set():
                return
            yield part

    with one_thread(), ThreadPoolExecutor(threads) as pool:
        try:
            for done in [pool.submit(take, own(first)) for first in range(threads)]:
                done.result()
        except BaseException:
            halt.set()
            raise
