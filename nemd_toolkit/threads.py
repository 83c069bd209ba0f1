"""torch on one thread, for many short steps."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["one_thread"]

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
