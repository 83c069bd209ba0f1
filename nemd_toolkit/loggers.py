"""Where numbers of a training go, step by step: JSON lines, TensorBoard, Weights & Biases."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nemd_toolkit.errors import InputError

__all__ = ["Logger", "to_json_lines", "to_tensorboard", "to_wandb"]

# numbers by name, and the step they are of
Logger = Callable[[Mapping[str, float | int], int], None]


def to_json_lines(path: Path | str) -> Callable[[Mapping[str, Any]], None]:
    r"""Give a function that adds a line to a file; the folder is made when it is first called.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "new" / "log.jsonl"
    >>> to_json_lines(path)({"step": 100, "variance": 0.5})
    >>> path.read_text()
    '{"step": 100, "variance": 0.5}\n'
    """
    path = Path(path)

    def write(row: Mapping[str, Any]) -> None:
        line = json.dumps(row, ensure_ascii=False, allow_nan=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(line + "\n")

    return write


def to_tensorboard(folder: Path | str) -> Logger:
    """Give a function that writes numbers as scalars below `folder`.

    Raises InputError where the extra is missing.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "tensorboard: expected the package tensorboard, found none; "
            "pip install 'nemd-toolkit[tensorboard]'"
        ) from None
    # from the first step of this call on: a stopped run's later steps are written anew
    writer = SummaryWriter(str(folder))

    def write(numbers: Mapping[str, float | int], step: int) -> None:
        for name, value in numbers.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return write


def to_wandb(project: str, about: Mapping[str, Any]) -> Logger:
    """Give a function that logs numbers to a new run of this project.

    Raises InputError where the extra is missing.
    """
    try:
        import wandb
    except ImportError:
        raise InputError(
            "wandb: expected the package wandb, found none; pip install 'nemd-toolkit[wandb]'"
        ) from None
    run = wandb.init(project=project, config=dict(about))

    def write(numbers: Mapping[str, float | int], step: int) -> None:
        run.log(dict(numbers), step=step)

    return write
