"""The folder of a run: `last.pt`, numbered checkpoints, and `log.jsonl`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemd_toolkit.errors import InputError
from nemd_toolkit.files import write_text
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

    def resume(self, identity: Mapping[str, Any]) -> dict[str, Any] | None:
        """Read the last checkpoint, or None where the folder holds no run.

        Raises InputError, with nothing changed, if the run in it had other settings.
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
                f"out: {self.path} holds a run with other settings ({different}); "
                "choose another folder, or give the same settings to go on with it"
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
        self.log.unlink(missing_ok=True)

    def _is_first_epoch(self) -> bool:
        """Whether the log is what a run leaves that stopped before its first checkpoint."""
        lines = self.log.read_bytes().splitlines()
        return len(lines) == 0 or (len(lines) == 1 and lines[0].startswith(b'{"epoch": 0,'))

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
        """Drop lines of epochs from `epoch` on, which will be run again."""
        if not self.log.exists():
            return
        lines = self.log.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["epoch"] < epoch]
        write_text(self.log, "".join(kept))


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Say what differs between two runs, e.g. "epochs 4 there, 9 here"; empty if nothing does."""
    there = {**found, **found["config"]}
    here = {**wanted, **wanted["config"]}
    return ", ".join(
        f"{key} {there.get(key)} there, {here[key]} here"
        for key in here
        if key != "config" and there.get(key) != here[key]
    )
