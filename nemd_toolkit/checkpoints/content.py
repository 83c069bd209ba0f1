"""What a file holds, not yet interpreted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

__all__ = ["Container", "Content"]

Container = Literal["zip", "legacy", "safetensors", "torchscript", "torch.export", "folder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Tensors, containers, text and numbers; objects of other classes are `Stub`s."""

    path: Path
    data: Any
    container: Container = "zip"
    stubs: tuple[str, ...] = ()  # classes and functions that the file names, not executed
