"""The process around a run: determinism, torchrun's other processes, and signals to stop."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

import torch
import torch.distributed as dist

from nemd_toolkit.errors import NemdError
from nemd_toolkit.processes import process_group

__all__ = ["Interrupted", "end_with_parent", "parallel", "reproducible", "stop_signal"]

_ADVICE = "give the same command again to go on from the last checkpoint"
_PATIENCE = timedelta(minutes=30)  # one process may cluster while the others wait


class Interrupted(NemdError):
    """A run that SIGTERM or SIGINT ended, its state saved."""


@contextmanager
def reproducible(device: str, threads: int) -> Iterator[None]:
    """Deterministic algorithms inside; the settings found are put back after."""
    if device.startswith("cuda"):  # without it torch refuses deterministic matrix products
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    threads_before = torch.get_num_threads()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads or threads_before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.set_num_threads(threads_before)


@contextmanager
def parallel(device: str) -> Iterator[None]:
    """Join the processes that torchrun started; nothing where it did not.

    Raises Lost when another process is.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    with process_group("nccl" if device.startswith("cuda") else "gloo", _PATIENCE, _ADVICE):
        yield


@contextmanager
def stop_signal() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether SIGTERM or SIGINT came, to any of the processes.

    A second signal acts as it would have without this. Outside the main thread none is seen.
    """
    seen: list[int] = []
    before: dict[int, object] = {}

    def note(number: int, _: FrameType | None) -> None:
        seen.append(number)
        signal.signal(number, signal.SIG_DFL)

    try:
        for kind in (signal.SIGTERM, signal.SIGINT):
            before[kind] = signal.signal(kind, note)
    except ValueError:  # not the main thread
        pass
    try:
        yield lambda: _any(bool(seen))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]


def end_with_parent() -> None:
    """Stop this process of multiprocessing, as SIGTERM does, when its parent is gone.

    Nobody would wait for it then, and a run that is begun again would meet it.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is not the main process

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _any(here: bool) -> bool:
    """Whether it holds in some process."""
    if not dist.is_initialized():
        return here
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    flag = torch.tensor([int(here)], device=device)
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag.item())
