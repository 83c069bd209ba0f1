"""NPID (Wu et al. 2018): one view of each image against a memory bank of all, by NCE or softmax.

The paper's proximal term (Eq. 8) is there with a weight; the authors' code leaves it out, since the
bank's momentum does the same.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pauc_train import ranks
from pauc_train.config import setting
from pauc_train.memory_bank import BankLoss, BankLossConfig, MemoryBank
from pauc_train.method import (
    Batch,
    BranchPath,
    Method,
    Poster,
    Setup,
    Term,
    Terms,
    Training,
    preset,
)
from pauc_train.views import VIEWS

__all__ = ["METHOD", "NpidConfig", "NpidTraining", "proximity"]


@dataclass(frozen=True, kw_only=True)
class NpidConfig(BankLossConfig):
    """NPID's settings."""

    proximal_weight: float = setting(0.0, least=0)  # λ; lemniscate.pytorch has none
    views: str = setting("photos-v1", known=tuple(VIEWS))
    schedule: Literal["cosine", "cosine-by-epoch", "step", "constant"] = "step"


def proximity(now: Float[Tensor, "b d"], before: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """E‖v − v′‖² between an image's embedding and the one in the bank (NPID, Eq. 8).

    >>> proximity(torch.eye(2), torch.zeros(2, 2)).item()
    1.0
    """
    return (now - before).square().sum(1).mean()


class NpidTraining(Training):
    """One encoder and a bank."""

    branches: ClassVar = {"online": BranchPath(backbone="encoder")}

    def __init__(self, setup: Setup[NpidConfig]) -> None:
        super().__init__()
        config = setup.config
        self.config = config
        self.encoder = setup.encoder("linear")
        self.bank = MemoryBank(setup.count, config, setup.generator)
        self.instance_loss = BankLoss(setup.count, config)

    def loss(self, batch: Batch, generator: torch.Generator) -> Terms:
        """NCE or softmax, and the proximal term; then the bank moves on."""
        embedding = ranks.gather(F.normalize(self.encoder(batch.views[0]), dim=1))
        indices = ranks.gather(batch.indices)
        drawn = self.bank.draw(indices, generator)
        value = self.instance_loss.of(self.bank.logits(embedding, indices, drawn))
        proximal = proximity(embedding, self.bank.memory[indices])
        self.bank.update(indices, embedding)
        return {
            "instance": Term(value=value),
            "proximal": Term(value=proximal, weight=self.config.proximal_weight),
        }

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Backbone features."""
        return self.encoder.features(images)


METHOD = Method(
    name="npid",
    title="NPID",
    paper="Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, "
    "CVPR 2018",
    year=2018,
    config=NpidConfig,
    start=NpidTraining,
    views=lambda config: (preset(config.views),),
    needs="one view, memory bank",
    poster=Poster(imagenet100=(75.30, None)),
)
