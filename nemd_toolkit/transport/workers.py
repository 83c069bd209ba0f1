"""Blocks of work on all cores: threads, one BLAS thread each.

Compiled kernels and torch hold no lock of Python's while they compute, so threads share memory and
scale like processes, without copies and without a worker that can be killed on its own. The number
of threads is torch's (`torch.set_num_threads`, OMP_NUM_THREADS).
"""

import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import cache
from types import FrameType

import scipy.linalg.cython_blas  # noqa: F401  (the kernels' BLAS: loaded before it is limited)
import torch
from threadpoolctl import ThreadpoolController

from nemd_toolkit.errors import NemdError, NotOptimal

__all__ = ["in_threads", "no_interrupt_lost"]


# One caller at a time: two would leave BLAS with the limit of the other.
_LOCK = threading.Lock()
_LOOK = 0.2  # seconds between looks for a signal that another thread has taken


@contextmanager
def no_interrupt_lost(stop: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Raise KeyboardInterrupt at the end of this block if Ctrl-C came and was swallowed in it.

    Numba loads compiled code through callbacks from C, where Python prints an exception and drops
    it. stop is called as soon as Ctrl-C comes. A handler that is not Python's own stays in charge.
    """
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    came = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        stop()
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if came:
        raise KeyboardInterrupt


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def in_threads(
    blocks: Sequence[slice],
    solver: Callable[[], Callable[[slice], None]],
    *,
    stop: Callable[[], None],
    pair: Callable[[slice], str],
    advance: Callable[[int], None],
) -> None:
    """Solve every block; each thread makes itself one solver, with memory of its own.

    stop tells running solvers to return; pair names the pair of a block that broke off. An
    interruption (Ctrl-C) or an error stops all threads before it goes on to the caller.
    """
    todo: queue.SimpleQueue[slice] = queue.SimpleQueue()
    for block in blocks:
        todo.put(block)

    def work() -> None:
        solve = solver()
        while True:
            try:
                block = todo.get_nowait()
            except queue.Empty:
                return
            try:
                solve(block)
            except NemdError:
                raise
            except Exception as error:
                raise NotOptimal(
                    f"{pair(block)}: expected a transport plan, but the solver broke off "
                    f"({type(error).__name__}: {error}); its number is withheld"
                ) from error
            advance(block.stop - block.start)

    workers = min(torch.get_num_threads(), len(blocks))
    with no_interrupt_lost(stop), _LOCK, _blas().limit(limits=1):
        if workers == 1:
            work()
        else:
            _all_at_once(work, workers, todo, stop)


def _all_at_once(
    work: Callable[[], None],
    workers: int,
    todo: "queue.SimpleQueue[slice]",
    stop: Callable[[], None],
) -> None:
    futures: list[Future[None]] = []
    with ThreadPoolExecutor(workers, "transport") as pool:
        try:
            futures += [pool.submit(work) for _ in range(workers)]
            pending: set[Future[None]] = set(futures)
            while pending and not any(future.exception() for future in set(futures) - pending):
                pending = wait(pending, _LOOK, FIRST_EXCEPTION).not_done
        finally:
            if not (len(futures) == workers and all(future.done() for future in futures)):
                stop()
            with suppress(queue.Empty):
                while True:
                    todo.get_nowait()
    for future in futures:
        future.result()
