"""Analyses that were made before, kept so that only new checkpoints are analysed.

A record is named by the digests of the checkpoint's file and of everything else that the numbers
rest on. It holds the document of the analysis with a digest of it: a damaged record counts as none.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nemd_toolkit.checkpoints import epoch_of_line
from nemd_toolkit.errors import InputError
from nemd_toolkit.files import write_text
from nemd_toolkit.findings import Thresholds
from nemd_toolkit.images import open_images
from nemd_toolkit.pipeline import versions
from nemd_toolkit.progress import note
from nemd_toolkit.report.wording import storable
from nemd_toolkit.tracking.points import Point, point_from
from nemd_toolkit.tracking.positions import Position

__all__ = ["Record", "keep", "kept", "log_digest", "settings_digest"]

SCHEMA = "nemd-track-record/1"
_LARGEST = 64 << 20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One checkpoint's analysis, and where in training it says that it was saved."""

    position: Position | None
    log: str | None  # digest of the lines of log.jsonl that it was judged by
    report: Mapping[str, Any]
    uniform_error: float  # standard error of the uniformity, which the document has not
    point: Point


def settings_digest(settings: Mapping[str, Any], *, images: tuple[str, str] | None) -> str:
    """Digest of all that numbers rest on, but the checkpoint itself.

    settings: what was asked for. images: their spec and split; sizes and times of their files count
    (bytes of those in memory), so that a changed folder is not taken for the old one. Raises
    InputError for images that cannot be opened.
    """
    stamp = None
    if images is not None:
        opened = open_images(*images)
        stamp = f"{opened.stamp} {opened.count}"
    whole = {
        "settings": dict(settings),
        "images": stamp,
        "versions": versions(),
        "thresholds": asdict(Thresholds()),
    }
    text = json.dumps(whole, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def log_digest(checkpoint: Path, position: Position | None) -> str | None:
    """Digest of the lines of log.jsonl beside a checkpoint, up to its own epoch; None without any.

    Lines of later epochs are no part of its analysis.
    """
    log = checkpoint.with_name("log.jsonl")
    if position is None or position.epoch is None or not log.is_file():
        return None
    digest = hashlib.sha256()
    try:
        for line in log.read_bytes().splitlines():
            if epoch_of_line(line) <= position.epoch:
                digest.update(line + b"\n")
    except OSError:
        return None
    return digest.hexdigest()


def kept(folder: Path, sha256: str, settings: str, *, epsilon: float) -> Record | None:
    """Read a record; None where there is none, and, with a note, where it is damaged."""
    path = _path(folder, sha256, settings)
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return None
        return _interpreted(json.loads(path.read_bytes()), epsilon)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, InputError):
        note(f"{path} is damaged: analysing that checkpoint anew")
        return None


def keep(folder: Path, sha256: str, settings: str, record: Record) -> None:
    """Write a record, whole or not at all. Raises InputError where it cannot be written."""
    body = {
        "position": None if record.position is None else asdict(record.position),
        "log": record.log,
        "uniform_error": record.uniform_error,
        "report": record.report,
    }
    content = {"schema": SCHEMA, "digest": _digest(body), "body": body}
    try:
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        write_text(_path(folder, sha256, settings), storable(text))
    except OSError as error:
        raise InputError(
            f"track: expected a folder that can be written to, got {str(folder)!r} "
            f"({error.strerror}); give another one with --out"
        ) from error


def _interpreted(content: Mapping[str, Any], epsilon: float) -> Record:
    body = content["body"]
    if content["schema"] != SCHEMA or content["digest"] != _digest(body):
        raise ValueError("other content than was written")
    where = body["position"]
    return Record(
        position=None if where is None else Position(epoch=where["epoch"], step=where["step"]),
        log=body["log"],
        report=body["report"],
        uniform_error=float(body["uniform_error"]),
        point=point_from(body["report"], float(body["uniform_error"]), epsilon=epsilon),
    )


def _path(folder: Path, sha256: str, settings: str) -> Path:
    return folder / "records" / f"{sha256[:24]}-{settings[:16]}.json"


def _digest(body: Mapping[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
