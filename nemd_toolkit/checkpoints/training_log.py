"""The training log that pauc-train leaves: its contrastive losses, and what guessing would cost.

A checkpoint of pauc-train holds the line of its own epoch; `log.jsonl` beside it has them all, and
is believed only where it agrees with the checkpoint.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, log
from pathlib import Path
from typing import Any

__all__ = ["LoggedLoss", "TrainingLog", "epoch_of_line", "read_log"]

_LARGEST_FILE = 64 << 20  # bytes; a line has some 500
_MOST_CLASSES = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedLoss:
    """One contrastive loss, the mean over an epoch."""

    name: str  # "info_nce" or "proto_nce"
    epoch: int
    value: float  # nats, ≥ 0; lower is better
    chance: float  # nats: ln of the number of classes, the loss of equal logits


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLog:
    """Contrastive losses of the epochs that are known, in their order."""

    losses: tuple[LoggedLoss, ...]


def epoch_of_line(line: str | bytes) -> int:
    """Read which epoch a line of a log is about; -1 for a damaged line.

    >>> epoch_of_line('{"epoch": 3}'), epoch_of_line("{"), epoch_of_line("3")
    (3, -1, -1)
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return -1
    epoch = row.get("epoch") if isinstance(row, dict) else None
    return epoch if type(epoch) is int else -1


def read_log(own: Mapping[str, Any], path: Path) -> TrainingLog | None:
    """Give the log of the checkpoint at `path`, whose entry `nemd` is `own`; None if it has none.

    Lines of `log.jsonl` beside it are added for earlier epochs if its line of this epoch is the
    checkpoint's. What does not fit is left out: a log is an aid, no reason to refuse a checkpoint.
    """
    config, last = own.get("config"), own.get("log")
    if not isinstance(config, Mapping) or not isinstance(last, Mapping):
        return None
    rows = [row for row in _rows(path.with_name("log.jsonl")) if _epoch(row) <= _epoch(last)]
    mine = bool(rows) and _losses(rows[-1], config) == _losses(last, config)
    known = rows if mine else [last]
    found = tuple(loss for row in known for loss in _losses(row, config))
    return TrainingLog(losses=found) if found else None


def _rows(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a log; none from a missing, huge or damaged file."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
            return []
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, RecursionError):
        return []
    return [row for row in rows if isinstance(row, dict) and _epoch(row) >= 0]


def _epoch(row: Mapping[str, Any]) -> int:
    epoch = row.get("epoch")
    return epoch if type(epoch) is int else -1


def _losses(row: Mapping[str, Any], config: Mapping[str, Any]) -> list[LoggedLoss]:
    terms, found = row.get("terms"), []
    if not isinstance(terms, Mapping) or _epoch(row) < 0:
        return []
    for name, chance in (
        ("info_nce", _info_nce_chance(config)),
        ("proto_nce", _proto_nce_chance(row, config)),
    ):
        value = terms.get(name)
        if chance is not None and type(value) is float and isfinite(value):
            found.append(LoggedLoss(name=name, epoch=_epoch(row), value=value, chance=chance))
    return found


def _info_nce_chance(config: Mapping[str, Any]) -> float | None:
    """Ln(1 + r): the positive among r keys of the queue."""
    size = config.get("queue_size")
    return log(1 + size) if type(size) is int and 1 <= size < _MOST_CLASSES else None


def _proto_nce_chance(row: Mapping[str, Any], config: Mapping[str, Any]) -> float | None:
    """Mean of ln k over the clusterings; None where only some prototypes are negatives."""
    negatives, clusterings = config.get("negatives"), row.get("clusterings")
    if type(negatives) is not int or not isinstance(clusterings, list) or not clusterings:
        return None
    counts = [entry.get("k") if isinstance(entry, Mapping) else None for entry in clusterings]
    if not all(type(k) is int and 2 <= k <= min(negatives + 1, _MOST_CLASSES) for k in counts):
        return None  # else the number of classes would hang on the batch
    return sum(log(k) for k in counts if k is not None) / len(counts)
