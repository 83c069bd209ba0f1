"""What a training method is: a model, something done before each epoch, a loss for a batch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nemd_toolkit.encoders import ResNet
from nemd_toolkit.errors import InputError
from pauc_train.config import Config
from pauc_train.expectation import Clustering

__all__ = ["Batch", "Embed", "Method", "Term", "Terms", "Training", "total"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Two views of each image, pixels normalised, and which rows of the training set they are."""

    first: Float[Tensor, "b c h w"]
    second: Float[Tensor, "b c h w"]
    indices: Int[Tensor, " b"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Term:
    """One addend of a loss, before weighting, and its weight."""

    value: Float[Tensor, ""]
    weight: float = 1.0


Terms = Mapping[str, Term]
# applies a function to every training image in its plain view, in order
Embed = Callable[[Callable[[Tensor], Tensor]], Tensor]


@runtime_checkable  # so that the test suite's type checks can see it
class Training(Protocol):
    """A method at work on one model."""

    @property
    def model(self) -> nn.Module:
        """All that is trained, or must survive a restart, in its state dict."""

    @property
    def prototypes(self) -> bool:
        """Whether it clusters the images once warm-up is over."""

    @property
    def clusterings(self) -> tuple[Clustering, ...]:
        """Clusterings of this epoch; empty where there are none."""

    def begin_epoch(self, epoch: int, embed: Embed) -> None:
        """Prepare epoch number `epoch`, counted from 0."""

    def loss(self, batch: Batch, generator: torch.Generator) -> Terms:
        """Terms of the loss on this batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A line of the table of methods."""

    name: str
    title: str
    paper: str
    year: int
    start: Callable[[Config, ResNet, torch.Generator], Training]


def total(terms: Terms) -> Float[Tensor, ""]:
    """Weighted sum of the terms; those of weight 0 are reported only.

    Raises InputError if no term has a weight other than 0.

    >>> one = torch.tensor(1.0)
    >>> float(total({"a": Term(value=one), "b": Term(value=one, weight=0.5)}))
    1.5
    """
    weighted = [t.weight * t.value for t in terms.values() if t.weight != 0]
    if not weighted:
        raise InputError(
            f"loss: expected a term with a weight other than 0, got none in {', '.join(terms)}; "
            "raise instance_weight, or set warmup_epochs=0 for a method with prototypes"
        )
    return torch.stack(weighted).sum()
