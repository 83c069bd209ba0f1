"""Where the log goes beside `log.jsonl`: TensorBoard and Weights & Biases, both extras."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nemd_toolkit import loggers

__all__ = ["Logger", "scalars", "to_tensorboard", "to_wandb", "together"]

Logger = Callable[[Mapping[str, Any]], None]


def to_tensorboard(folder: Path) -> Logger:
    """Give a function that writes an epoch's line as scalars below `folder`.

    Raises InputError where the extra is missing.
    """
    return _of_rows(loggers.to_tensorboard(folder))


def to_wandb(project: str, about: Mapping[str, Any]) -> Logger:
    """Give a function that logs an epoch's line to a new run of this project.

    Raises InputError where the extra is missing.
    """
    return _of_rows(loggers.to_wandb(project, about))


def _of_rows(write: loggers.Logger) -> Logger:
    return lambda row: write(dict(scalars(row)), row["epoch"])


def scalars(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Give the numbers of an epoch's line by name.

    >>> row = {"epoch": 0, "loss": 1.0, "terms": {"info_nce": 1.0}, "learning_rate": 0.1,
    ...        "clusterings": [{"k": 10, "objective": 0.5, "used": 9}], "seconds": 2.0}
    >>> dict(scalars(row))["k-means/used of 10"]
    9
    """
    for name in ("loss", "learning_rate", "seconds"):
        yield name, row[name]
    for name, value in row["terms"].items():
        yield f"terms/{name}", value
    for clustering in row["clusterings"]:
        k = clustering["k"]
        yield f"k-means/objective at {k}", clustering["objective"]
        yield f"k-means/used of {k}", clustering["used"]
    for name, value in row.get("monitor", {}).items():
        if type(value) in (int, float):
            yield f"monitor/{name}", value


def together(loggers: Sequence[Logger]) -> Logger:
    """Make one logger of several.

    >>> seen = []
    >>> together([seen.append, seen.append])({"epoch": 0})
    >>> len(seen)
    2
    """

    def write(row: Mapping[str, Any]) -> None:
        for log in loggers:
            log(row)

    return write
