"""Barlow Twins (Zbontar et al. 2021, Eq. 1 and 2): outputs of two views correlate as the identity.

Names are those of facebookresearch/barlowtwins, whose `bn` is part of the loss here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pauc_train import ranks
from pauc_train.config import Config, setting
from pauc_train.heads import mlp
from pauc_train.method import (
    Batch,
    BranchPath,
    Method,
    Poster,
    Rate,
    Setup,
    Term,
    Terms,
    Training,
    View,
    preset,
)
from pauc_train.views import VIEWS

__all__ = ["METHOD", "BarlowTwinsConfig", "BarlowTwinsTraining", "barlow_twins_terms"]

_EPSILON = 1e-5  # of the batch norm that standardises the outputs


@dataclass(frozen=True, kw_only=True)
class BarlowTwinsConfig(Config):
    """Barlow Twins' settings."""

    embedding_dim: int = setting(8192, least=1, most=65536)
    projector_widths: tuple[int, ...] = setting((8192, 8192), least=1, most=65536)  # hidden layers
    redundancy_weight: float = setting(0.0051, least=0)  # λ of Eq. 1
    views: str = setting("byol-first", known=tuple(VIEWS))
    second_views: str = setting("byol-second", known=tuple(VIEWS))
    epochs: int = setting(1000, least=1, most=10**7)
    batch_size: int = setting(2048, least=2, most=10**7)
    optimizer: Literal["sgd", "lars", "adamw"] = "lars"
    learning_rate: float = setting(1.6, above=0)  # 0.2 for 256 images
    vector_rate: float = setting(0.024, above=0)  # of biases and norms: 0.0048/0.2 of the above
    weight_decay: float = setting(1e-6, least=0)
    schedule: Literal["cosine", "cosine-by-epoch", "step", "constant"] = "cosine"
    rate_warmup_epochs: float = setting(10.0, least=0)


def barlow_twins_terms(
    first: Float[Tensor, "b d"], second: Float[Tensor, "b d"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Give Σᵢ (1 − Cᵢᵢ)² and Σ_{i≠j} Cᵢⱼ², C the correlation over the batch (Eq. 1, 2).

    >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> [round(term.item(), 3) for term in barlow_twins_terms(z, z.flip(1))]
    [2.0, 2.0]
    """
    standard = [
        (z - z.mean(0)) * (z.var(0, correction=0) + _EPSILON).rsqrt() for z in (first, second)
    ]
    correlation = standard[0].T @ standard[1] / len(first)  # (d, d)
    own = correlation.diagonal()
    return (1 - own).square().sum(), correlation.square().sum() - own.square().sum()


class BarlowTwinsTraining(Training):
    """A backbone and a projector of three layers."""

    branches: ClassVar = {"encoder": BranchPath(backbone="backbone", projector="projector")}

    def __init__(self, setup: Setup[BarlowTwinsConfig]) -> None:
        super().__init__()
        self.config = setup.config
        self.backbone = setup.encoder()
        widths = [self.backbone.shape.features, *self.config.projector_widths]
        self.projector = mlp([*widths, self.config.embedding_dim], bias=False)
        scale = self.config.vector_rate
        self.rates = tuple(
            Rate(prefix=name, scale=scale)
            for name, parameter in self.named_parameters()
            if parameter.ndim == 1
        )

    def loss(self, batch: Batch, _: torch.Generator) -> Terms:
        """Invariance and redundancy of the whole batch's outputs."""
        first, second = (ranks.gather(self.projector(self.backbone(view))) for view in batch.views)
        invariance, redundancy = barlow_twins_terms(first, second)
        return {
            "invariance": Term(value=invariance),
            "redundancy": Term(value=redundancy, weight=self.config.redundancy_weight),
        }

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Backbone features."""
        return self.backbone.features(images)


def _views(config: BarlowTwinsConfig) -> Sequence[View]:
    return (preset(config.views), preset(config.second_views))


METHOD = Method(
    name="barlow-twins",
    title="Barlow Twins",
    paper="Zbontar et al., Barlow Twins: Self-Supervised Learning via Redundancy Reduction, "
    "ICML 2021",
    year=2021,
    config=BarlowTwinsConfig,
    start=BarlowTwinsTraining,
    views=_views,
    poster=Poster(imagenet1k=73.20),
)
