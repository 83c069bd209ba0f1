"""BYOL (Grill et al. 2020, Eq. 2): an online network predicts what its slow copy sees elsewhere.

No negatives: predictor and slow copy keep the outputs from becoming equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pauc_train import ranks
from pauc_train.config import Config, setting
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

__all__ = ["METHOD", "ByolConfig", "ByolTraining", "regression_loss"]


@dataclass(frozen=True, kw_only=True)
class ByolConfig(Config):
    """BYOL's settings, of 1,000 epochs."""

    embedding_dim: int = setting(256, least=1, most=65536)
    projector_widths: tuple[int, ...] = setting((4096,), least=1, most=65536)  # hidden layers
    predictor: Literal["mlp", "none"] = "mlp"  # none: what shows that BYOL needs it (ablation)
    predictor_width: int = setting(4096, least=1, most=65536)
    target_momentum: float = setting(0.996, least=0, most=1)  # at the start; it rises to 1
    views: str = setting("byol-first", known=tuple(VIEWS))
    second_views: str = setting("byol-second", known=tuple(VIEWS))
    epochs: int = setting(1000, least=1, most=10**7)
    batch_size: int = setting(4096, least=2, most=10**7)
    optimizer: Literal["sgd", "lars", "adamw"] = "lars"
    learning_rate: float = setting(3.2, above=0)  # 0.2 for 256 images
    weight_decay: float = setting(1.5e-6, least=0)
    schedule: Literal["cosine", "cosine-by-epoch", "step", "constant"] = "cosine"
    rate_warmup_epochs: float = setting(10.0, least=0)


def regression_loss(
    predicted: Float[Tensor, "b d"], target: Float[Tensor, "b d"]
) -> Float[Tensor, ""]:
    """Mean squared distance of unit vectors: 2 − 2 cos, in [0, 4] (Eq. 2). No gradient to `target`.

    >>> east, north = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    >>> regression_loss(east, east).item(), regression_loss(east, north).item()
    (0.0, 2.0)
    """
    return 2 - 2 * F.cosine_similarity(predicted, target.detach(), dim=1).mean()


class ByolTraining(Training):
    """Encoder, projector and predictor; slow copies of the first two give the targets."""

    branches: ClassVar = {
        "target": BranchPath(backbone="target_encoder", projector="target_projector"),
        "online": BranchPath(backbone="encoder", projector="projector"),
    }

    def __init__(self, setup: Setup[ByolConfig]) -> None:
        super().__init__()
        config = setup.config
        self.momentum = config.target_momentum
        self.encoder = setup.encoder()
        widths = [self.encoder.shape.features, *config.projector_widths, config.embedding_dim]
        self.projector = mlp(widths, bias=False)
        self.target_encoder = slow_copy(self.encoder)
        self.target_projector = slow_copy(self.projector)
        self.predictor: nn.Module = nn.Identity()
        if config.predictor == "mlp":
            dim = config.embedding_dim
            self.predictor = mlp([dim, config.predictor_width, dim], bias=False)

    def loss(self, batch: Batch, _: torch.Generator) -> Terms:
        """Each view predicts the other's target; the sum of both."""
        first, second = batch.views
        predicted = [ranks.gather(self._prediction(view)) for view in (first, second)]
        targets = [ranks.gather(self._target(view)) for view in (second, first)]
        losses = [regression_loss(p, t) for p, t in zip(predicted, targets, strict=True)]
        return {"regression": Term(value=losses[0] + losses[1])}

    def _prediction(self, images: Tensor) -> Float[Tensor, "b d"]:
        predicted: Tensor = self.predictor(self.projector(self.encoder(images)))
        return predicted

    @torch.no_grad()
    def _target(self, images: Tensor) -> Float[Tensor, "b d"]:
        projected: Tensor = self.target_projector(self.target_encoder(images))
        return projected

    def after_step(self, progress: float) -> None:
        """Let the slow copies follow."""
        momentum = rising_momentum(self.momentum, progress)
        follow(self.target_encoder, self.encoder, momentum)
        follow(self.target_projector, self.projector, momentum)

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Backbone features of the online encoder."""
        return self.encoder.features(images)


def _views(config: ByolConfig) -> Sequence[View]:
    return (preset(config.views), preset(config.second_views))


METHOD = Method(
    name="byol",
    title="BYOL",
    paper="Grill et al., Bootstrap Your Own Latent, NeurIPS 2020",
    year=2020,
    config=ByolConfig,
    start=ByolTraining,
    views=_views,
    needs="two views, momentum encoder, predictor",
    poster=Poster(imagenet100=(75.80, None), imagenet1k=74.30),
)
