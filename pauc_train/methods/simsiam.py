"""SimSiam (Chen & He 2021, Eq. 1 and 2): a predictor and a stopped gradient, and nothing else.

Names are those of facebookresearch/simsiam: the projector is the encoder's `fc`. Its residual
blocks start as identities and its projector's last layer has a frozen bias; ours have neither.
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
from pauc_train.method import Batch, BranchPath, Method, Poster, Rate, Setup, Term, Terms, Training

__all__ = ["METHOD", "SimsiamConfig", "SimsiamTraining", "negative_cosine"]


@dataclass(frozen=True, kw_only=True)
class SimsiamConfig(Config):
    """SimSiam's settings, of 100 epochs."""

    embedding_dim: int = setting(2048, least=1, most=65536)
    predictor_width: int = setting(512, least=1, most=65536)  # a bottleneck
    epochs: int = setting(100, least=1, most=10**7)
    batch_size: int = setting(512, least=2, most=10**7)
    learning_rate: float = setting(0.1, above=0)  # 0.05 for 256 images
    schedule: Literal["cosine", "cosine-by-epoch", "step", "constant"] = "cosine-by-epoch"


def negative_cosine(
    predicted: Float[Tensor, "b d"], target: Float[Tensor, "b d"]
) -> Float[Tensor, ""]:
    """Mean of −cos (Eq. 1), in [-1, 1]. No gradient to `target`.

    >>> east, north = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    >>> negative_cosine(east, east).item(), negative_cosine(east, north).item()
    (-1.0, -0.707)
    """
    return -F.cosine_similarity(predicted, target.detach(), dim=1).mean()


class SimsiamTraining(Training):
    """One encoder with a projector of three layers, and a predictor whose rate stays constant."""

    branches: ClassVar = {"encoder": BranchPath(backbone="encoder")}
    rates = (Rate(prefix="predictor", constant=True),)  # --fix-pred-lr, section 4.2

    def __init__(self, setup: Setup[SimsiamConfig]) -> None:
        super().__init__()
        config = setup.config
        self.encoder = setup.encoder("linear")
        width, dim = self.encoder.shape.features, config.embedding_dim
        self.encoder.fc = mlp([width, width, width, dim], last_norm=True)
        self.predictor = mlp([dim, config.predictor_width, dim])

    def loss(self, batch: Batch, _: torch.Generator) -> Terms:
        """Each view predicts the other's projection (Eq. 2)."""
        z1, z2 = (self.encoder(view) for view in batch.views)
        p1, p2 = (ranks.gather(self.predictor(z)) for z in (z1, z2))
        z1, z2 = (ranks.gather(z.detach()) for z in (z1, z2))
        return {
            "negative_cosine": Term(
                value=negative_cosine(p1, z2) / 2 + negative_cosine(p2, z1) / 2
            ),
            # near 1/√d while outputs differ, 0 when they have collapsed (section 4.1, Fig. 2)
            "output_std": Term(value=F.normalize(z1, dim=1).std(0).mean(), weight=0.0),
        }

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Backbone features."""
        return self.encoder.features(images)


METHOD = Method(
    name="simsiam",
    title="SimSiam",
    paper="Chen & He, Exploring Simple Siamese Representation Learning, CVPR 2021",
    year=2021,
    config=SimsiamConfig,
    start=SimsiamTraining,
    needs="two views, predictor",
    poster=Poster(imagenet1k=71.30),
)
