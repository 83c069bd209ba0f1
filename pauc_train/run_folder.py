"""The folder of a run: `last.pt`, numbered checkpoints, and `log.jsonl`."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any

from nemd_toolkit.checkpoints import epoch_of_line, shown
from nemd_toolkit.errors import InputError
from nemd_toolkit.files import write_text
from nemd_toolkit.folder_lock import alone_in
from pauc_train import ranks
from pauc_train.saving import read_checkpoint, write_checkpoint

__all__ = ["RunFolder"]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where one run keeps its files; the folder need not exist yet."""

    path: Path

    @property
    def last(self) -> Path:
        """The newest checkpoint, written after every epoch."""
        return self.path / "last.pt"

    @property
    def log(self) -> Path:
        """One JSON line per epoch."""
        return self.path / "log.jsonl"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder in the first process; raises InputError where another run is in it."""
        with ExitStack() as held:
            if ranks.rank() == 0:
                with suppress(OSError):  # one that cannot be written to, which is told later
                    held.enter_context(alone_in(self.path))
            yield

    def resume(self, identity: Mapping[str, Any]) -> dict[str, Any] | None:
        """Read the last checkpoint, or None where the folder holds no run.

        Raises InputError, with nothing changed, if the run in it had other settings or data.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"out: expected a folder, got the file {self.path}; choose another")
        if not self.last.exists():
            self._require_no_run()
            return None
        content = read_checkpoint(self.last)
        different = _differences(content["nemd"], identity)
        if different:
            raise InputError(
                f"out: {self.path} holds a run with other settings or data ({different}); "
                "choose another folder, or give the same ones to go on with it"
            )
        return content

    def _require_no_run(self) -> None:
        stray = next(self.path.glob("checkpoint_*.pth.tar"), None)
        if stray is None and self.log.exists() and not self._is_first_epoch():
            stray = self.log
        if stray is not None:
            raise InputError(
                f"out: expected an empty folder or one with last.pt, found {stray.name} alone in "
                f"{self.path}; choose another folder"
            )
        if self.log.exists():
            self.log.unlink(missing_ok=True)  # another process may have been faster

    def _is_first_epoch(self) -> bool:
        """Whether the log is what a run leaves that stopped before its first checkpoint."""
        lines = self.log.read_bytes().splitlines()
        return len(lines) == 0 or (len(lines) == 1 and lines[0].startswith(b'{"epoch": 0,'))

    def require_writable(self) -> None:
        """Make the folder and try to write there; raises InputError, with nothing left behind."""
        missing = [path for path in (self.path, *self.path.parents) if not path.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path) as file:
                file.write(b"probe")
        except OSError as error:
            for path in missing:  # the innermost first
                with suppress(OSError):
                    path.rmdir()
            raise InputError(
                f"out: cannot write to {self.path} ({error.strerror}); choose another folder"
            ) from None

    def save(self, content: Mapping[str, Any], *, numbered: bool) -> None:
        """Write last.pt, and before it `checkpoint_0004.pth.tar` (PCL's name) if `numbered`."""
        if numbered:
            write_checkpoint(self.path / f"checkpoint_{content['epoch']:04d}.pth.tar", content)
        write_checkpoint(self.last, content)

    def append_log(self, line: str) -> None:
        """Add one line to the log."""
        self.path.mkdir(parents=True, exist_ok=True)
        with self.log.open("a", encoding="utf-8", newline="\n") as file:
            file.write(line + "\n")

    def keep_log_before(self, epoch: int) -> None:
        """Drop lines of epochs from `epoch` on, which will be run again, and damaged lines."""
        if not self.log.exists():
            return
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        kept = [line + "\n" for line in lines[:-1] if 0 <= epoch_of_line(line) < epoch]
        write_text(self.log, "".join(kept))


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Say what differs between two runs, e.g. "epochs 4 there, 9 here"; empty if nothing does."""
    there, here = _flat(found), _flat(wanted)
    return ", ".join(
        f"{key} {shown(there.get(key))} there, {here[key]} here"
        for key in here
        if not _same(there.get(key), here[key])
    )


def _flat(identity: Mapping[str, Any]) -> dict[str, Any]:
    """One table of everything, with the entries of "config" and "image" beside the others."""
    flat: dict[str, Any] = {}
    for key, value in identity.items():
        flat.update(
            value if key in ("config", "image") and isinstance(value, dict) else {key: value}
        )
    return flat


def _same(found: Any, wanted: Any) -> bool:
    """Equal in type and value; pixel statistics up to the order in which threads add them."""
    if type(found) is not type(wanted):
        return False
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_same, found, wanted))
    if isinstance(wanted, float):
        return isclose(found, wanted, rel_tol=1e-12)
    return bool(found == wanted)
