"""Joining the processes that torchrun started: one speaks, and none waits for the dead.

A process that is killed closes its connections, and the others learn of it in their next collective
operation. One that stands still (a machine without power, a torn cable) closes nothing: so each
process says every few seconds that it lives, in torchrun's store, and looks whether the next does.
"""

import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import torch
import torch.distributed as dist

from nemd_toolkit import ranks
from nemd_toolkit.errors import NemdError

__all__ = ["Lost", "joined", "process_group", "started"]

_AGES = timedelta(days=100)  # a process may wait for another as long as that one lives
_BEAT = 5.0  # seconds between signs of life
_STILL, _BEGIN = 45.0, 600.0  # without one, and before the first, until a process counts as lost
_SAID = timedelta(seconds=5)  # to wait for the first process to say what was wrong
_WRONG = 2  # exit code of an error of ours
_ADVICE = "the same command continues where it stopped"


class Lost(NemdError):
    """Another process ended or stands still."""

    def __init__(self, advice: str) -> None:
        count = os.environ["WORLD_SIZE"]
        super().__init__(
            f"processes: expected all {count} to go on, but one of them was lost; {advice}"
        )


class _Stopped(NemdError):
    """SIGTERM came."""

    def __init__(self) -> None:
        super().__init__(
            f"processes: stopped by a signal, as torchrun gives it where one was lost; {_ADVICE}"
        )


def started() -> int:
    """Give the number of processes that torchrun started; 1 without it.

    >>> started()
    1
    """
    ours = "TORCHELASTIC_RUN_ID" in os.environ  # others set WORLD_SIZE for whatever runs there
    return int(os.environ.get("WORLD_SIZE", "1")) if ours else 1


@contextmanager
def process_group(backend: str, patience: timedelta, advice: str) -> Iterator[None]:
    """Join torchrun's processes into torch's default group; `advice` says what helps a lost one.

    Raises Lost when the connection to another process breaks.
    """
    try:
        _begin(backend, patience)
        yield
    except RuntimeError as error:  # torch has no type for it: DistError, or gloo's message
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise Lost(advice) from None
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _begin(backend: str, patience: timedelta) -> None:
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        dist.init_process_group(backend, timeout=patience)
        return
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group(
        backend, timeout=patience, store=_store(patience), rank=rank, world_size=count
    )


def _store(patience: timedelta) -> Any:  # torch.distributed exports no name of its type
    """Connect to torchrun's store: a part of this start, for it keeps what an earlier one wrote."""
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(host, port, is_master=False, timeout=patience)  # type: ignore[attr-defined]
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return dist.PrefixStore(f"nemd {attempt}", store)  # type: ignore[attr-defined]


@contextmanager
def joined() -> Iterator[None]:
    """Share work with the processes that torchrun started; nothing where it started one.

    What all but the first print goes nowhere, except an error that the first does not know of. All
    that is shared lies in the processors' memory, so that torch's gloo carries it, which sees a
    lost process at once; an encoder on CUDA takes the card of its process's number on the machine.
    Raises Lost.
    """
    if started() == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    board = _Board()
    try:
        with board, process_group("gloo", _AGES, _ADVICE), ranks.sharing():
            ranks.alike({"command": repr(sys.argv[1:]), "versions": repr(_versions())})
            try:
                yield
            except SystemExit:  # how the command line ends
                ranks.together("the end", lambda: None)
                raise
            ranks.together("the end", lambda: None)
    except Exception as error:
        if isinstance(error, NemdError) and board.said_by_another(error):
            _say_nothing()
        else:
            sys.stdout, sys.stderr = board.shown
        raise


def _say_nothing() -> None:
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123  (to the end)


def _versions() -> list[str]:
    return [version(package) for package in ("nemd-toolkit", "torch", "numpy")]


class _Board:
    """Who speaks: signs of life, and last words, in torchrun's store.

    Where one process is lost torchrun stops the others of its machine by SIGTERM. The thread that
    says that this one lives sees the signal, whatever the main thread is waiting for.
    """

    def __init__(self) -> None:
        self.shown = sys.stdout, sys.stderr
        self._rank, self._over = int(os.environ["RANK"]), threading.Event()
        if self._rank:
            _say_nothing()
        # a connection of its own: the group's may be busy waiting
        self._store = _store(timedelta(seconds=_STILL))
        self._thread = threading.Thread(target=self._watch, name="signs of life", daemon=True)
        self._seen, self._signals = os.pipe()  # numbers of the signals that came
        os.set_blocking(self._signals, False)

    def __enter__(self) -> "_Board":
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.set_wakeup_fd(self._signals, warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over.set()
        signal.set_wakeup_fd(-1)
        # where it ends by an error, torchrun's signal must not come before the last words
        last_words = kind is not None and issubclass(kind, Exception)
        signal.signal(signal.SIGTERM, signal.SIG_IGN if last_words else signal.SIG_DFL)
        os.write(self._signals, b"\0")
        self._thread.join(_BEAT)

    def said_by_another(self, error: NemdError) -> bool:
        """Whether another process says the same: the first, or of a loss whoever is quicker."""
        with suppress(RuntimeError):  # the store may be gone
            if isinstance(error, (Lost, _Stopped)):
                return self._count("lost", 1) > 1
            if self._rank == 0:
                self._store.set("said", str(error))
                return False
            self._store.wait(["said"], _SAID)
            said: bytes = self._store.get("said")
            return said.decode() == str(error)
        return False

    def _watch(self) -> None:
        """Say that this process lives, and look at the next; end this one where that is lost."""
        other = (self._rank + 1) % started()
        seen, since = 0, time.monotonic()
        while True:
            came, _, _ = select.select([self._seen], [], [], _BEAT)
            if self._over.is_set():
                return
            if came and signal.SIGTERM in os.read(self._seen, 64):
                self._leave(_Stopped(), 128 + signal.SIGTERM)
            try:
                self._count(f"beat {self._rank}", 1)
                beats = self._count(f"beat {other}", 0)
            except RuntimeError:  # torchrun itself is gone
                beats, since = seen, -math.inf
            if beats != seen:
                seen, since = beats, time.monotonic()
            elif time.monotonic() - since > (_STILL if seen else _BEGIN):
                self._leave(Lost(_ADVICE), _WRONG)

    def _leave(self, error: NemdError, code: int) -> None:
        """End this process, whatever its main thread is waiting for."""
        if not self.said_by_another(error):
            self.shown[1].write(f"nemd: {error}\n")
            self.shown[1].flush()
        os._exit(code)

    def _count(self, name: str, more: int) -> int:
        return int(self._store.add(name, more))
