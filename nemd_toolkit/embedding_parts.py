"""Rows of an unfinished pass, on disk: what was embedded before a run was killed is not lost.

The folder holds `key.json`, all that the rows depend on, and files of consecutive rows, each
written at once with its checksum and named by its first row. Several processes may write their own,
of whole batches. With another key nothing of it is used.
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
    """Rows of a pass in pieces, each from some place on; made by `open_parts`."""

    def __init__(self, folder: Path, pieces: dict[int, Tensor], seconds: float) -> None:
        self.folder = folder
        self.pieces = pieces  # by their first row, mapped into memory
        self._seconds = seconds
        self._held: list[Tensor] = []
        self._first = 0  # row of what is held
        self._since = time.monotonic()

    @property
    def count(self) -> int:
        """Rows on disk."""
        return sum(len(piece) for piece in self.pieces.values())

    def missing(self, count: int) -> list[tuple[int, int]]:
        """Give the first and the last row, not included, of each gap in rows 0…count − 1."""
        starts = [*sorted(self.pieces), count]
        stops = [0, *(start + len(self.pieces[start]) for start in starts[:-1])]
        return [(stop, start) for stop, start in zip(stops, starts, strict=True) if stop < start]

    def append(self, first: int, rows: Float[Tensor, "n d"]) -> None:
        """Take rows from number `first` on; they are on disk ten seconds later, or at `flush`."""
        if self._held and first != self._first + sum(len(part) for part in self._held):
            self.flush()
        if not self._held:
            self._first = first
        self._held.append(rows)
        held = sum(part.nbytes for part in self._held)
        if held >= _BYTES or time.monotonic() - self._since >= self._seconds:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if self._held:
            count, dim = sum(len(rows) for rows in self._held), self._held[0].shape[1]
            write_rows(self._path(self._first), self._held, count, dim)
            if not self.take(self._first):
                raise InputError(
                    f"{self._path(self._first)}: expected the rows just written, got other bytes; "
                    "check the disk"
                )
        self._held, self._since = [], time.monotonic()

    def take(self, first: int) -> bool:
        """Map the piece from row `first` on; False where its file is not whole."""
        piece = read_rows(self._path(first))
        if piece is not None:
            self.pieces[first] = piece
        return piece is not None

    def unwritten(self) -> Float[Tensor, "n d"] | None:
        """Give the rows where all are held and none is on disk."""
        return torch.cat(self._held) if self._held and not self.pieces else None

    def blocks(self, rows: int) -> Iterator[Float[Tensor, "n d"]]:
        """Give all rows in order, `rows` at a time however they were written."""
        held: list[Tensor] = []
        for _, piece in sorted(self.pieces.items()):
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
        self.pieces = {}
        _clear(self.folder)
        self.folder.rmdir()

    def _path(self, first: int) -> Path:
        return self.folder / f"rows-{first:012}.npy"


def open_parts(
    folder: Path, key: Key, *, batch: int, count: int, seconds: float = _SECONDS
) -> Parts:
    """Open the folder of a pass over `count` rows, with those that earlier runs with this key left.

    Rows of another key, and damaged ones, are removed with a note. Pieces of anything but whole
    batches of `batch` rows are not continued. `seconds` is the most work that a kill can cost.
    Raises InputError for a folder with files that are not ours.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "e.npy.parts"
    >>> parts = open_parts(folder, {"weights": "a"}, batch=2, count=6)
    >>> parts.append(2, torch.ones(2, 3)); parts.flush()
    >>> open_parts(folder, {"weights": "a"}, batch=2, count=6).missing(6)
    [(0, 2), (4, 6)]
    >>> open_parts(folder, {"weights": "b"}, batch=2, count=6).missing(6)
    [(0, 6)]
    """
    folder.mkdir(parents=True, exist_ok=True)
    _require_ours(folder)
    if (folder / _KEY).is_file() and _key(folder) == dict(key):
        return Parts(folder, _pieces(folder, batch, count), seconds)
    if any(folder.glob("rows-*.npy")):
        note(f"{folder} is of another pass (weights, images or options differ): starting over")
    _clear(folder)
    write_text(folder / _KEY, json.dumps(dict(key), indent=1) + "\n")
    return Parts(folder, {}, seconds)


def _key(folder: Path) -> object:
    try:
        return json.loads((folder / _KEY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _pieces(folder: Path, batch: int, count: int) -> dict[int, Tensor]:
    """Rows by the first of each piece: whole batches that do not overlap; the rest is removed."""
    found: dict[int, Tensor] = {}
    free, dim = 0, None
    for path in sorted(folder.glob("rows-*.npy")):
        first, rows = int(path.stem[-12:]), read_rows(path)
        stop = first + (0 if rows is None else len(rows))
        whole = first % batch == 0 and (stop % batch == 0 or stop == count) and stop <= count
        if rows is None or not whole or first < free or rows.shape[1] != (dim or rows.shape[1]):
            note(f"{path} is damaged or does not fit: embedding its rows anew")
            path.unlink()
            continue
        found[first], free, dim = rows, stop, rows.shape[1]
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
