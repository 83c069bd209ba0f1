"""An encoder that a user names or gives, built and waiting for its weights."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from nemd_toolkit.checkpoints import ImageInfo, State
from nemd_toolkit.encoder_choice.loading import LoadReport

__all__ = ["Awaiting", "Encoder", "Rows"]

Rows = Callable[[Tensor], Tensor]  # images (b, c, h, w) to (b, d)
Encoder = str | Rows  # what a user may give; a module is a function too


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaiting:
    """An encoder before its weights are in it."""

    described: str  # for reports and the command line
    version: str | None  # of the code behind it; None: nobody knows it, so nothing is cached
    module: nn.Module | None  # whose names tell what belongs into it; None: a plain function
    load: Callable[[State], tuple[Rows, LoadReport]]
    image: Callable[[ImageInfo], ImageInfo] | None = None  # to the input that the library states
