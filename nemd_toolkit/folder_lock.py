"""One program at a time in a folder: a lock that the system releases however its holder ends."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nemd_toolkit.errors import InputError

__all__ = ["alone_in"]

_NAME = ".lock"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder for this process. Without flock nothing is held.

    It is made where it is missing, and removed again where nothing is in it then. Raises InputError
    where another process holds it, on this machine or on one that shares the folder, and OSError
    where it cannot be written to.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "new"
    >>> with alone_in(folder):
    ...     (folder / ".lock").exists()
    True
    >>> folder.exists()
    False
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _NAME
    file = _locked(path)
    try:
        os.ftruncate(file, 0)
        os.write(file, f"process {os.getpid()} on {socket.gethostname()}: {_words()}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: who waits for it looks again
        os.close(file)
        if made:
            with suppress(OSError):  # a report is in it
                folder.rmdir()


def _locked(path: Path) -> int:
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
                f"{path.parent}: expected a folder that no other analysis is at work in, got one "
                f"held by {holder}; wait for it, or choose another --out"
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
