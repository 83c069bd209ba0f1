"""Finished stages of a long analysis, kept beside its report until that is there.

A run that was killed goes on after the last of them when the same command is given again. A file is
named by a digest of all that its stage rests on, and ends with a checksum: what is torn, or belongs
to other data, is never read. Only what took seconds is kept. With several processes the first
writes; a stage is taken from the disk where all of them can read it.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from nemd_toolkit import ranks
from nemd_toolkit.checked_rows import read_arrays, write_arrays
from nemd_toolkit.errors import InputError
from nemd_toolkit.folder_lock import alone_in
from nemd_toolkit.progress import note

__all__ = ["WORTH", "fingerprint", "folder", "identify", "keeping", "kept"]

T = TypeVar("T")
Arrays = Sequence[NDArray[Any]]
WORTH = 2.0  # seconds of work that are worth a file
_ROWS = 4_096  # of an array that tell it from the others of one analysis
_NAME = ".stages"


class _Stages:
    """The folder of one analysis, and what it is an analysis of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: Callable[[], Mapping[str, Any]] | None = None
        self.earlier = False  # whether an earlier run left something
        self.used = False

    def path(self, name: str, about: Iterable[object]) -> Path:
        """Where the stage's file is."""
        assert self.facts is not None  # looked at before
        text = json.dumps([self.facts(), name, *map(str, about)], sort_keys=True)
        return self.folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()}.stage"

    def read(self, path: Path) -> list[NDArray[Any]] | None:
        """Read a stage; None where one of the processes cannot."""
        found = read_arrays(path)
        if found is None and ranks.rank() == 0 and path.exists():
            note(f"{path} is damaged: doing its stage anew")
        if not ranks.everywhere(found is not None):
            return None
        if not self.used:
            note(f"going on from the finished stages in {self.folder}")
        self.used = True
        return found

    def clear(self) -> None:
        """Remove the folder, which only we write to."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder)


_stages: ContextVar[_Stages | None] = ContextVar("nemd_stages", default=None)


@contextmanager
def keeping(out: Path, *, fresh: bool = False) -> Iterator[None]:
    """Keep finished stages in OUT/.stages inside this block, and remove them where it ends well.

    fresh: begin by removing what an earlier run left. One analysis at a time: raises InputError for
    a folder that another is at work in, and for one that cannot be written to.
    """
    stages = _Stages(out / _NAME)
    with ExitStack() as held:

        def begin() -> bool:
            try:
                held.enter_context(alone_in(out))
                if fresh:
                    stages.clear()
            except OSError as error:
                raise InputError(
                    f"report: expected a folder that can be written to, got {str(out)!r} "
                    f"({error.strerror}); give another one with --out"
                ) from error
            return stages.folder.is_dir()

        earlier = ranks.first("the output folder", begin)
        stages.earlier = bool(ranks.added(torch.tensor(int(bool(earlier)))))
        token = _stages.set(stages)
        try:
            yield
        finally:
            _stages.reset(token)
        ranks.first("the end of the stages", stages.clear)


def folder() -> Path | None:
    """Where stages are kept, inside `keeping`; it need not be there yet.

    >>> folder() is None
    True
    """
    stages = _stages.get()
    return None if stages is None else stages.folder


def identify(facts: Callable[[], Mapping[str, Any]]) -> None:
    """Say what the stages from here on are of: source, seed, versions; asked where it is needed."""
    stages = _stages.get()
    if stages is not None:
        stages.facts = facts


def kept(
    name: str,
    about: Callable[[], Iterable[object]],
    work: Callable[[], T],
    plain: Callable[[T], Arrays],
    back: Callable[[list[NDArray[Any]]], T],
) -> T:
    """Give what `work` gives, or gave in an earlier run of this analysis, and keep it.

    about: all that the result rests on, beside what `identify` was told. plain, back: the result as
    arrays, and from them. Outside of `keeping` it is `work` alone.
    """
    stages = _stages.get()
    if stages is None or stages.facts is None:
        return work()
    if stages.earlier:
        found = stages.read(stages.path(name, about()))
        if found is not None:
            return back(found)
    start = time.perf_counter()
    result = work()
    if time.perf_counter() - start >= WORTH and ranks.rank() == 0:
        path = stages.path(name, about())
        try:
            write_arrays(path, plain(result))
        except OSError as error:
            note(f"{path.parent}: a stage is not kept ({error.strerror or error})")
    return result


def fingerprint(rows: torch.Tensor | NDArray[Any]) -> str:
    """Give a digest of the shape and of up to 4,096 rows, evenly spaced.

    >>> fingerprint(torch.ones(3, 2)) == fingerprint(torch.zeros(3, 2))
    False
    """
    array = rows.numpy(force=True) if isinstance(rows, torch.Tensor) else rows
    some = np.ascontiguousarray(array[:: max(1, len(array) // _ROWS)])
    digest = hashlib.sha256(f"{array.shape} {array.dtype}".encode())
    digest.update(some.view(np.uint8).data if some.size else b"")
    return digest.hexdigest()
