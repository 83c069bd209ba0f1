"""CMC (Tian et al. 2020): the lightness of an image agrees with its colours, and the reverse.

Two networks of half width and two banks, by NCE or softmax; names are PyContrast's. A grey image
has no colours, and its two spatial derivatives in their place (ours).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, Literal, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.encoders import ARCHITECTURES, ResNet
from nemd_toolkit.errors import InputError
from pauc_train import colour, ranks
from pauc_train.config import MANY, setting
from pauc_train.heads import mlp
from pauc_train.memory_bank import BankConfig, BankLoss, BankLossConfig, MemoryBank
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

__all__ = ["METHOD", "C", "CmcConfig", "CmcTraining", "HalvesConfig", "TwoHalves", "halves"]

# CMC's train_CMC.py: Lab's ranges over all colours, brought to −1…1
_MIDDLE = (50.0, (98.233 - 86.183) / 2, (94.478 - 107.857) / 2)
_REACH = (50.0, (98.233 + 86.183) / 2, (94.478 + 107.857) / 2)


@dataclass(frozen=True, kw_only=True)
class HalvesConfig(BankConfig):
    """What CMC and its debiased kin share (train_CMC.py)."""

    bank_negatives: int = setting(16384, least=0, most=MANY)  # --nce_k
    views: str = setting("cmc", known=tuple(VIEWS))
    epochs: int = setting(400, least=1, most=MANY)  # --epochs
    schedule: Literal["cosine", "cosine-by-epoch", "step", "constant"] = "step"
    # --lr_decay_epochs: 250, 300, 350
    milestones: tuple[float, ...] = setting((0.625, 0.75, 0.875), above=0, most=1)


@dataclass(frozen=True, kw_only=True)
class CmcConfig(HalvesConfig, BankLossConfig):
    """CMC's settings."""


C = TypeVar("C", bound=HalvesConfig)


def halves(
    images: Float[Tensor, "b c h w"],
) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b 2 h w"]]:
    """L and ab of images in [0, 1], brought to −1…1; a grey image and its slopes down and right.

    >>> grey = torch.arange(9.0).view(1, 1, 3, 3) / 10
    >>> halves(grey)[1][0, :, 1, 1]
    tensor([0.3000, 0.1000])
    """
    if images.shape[1] == 3:
        middle, reach = (images.new_tensor(x).view(1, 3, 1, 1) for x in (_MIDDLE, _REACH))
        scaled = (colour.lab(images) - middle) / reach
        return scaled[:, :1], scaled[:, 1:]
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    down = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    right = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    return images, torch.cat([down, right], dim=1)


class TwoHalves(Training, Generic[C]):
    """Two networks, each with a bank that the other one's embeddings are contrasted with.

    Raises InputError for images of other than 1 or 3 channels.
    """

    branches: ClassVar = {
        "lightness": BranchPath(backbone="encoder1", projector="head1"),
        "colours": BranchPath(backbone="encoder2", projector="head2"),
    }

    def __init__(self, setup: Setup[C]) -> None:
        super().__init__()
        if setup.channels not in (1, 3):
            raise InputError(
                f"cmc: expected grey or RGB images, got {setup.channels} channels; "
                "choose another method"
            )
        config = setup.config
        self.config = config
        self.mean, self.std = setup.mean, setup.std
        shape = ARCHITECTURES[config.arch]
        shape = replace(shape, width=max(1, shape.width // 2), head="none")
        self.encoder1 = ResNet(replace(shape, channels=1))
        self.encoder2 = ResNet(replace(shape, channels=2))
        self.head1 = mlp([shape.features, config.embedding_dim])
        self.head2 = mlp([shape.features, config.embedding_dim])
        self.bank1 = MemoryBank(setup.count, config, setup.generator)
        self.bank2 = MemoryBank(setup.count, config, setup.generator)

    def contrasted(
        self,
        batch: Batch,
        generator: torch.Generator,
        contrast: Callable[[Float[Tensor, "b m1"], int], Float[Tensor, ""]],
    ) -> Terms:
        """Add up `contrast` of the logits of either half, number 0 and 1; then banks move on."""
        one, two = self._halves(batch.views[0])
        first, second = self.head1(self.encoder1(one)), self.head2(self.encoder2(two))
        first, second = (ranks.gather(F.normalize(x, dim=1)) for x in (first, second))
        indices = ranks.gather(batch.indices)
        drawn = self.bank1.draw(indices, generator)
        to_colours = contrast(self.bank2.logits(first, indices, drawn), 0)
        to_lightness = contrast(self.bank1.logits(second, indices, drawn), 1)
        self.bank1.update(indices, first)
        self.bank2.update(indices, second)
        return {"lightness": Term(value=to_colours), "colours": Term(value=to_lightness)}

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Backbone features of both networks, one after the other."""
        one, two = self._halves(images)
        return torch.cat([self.encoder1(one), self.encoder2(two)], dim=1)

    def _halves(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = (images.new_tensor(x).view(1, -1, 1, 1) for x in (self.mean, self.std))
        if images.shape[1] == 1:  # normalised as they are
            return halves(images)
        return halves((images * std + mean).clamp(0, 1))


class CmcTraining(TwoHalves[CmcConfig]):
    """The configured loss in both directions."""

    def __init__(self, setup: Setup[CmcConfig]) -> None:
        super().__init__(setup)
        self.lightness_loss = BankLoss(setup.count, setup.config)
        self.colours_loss = BankLoss(setup.count, setup.config)

    def loss(self, batch: Batch, generator: torch.Generator) -> Terms:
        """Give the loss in both directions, which CMC adds up."""
        losses = self.lightness_loss, self.colours_loss
        return self.contrasted(batch, generator, lambda logits, half: losses[half].of(logits))


METHOD = Method(
    name="cmc",
    title="CMC",
    paper="Tian et al., Contrastive Multiview Coding, ECCV 2020",
    year=2020,
    config=CmcConfig,
    start=CmcTraining,
    views=lambda config: (preset(config.views),),
    needs="one view in two halves, two networks, memory banks",
    poster=Poster(imagenet100=(66.20, 87.00), imagenet1k=64.00),
)
