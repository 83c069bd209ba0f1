"""Checkpoints in PCL's layout, with what PCL leaves out under the key `nemd`.

Only tensors, dicts, lists, strings and numbers: `torch.load(weights_only=True)` reads them.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nemd_toolkit.checkpoints import read_content
from nemd_toolkit.errors import InputError
from nemd_toolkit.files import replacing

__all__ = ["FORMAT", "read_checkpoint", "with_prefix", "without_prefix", "write_checkpoint"]

FORMAT = "pauc-train/1"
_PREFIX = "module."  # PCL saves from DistributedDataParallel


def with_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys as PCL writes them: `module.encoder_q.conv1.weight`."""
    return {_PREFIX + key: value for key, value in state.items()}


def without_prefix(state: Mapping[str, Tensor], part: str = "") -> dict[str, Tensor]:
    """Inverse of `with_prefix`; with `part` only the keys below it, without its name.

    >>> without_prefix({"module.a.x": torch.ones(1), "module.b": torch.ones(1)}, "a.")
    {'x': tensor([1.])}
    """
    start = _PREFIX + part
    return {key[len(start) :]: value for key, value in state.items() if key.startswith(start)}


def write_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write atomically: after any failure the old file is still whole.

    Equal content gives equal bytes.
    """
    with replacing(path) as part, part.open("wb") as file:
        torch.save(_canonical(content), file)  # given a path, torch would write its name, too


def _canonical(tree: Any) -> Any:
    """Share equal strings and nothing else: pickle writes a shared object once, a copy twice."""
    if isinstance(tree, Mapping):
        return {_canonical(key): _canonical(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_canonical(entry) for entry in tree]
    return sys.intern(tree) if type(tree) is str else tree


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read one of our checkpoints onto the CPU, executing nothing of it.

    Raises InputError for a file that is missing, broken or not ours.
    """
    content = read_content(path).data
    own = content.get("nemd") if isinstance(content, dict) else None
    if (
        not isinstance(own, dict)
        or own.get("format") != FORMAT
        or not isinstance(own.get("config"), dict)
    ):
        raise InputError(
            f"checkpoint: expected one written by pauc-train ({FORMAT}), got another file at "
            f"{path}; `nemd analyze` reads other layouts"
        )
    return dict(content)
