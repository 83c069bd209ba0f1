"""PIC (Cao et al. 2020): one branch that classifies images, each one a class with a weight.

Softmax of cosines with the weights over τ (Eq. 1), among all images or among those seen most
recently (section 3.3); small crops do not move the weights. Source: the paper, and bl0/PIC, whose
names these are and which has no recent negatives. All weights follow every step, so that the
paper's correction of those left out is not needed. An epoch is a pass over the images, where the
paper's sliding window shows those of a window (ours: section 3.2 is left out).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pauc_train import ranks
from pauc_train.config import MANY, Config, setting
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
from pauc_train.views import VIEWS

__all__ = ["METHOD", "PicConfig", "PicTraining", "Recency"]


@dataclass(frozen=True, kw_only=True)
class PicConfig(Config):
    """PIC's settings with crops of two sizes (scripts/PIC.sh)."""

    temperature: float = setting(0.2, above=0)  # τ, section 4.1
    head: Literal["linear", "mlp"] = "mlp"  # section 4.1
    # 0: all images are negatives, as in the code; the paper has 65,536
    recent_classes: int = setting(0, least=0, most=MANY)
    views: str = setting("pic-large", known=tuple(VIEWS))
    small_views: str = setting("pic-small", known=tuple(VIEWS))
    small_crops: int = setting(3, least=0, most=100)  # --num-crop2
    batch_size: int = setting(512, least=2, most=MANY)  # the paper
    learning_rate: float = setting(0.06, above=0)  # the paper; 0.03 for 256
    epochs: int = setting(400, least=1, most=MANY)
    schedule: Literal["cosine", "cosine-by-epoch", "step", "constant"] = "cosine"
    rate_warmup_epochs: float = setting(10.0, least=0)  # a fortieth


class Recency(nn.Module):
    """In which order images were seen last.

    >>> order = Recency(5)
    >>> order.see(torch.tensor([3, 1]))
    >>> order.latest(3).tolist()  # images not seen yet count as seen in order, backwards
    [1, 3, 0]
    """

    last: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("last", -torch.arange(1, count + 1))

    @torch.no_grad()
    def see(self, indices: Int[Tensor, " b"]) -> None:
        """Put these images last, in their order."""
        after = torch.arange(1, len(indices) + 1, device=indices.device)
        self.last[indices] = self.last.amax().clamp_min(0) + after

    def latest(self, number: int) -> Int[Tensor, " k"]:
        """Give the images seen last, the last first."""
        return self.last.topk(min(number, len(self.last))).indices


class PicTraining(Training):
    """An encoder, and a weight for every image."""

    branches: ClassVar = {"online": BranchPath(backbone="encoder")}

    def __init__(self, setup: Setup[PicConfig]) -> None:
        super().__init__()
        config = setup.config
        self.config = config
        self.encoder = setup.encoder(config.head)
        drawn = torch.randn(setup.count, config.embedding_dim)
        self.sim_matrix = nn.Parameter(0.01 * drawn)
        self.recency = Recency(setup.count) if config.recent_classes else None

    def loss(self, batch: Batch, _: torch.Generator) -> Terms:
        """Cross-entropy of every crop, each image being its own class."""
        indices = ranks.gather(batch.indices)
        weights, labels = F.normalize(self.sim_matrix, dim=1), indices
        if self.recency is not None:
            self.recency.see(indices)
            # never fewer than the batch, whose own classes must be there
            chosen = self.recency.latest(max(self.config.recent_classes, len(indices)))
            labels = (chosen == indices[:, None]).long().argmax(1)
            weights = weights[chosen]
        losses = []
        for number, view in enumerate(batch.views):
            embedding = F.normalize(self.encoder(view), dim=1)
            moved = weights if number == 0 else weights.detach()
            logits = ranks.gather(embedding @ moved.T) / self.config.temperature
            losses.append(F.cross_entropy(logits, labels))
        return {"instance": Term(value=torch.stack(losses).mean())}

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Backbone features."""
        return self.encoder.features(images)


def _views(config: PicConfig) -> Sequence[View]:
    return (preset(config.views), *[preset(config.small_views)] * config.small_crops)


METHOD = Method(
    name="pic",
    title="PIC",
    paper="Cao et al., Parametric Instance Classification for Unsupervised Visual Feature "
    "Learning, NeurIPS 2020",
    year=2020,
    config=PicConfig,
    start=PicTraining,
    views=_views,
    needs="a view and small crops, a weight for every image",
    poster=Poster(imagenet1k=70.80),
)
