"""Rows of an unfinished pass, on disk: what was embedded before a run was killed is not lost.

The folder holds `key.json`, all that the rows depend on, and files of consecutive rows, each
written at once with its checksum. With another key nothing of it is used.
"""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.checked_rows import read_rows, write_rows
from nemd_toolkit.embedding_cache import Key
from nemd_toolkit.errors import InputError
from nemd_toolkit.files import write_text
from nemd_toolkit.progress import note

__all__ = ["Parts", "open_parts"]

_KEY = "key.json"
_OURS = re.compile(r"rows-\d{12}\.npy|\.rows-\d{12}-.*\.npy|\.key-.*\.json|key\.json|\.?whole.*")
_BYTES = 64 << 20  # of rows held in memory before they are written
_SECONDS = 10.0  # the same in time: no more work than this is lost


class Parts:
    """Consecutive rows from 0 on, written in pieces; made by `open_parts`."""

    def __init__(self, folder: Path, pieces: list[Tensor], seconds: float) -> None:
        self.folder = folder
        self.pieces = pieces  # mapped into memory
        self._seconds = seconds
        self._held: list[Tensor] = []
        self._since = time.monotonic()

    @property
    def count(self) -> int:
        """Rows on disk."""
        return sum(len(piece) for piece in self.pieces)

    def append(self, rows: Float[Tensor, "n d"]) -> None:
        """Take the next rows; they are on disk ten seconds later, or at `flush`."""
        self._held.append(rows)
        held = sum(part.nbytes for part in self._held)
        if held >= _BYTES or time.monotonic() - self._since >= self._seconds:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if self._held:
            count, dim = sum(len(rows) for rows in self._held), self._held[0].shape[1]
            path = self.folder / f"rows-{self.count:012}.npy"
            write_rows(path, self._held, count, dim)
            piece = read_rows(path)
            if piece is None:
                raise InputError(
                    f"{path}: expected the rows just written, got other bytes; check the disk"
                )
            self.pieces.append(piece)
        self._held, self._since = [], time.monotonic()

    def blocks(self, rows: int) -> Iterator[Float[Tensor, "n d"]]:
        """Give all rows in order, `rows` at a time however they were written."""
        held: list[Tensor] = []
        for piece in self.pieces:
            while len(piece):
                wanted = rows - sum(len(part) for part in held)
                held.append(piece[:wanted])
                piece = piece[wanted:]  # noqa: PLW2901  (what is left of it)
                if sum(len(part) for part in held) == rows:
                    yield torch.cat(held)
                    held = []
        if held:
            yield torch.cat(held)

    def remove(self) -> None:
        """Remove the folder, which must hold nothing else."""
        self.pieces = []
        _clear(self.folder)
        self.folder.rmdir()


def open_parts(folder: Path, key: Key, batch: int, seconds: float = _SECONDS) -> Parts:
    """Open the folder of a pass, with the rows that an earlier run with this key left there.

    Rows of another key, and damaged ones, are removed with a note. Pieces of anything but whole
    batches of `batch` rows are not continued. `seconds` is the most work that a kill can cost.
    Raises InputError for a folder with files that are not ours.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "e.npy.parts"
    >>> parts = open_parts(folder, {"weights": "a"}, batch=2)
    >>> parts.append(torch.ones(2, 3)); parts.flush()
    >>> open_parts(folder, {"weights": "a"}, batch=2).count
    2
    >>> open_parts(folder, {"weights": "b"}, batch=2).count
    0
    """
    folder.mkdir(parents=True, exist_ok=True)
    _require_ours(folder)
    if (folder / _KEY).is_file() and _key(folder) == dict(key):
        return Parts(folder, _pieces(folder, batch), seconds)
    if any(folder.glob("rows-*.npy")):
        note(f"{folder} is of another pass (weights, images or options differ): starting over")
    _clear(folder)
    write_text(folder / _KEY, json.dumps(dict(key), indent=1) + "\n")
    return Parts(folder, [], seconds)


def _key(folder: Path) -> object:
    try:
        return json.loads((folder / _KEY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _pieces(folder: Path, batch: int) -> list[Tensor]:
    """Rows that follow one another without a gap; the rest is removed."""
    found: list[Tensor] = []
    count = 0
    for path in sorted(folder.glob("rows-*.npy")):
        rows = read_rows(path) if path.name == f"rows-{count:012}.npy" else None
        if rows is None or (found and rows.shape[1] != found[0].shape[1]) or count % batch:
            note(f"{path} is damaged or does not follow on: embedding its rows anew")
            path.unlink()
            continue
        found.append(rows)
        count += len(rows)
    return found


def _require_ours(folder: Path) -> None:
    foreign = sorted(path.name for path in folder.iterdir() if not _OURS.fullmatch(path.name))
    if foreign:
        raise InputError(
            f"{folder}: expected a folder of unfinished embeddings, got {', '.join(foreign[:3])} "
            "in it; move that away, or choose another --out"
        )


def _clear(folder: Path) -> None:
    _require_ours(folder)
    for path in folder.iterdir():
        path.unlink()
