"""MoCo v3 (Chen, Xie & He 2021, Algorithm 1): predictions of one view find the other's key.

Keys of the same batch are all there is to choose from. Settings are ResNet-50's for 300 epochs
(facebookresearch/moco-v3, CONFIG.md). Left out: zero-initialised last norms of residual blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.encoders import ResNet
from pauc_train import ranks
from pauc_train.config import MANY, Config, setting
from pauc_train.heads import mlp
from pauc_train.method import (
    Batch,
    BranchPath,
    Method,
    Poster,
    Setup,
    Term,
    Terms,
    Training,
    View,
    preset,
)
from pauc_train.momentum import follow, rising_momentum, slow_copy
from pauc_train.views import VIEWS

__all__ = ["METHOD", "Mocov3Config", "Mocov3Training", "contrastive"]


@dataclass(frozen=True, kw_only=True)
class Mocov3Config(Config):
    """MoCo v3's settings."""

    embedding_dim: int = setting(256, least=1, most=65536)
    projector_widths: tuple[int, ...] = setting((4096,), least=1, most=65536)  # hidden layers
    predictor_width: int = setting(4096, least=1, most=65536)
    temperature: float = setting(1.0, above=0)
    target_momentum: float = setting(0.99, least=0, most=1)  # at the start; it rises to 1
    views: str = setting("byol-first", known=tuple(VIEWS))  # BYOL's; theirs crops from .2 on
    second_views: str = setting("byol-second", known=tuple(VIEWS))
    epochs: int = setting(300, least=1, most=MANY)
    batch_size: int = setting(4096, least=2, most=MANY)
    optimizer: Literal["sgd", "lars", "adamw"] = "lars"
    learning_rate: float = setting(4.8, above=0)  # 0.3 for 256 images
    weight_decay: float = setting(1e-6, least=0)
    schedule: Literal["cosine", "cosine-by-epoch", "step", "constant"] = "cosine"
    rate_warmup_epochs: float = setting(10.0, least=0)


def contrastive(
    query: Float[Tensor, "b d"], key: Float[Tensor, "b d"], *, temperature: float = 1.0
) -> Float[Tensor, ""]:
    """2T times the cross-entropy of each query finding its key among the batch's (Algorithm 1).

    Rows of any length; similarity is their cosine.

    >>> contrastive(torch.eye(2), torch.eye(2)).item()  # 2 ln(1 + 1/e)
    0.6265
    """
    logits = F.normalize(query, dim=1) @ F.normalize(key, dim=1).T / temperature
    own = torch.arange(len(query), device=query.device)
    return 2 * temperature * F.cross_entropy(logits, own)


class Mocov3Training(Training):
    """An encoder with a predictor, and the encoder's slow copy."""

    branches: ClassVar = {
        "base": BranchPath(backbone="base_encoder"),
        "momentum": BranchPath(backbone="momentum_encoder"),
    }

    def __init__(self, setup: Setup[Mocov3Config]) -> None:
        super().__init__()
        self.config = setup.config
        self.base_encoder = _encoder(setup)
        self.momentum_encoder = slow_copy(self.base_encoder)
        dim = self.config.embedding_dim
        self.predictor = mlp([dim, self.config.predictor_width, dim], last_norm=True)

    def loss(self, batch: Batch, _: torch.Generator) -> Terms:
        """Each view's predictions find the other's keys; the slow copy follows in between."""
        first, second = (ranks.gather(self._predict(view)) for view in batch.views)
        momentum = rising_momentum(self.config.target_momentum, batch.progress)
        follow(self.momentum_encoder, self.base_encoder, momentum)
        keys = [ranks.gather(self._key(view)) for view in batch.views]
        temperature = self.config.temperature
        value = contrastive(first, keys[1], temperature=temperature)
        value = value + contrastive(second, keys[0], temperature=temperature)
        return {"contrastive": Term(value=value)}

    def _predict(self, images: Tensor) -> Float[Tensor, "b d"]:
        predicted: Tensor = self.predictor(self.base_encoder(images))
        return predicted

    @torch.no_grad()
    def _key(self, images: Tensor) -> Float[Tensor, "b d"]:
        key: Tensor = self.momentum_encoder(images)
        return key

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Backbone features of the base encoder."""
        return self.base_encoder.features(images)


def _encoder(setup: Setup[Mocov3Config]) -> ResNet:
    encoder = setup.encoder("linear")
    widths = [encoder.shape.features, *setup.config.projector_widths, setup.config.embedding_dim]
    encoder.fc = mlp(widths, last_norm=True)
    return encoder


def _views(config: Mocov3Config) -> Sequence[View]:
    return (preset(config.views), preset(config.second_views))


METHOD = Method(
    name="mocov3",
    title="MoCo v3",
    paper="Chen, Xie & He, An Empirical Study of Training Self-Supervised ViTs, ICCV 2021",
    year=2021,
    config=Mocov3Config,
    start=Mocov3Training,
    views=_views,
    needs="two views, momentum encoder, predictor, large batches",
    poster=Poster(imagenet1k=72.80),  # theirs for 300 epochs; 74.60 for 1,000
)
