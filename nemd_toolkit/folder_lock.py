"""One program at a time in a folder or at a file: a lock that the system releases in any case."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nemd_toolkit.errors import InputError

__all__ = ["alone_at", "alone_in"]

_NAME = ".lock"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder for this process. Without flock nothing is held.

    It is made where it is missing, with its parents, and removed again where nothing is in it then.
    Raises InputError where another process holds it, on this machine or on one that shares the
    folder, and OSError where it cannot be written to.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "new"
    >>> with alone_in(folder):
    ...     (folder / ".lock").exists()
    True
    >>> folder.exists()
    False
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _held(folder / _NAME, f"{folder}: expected a folder that no other run is in"):
            yield
    finally:
        with suppress(OSError):  # a report is in it
            for path in missing:  # the innermost first
                path.rmdir()


@contextmanager
def alone_at(file: Path) -> Iterator[None]:
    """Hold a file that is to be written, by one beside it; errors as those of `alone_in`.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with alone_at(folder / "e.npy"):
    ...     [path.name for path in folder.iterdir()]
    ['.e.npy.lock']
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}{_NAME}")
    with _held(beside, f"{file}: expected a file that no other run is writing"):
        yield


@contextmanager
def _held(path: Path, expected: str) -> Iterator[None]:
    file = _locked(path, expected)
    try:
        os.ftruncate(file, 0)
        os.write(file, f"process {os.getpid()} on {socket.gethostname()}: {_words()}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: who waits for it looks again
        os.close(file)


def _locked(path: Path, expected: str) -> int:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(file)
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                return file
        except BlockingIOError:
            holder = os.read(file, 500).decode(errors="replace") or "another process"
            os.close(file)
            raise InputError(
                f"{expected}, got one held by {holder}; wait for it, or choose another"
            ) from None
        os.close(file)  # its holder has just removed it


def _lock(file: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _words() -> str:
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:300]
