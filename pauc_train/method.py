"""What a training method is: settings, the views it looks at, and a model with a loss.

A method is one file in `methods/`. Its `Training` is the model itself: all that is trained, or must
survive a restart, is in its state dict. It never asks how many processes there are: what it gives
to `ranks.gather` is the whole batch's, and the loop does the rest.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nemd_toolkit.encoders import ResNet, build_resnet
from nemd_toolkit.errors import InputError
from pauc_train.config import Config
from pauc_train.expectation import Clustering
from pauc_train.views import VIEWS, Draws, random_view

__all__ = [
    "Batch",
    "BranchPath",
    "Embed",
    "Method",
    "Poster",
    "Rate",
    "Setup",
    "Term",
    "Terms",
    "Training",
    "View",
    "preset",
    "total",
    "two_views",
]

C = TypeVar("C", bound=Config)
# images (b, c, h, w) in [0, 1] → a changed view of each, in [0, 1]; its size may differ
View = Callable[[Tensor, Draws], Tensor]
# applies a function to every training image in its plain view, in order
Embed = Callable[[Callable[[Tensor], Tensor]], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """A process's share of a batch: the method's views of each image, pixels normalised."""

    views: tuple[Float[Tensor, "b _ _ _"], ...]
    indices: Int[Tensor, " b"]  # which rows of the training set
    epoch: int  # from 0
    progress: float  # part of the whole training that is done, in [0, 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Term:
    """One addend of a loss, before weighting, and its weight."""

    value: Float[Tensor, ""]
    weight: float = 1.0


Terms = Mapping[str, Term]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How the optimiser treats parameters whose names start with `prefix`."""

    prefix: str
    scale: float = 1.0  # of the learning rate; negative: the loss is maximised by these
    constant: bool = False  # the rate follows no schedule
    decay: float | None = None  # weight decay; None: the configuration's


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchPath:
    """Where in a state dict an encoder lies: prefixes, such as `encoder_q` and `projector`."""

    backbone: str
    projector: str | None = None  # None: none, or within the backbone as `fc`


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setup(Generic[C]):
    """What a method starts from. Weights are drawn from torch's seeded global generator."""

    config: C
    count: int  # training images, for memory banks
    channels: int
    size: tuple[int, int]  # of an image: height, width
    generator: torch.Generator  # for buffers such as a queue
    mean: tuple[float, ...] = (0.0,)  # what batches' pixels were normalised by, per channel
    std: tuple[float, ...] = (1.0,)

    def encoder(
        self, head: Literal["linear", "mlp", "none"] = "none", *, channels: int | None = None
    ) -> ResNet:
        """Build the configured ResNet, with or without a head of `embedding_dim` outputs."""
        return build_resnet(
            self.config.arch,
            channels=channels or self.channels,
            head=head,
            dim=self.config.embedding_dim,
        )


class Training(nn.Module):
    """A method at work. Subclasses give `loss` and `features`; the rest has defaults."""

    # encoders for the analysis of a checkpoint, the one that prototypes are made from first
    branches: ClassVar[Mapping[str, BranchPath]] = {
        "online": BranchPath(backbone="encoder", projector="projector")
    }
    vectors: ClassVar[str | None] = None  # prefix of learned prototypes, such as `prototypes`
    rates: tuple[Rate, ...] = ()  # parameters with settings of their own; the first match counts
    clusterings: tuple[Clustering, ...] = ()  # of this epoch; empty where there are none

    def begin_epoch(self, epoch: int, embed: Embed) -> None:
        """Prepare epoch number `epoch`, counted from 0."""

    def loss(self, batch: Batch, generator: torch.Generator) -> Terms:
        """Terms of the loss of the whole batch; `generator` is the same in every process."""
        raise NotImplementedError

    def before_step(self, epoch: int) -> None:
        """Look at, or change, gradients before the optimiser's step."""

    def after_step(self, progress: float) -> None:
        """Follow the optimiser's step: momentum encoders, norms of weights."""

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Backbone features of images in their plain view, for evaluation; not normalised."""
        raise NotImplementedError

    def forward(self, batch: Batch, generator: torch.Generator) -> Terms:
        """Give `loss`: what wraps a module calls it by this name."""
        return self.loss(batch, generator)


@dataclass(frozen=True, slots=True, kw_only=True)
class Poster:
    """Accuracies that the poster's two tables state, in per cent; None where it states none."""

    imagenet100: tuple[float, float | None] | None = None  # top-1, top-5
    imagenet1k: float | None = None  # top-1


def two_views(config: Config) -> Sequence[View]:
    """Two draws of the configured preset."""
    return (preset(config.views), preset(config.views))


def preset(name: str) -> View:
    """Random views of a preset of views.py."""

    def view(images: Tensor, draws: Draws) -> Tensor:
        return random_view(images, VIEWS[name], draws)

    return view


@dataclass(frozen=True, slots=True, kw_only=True)
class Method(Generic[C]):
    """A line of the table of methods."""

    name: str
    title: str
    paper: str
    year: int
    config: type[C]  # its settings, with the paper's defaults
    start: Callable[[Setup[C]], Training]
    views: Callable[[C], Sequence[View]] = two_views
    needs: str = "two views"  # in words, for people
    poster: Poster = Poster()


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
