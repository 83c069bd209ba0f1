"""VICReg (Bardes et al. 2022, Eq. 1 to 6): variance, invariance and covariance of two views.

Weights belong to the authors' code, facebookresearch/vicreg, whose names these are: there the
invariance is a mean over entries too (Eq. 5 sums over dimensions) and the variance term is the mean
of both views' (Eq. 6 adds them).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pauc_train import ranks
from pauc_train.config import Config, setting
from pauc_train.heads import mlp
from pauc_train.method import Batch, BranchPath, Method, Poster, Setup, Term, Terms, Training
from pauc_train.views import VIEWS

__all__ = ["METHOD", "VicregConfig", "VicregTraining", "covariance_term", "variance_term"]

_EPSILON = 1e-4  # below the root of Eq. 2


@dataclass(frozen=True, kw_only=True)
class VicregConfig(Config):
    """VICReg's settings."""

    embedding_dim: int = setting(8192, least=1, most=65536)
    projector_widths: tuple[int, ...] = setting((8192, 8192), least=1, most=65536)  # hidden layers
    invariance_weight: float = setting(25.0, least=0)  # λ of Eq. 6
    variance_weight: float = setting(25.0, least=0)  # μ
    covariance_weight: float = setting(1.0, least=0)  # ν
    views: str = setting("vicreg", known=tuple(VIEWS))
    epochs: int = setting(1000, least=1, most=10**7)
    batch_size: int = setting(2048, least=2, most=10**7)
    optimizer: Literal["sgd", "lars", "adamw"] = "lars"
    learning_rate: float = setting(1.6, above=0)  # 0.2 for 256 images
    weight_decay: float = setting(1e-6, least=0)
    schedule: Literal["cosine", "cosine-by-epoch", "step", "constant"] = "cosine"
    rate_warmup_epochs: float = setting(10.0, least=0)


def variance_term(z: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """Mean over dimensions of how far the deviation lies below 1 (Eq. 1, 2).

    >>> round(variance_term(torch.zeros(3, 2)).item(), 3)
    0.99
    """
    return F.relu(1 - (z.var(0) + _EPSILON).sqrt()).mean()


def covariance_term(z: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """Sum of squared covariances of different dimensions, by the number of dimensions (Eq. 3, 4).

    >>> covariance_term(torch.tensor([[1.0, 1.0], [-1.0, -1.0]])).item()
    4.0
    """
    centred = z - z.mean(0)
    covariance = centred.T @ centred / (len(z) - 1)  # (d, d)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]


class VicregTraining(Training):
    """A backbone and an expander of three layers."""

    branches: ClassVar = {"encoder": BranchPath(backbone="backbone", projector="projector")}

    def __init__(self, setup: Setup[VicregConfig]) -> None:
        super().__init__()
        self.config = setup.config
        self.backbone = setup.encoder()
        widths = [self.backbone.shape.features, *self.config.projector_widths]
        self.projector = mlp([*widths, self.config.embedding_dim], bias=False)

    def loss(self, batch: Batch, _: torch.Generator) -> Terms:
        """Three terms of the whole batch's outputs."""
        z1, z2 = (ranks.gather(self.projector(self.backbone(view))) for view in batch.views)
        config = self.config
        variance = (variance_term(z1) + variance_term(z2)) / 2
        covariance = covariance_term(z1) + covariance_term(z2)
        return {
            "invariance": Term(value=F.mse_loss(z1, z2), weight=config.invariance_weight),
            "variance": Term(value=variance, weight=config.variance_weight),
            "covariance": Term(value=covariance, weight=config.covariance_weight),
        }

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Backbone features."""
        return self.backbone.features(images)


METHOD = Method(
    name="vicreg",
    title="VICReg",
    paper="Bardes et al., VICReg: Variance-Invariance-Covariance Regularization, ICLR 2022",
    year=2022,
    config=VicregConfig,
    start=VicregTraining,
    poster=Poster(imagenet1k=73.20),
)
