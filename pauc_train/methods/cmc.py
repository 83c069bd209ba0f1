"""CMC (Tian et al. 2020): NCE between two halves of the colours, a network of half width for each.

The halves are Y and DbDr, a linear map of the pixels; the paper has L and ab too. A grey image's
halves are itself and its two spatial derivatives (ours). Names are those of PyContrast.
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
from pauc_train import ranks
from pauc_train.config import MANY, setting
from pauc_train.heads import mlp
from pauc_train.memory_bank import BankConfig, MemoryBank, Partition, nce
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

__all__ = ["METHOD", "C", "CmcConfig", "CmcTraining", "TwoHalves", "halves"]

_YDBDR = ((0.299, 0.587, 0.114), (-0.450, -0.883, 1.333), (-1.333, 1.116, 0.217))


@dataclass(frozen=True, kw_only=True)
class CmcConfig(BankConfig):
    """CMC's settings (train_CMC.py)."""

    epochs: int = setting(400, least=1, most=MANY)  # --epochs
    schedule: Literal["cosine", "cosine-by-epoch", "step", "constant"] = "step"
    # --lr_decay_epochs: 250, 300, 350
    milestones: tuple[float, ...] = setting((0.625, 0.75, 0.875), above=0, most=1)


C = TypeVar("C", bound=BankConfig)


def halves(
    images: Float[Tensor, "b c h w"],
) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b 2 h w"]]:
    """Brightness, and the two channels of colour, or of a grey image's slopes down and right.

    Raises InputError for images of other than 1 or 3 channels.

    >>> grey = torch.arange(9.0).view(1, 1, 3, 3)
    >>> halves(grey)[1][0, :, 1, 1]
    tensor([3., 1.])
    """
    channels = images.shape[1]
    if channels == 3:
        mixed = torch.einsum("oc,bchw->bohw", images.new_tensor(_YDBDR), images)
        return mixed[:, :1], mixed[:, 1:]
    if channels != 1:
        raise InputError(
            f"cmc: expected grey or RGB images, got {channels} channels; choose another method"
        )
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    down = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    right = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    return images, torch.cat([down, right], dim=1)


class TwoHalves(Training, Generic[C]):
    """Two networks, each with a bank that the other one's embeddings are contrasted with."""

    branches: ClassVar = {
        "brightness": BranchPath(backbone="encoder1", projector="head1"),
        "colour": BranchPath(backbone="encoder2", projector="head2"),
    }

    def __init__(self, setup: Setup[C]) -> None:
        super().__init__()
        config = setup.config
        self.config = config
        shape = ARCHITECTURES[config.arch]
        shape = replace(shape, width=max(1, shape.width // 2), head="none")
        self.encoder1 = ResNet(replace(shape, channels=1))
        self.encoder2 = ResNet(replace(shape, channels=2))
        self.head1 = mlp([shape.features, config.embedding_dim])
        self.head2 = mlp([shape.features, config.embedding_dim])
        self.bank1, self.bank2 = (
            MemoryBank(
                setup.count,
                config.embedding_dim,
                momentum=config.bank_momentum,
                generator=setup.generator,
            )
            for _ in range(2)
        )

    def contrasted(
        self,
        batch: Batch,
        generator: torch.Generator,
        contrast: Callable[[Float[Tensor, "b m1"], int], Float[Tensor, ""]],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Apply `contrast` to the logits of either half, number 0 and 1; then banks move on."""
        config = self.config
        one, two = halves(batch.views[0])
        first = self.head1(self.encoder1(one).float()).float()
        second = self.head2(self.encoder2(two).float()).float()
        first, second = (ranks.gather(F.normalize(x, dim=1)) for x in (first, second))
        indices = ranks.gather(batch.indices)
        drawn = self.bank1.draw(indices, config.bank_negatives, generator)
        against_colour = self.bank2.similarities(first, indices, drawn) / config.temperature
        against_brightness = self.bank1.similarities(second, indices, drawn) / config.temperature
        values = contrast(against_colour, 0), contrast(against_brightness, 1)
        self.bank1.update(indices, first)
        self.bank2.update(indices, second)
        return values

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Backbone features of both networks, one after the other."""
        one, two = halves(images)
        return torch.cat([self.encoder1(one), self.encoder2(two)], dim=1)


class CmcTraining(TwoHalves[CmcConfig]):
    """NPID's NCE in both directions."""

    def __init__(self, setup: Setup[CmcConfig]) -> None:
        super().__init__(setup)
        self.partition1 = Partition()
        self.partition2 = Partition()

    def loss(self, batch: Batch, generator: torch.Generator) -> Terms:
        """Give NCE in both directions, which CMC adds up."""
        count = len(self.bank1.memory)
        partitions = self.partition1, self.partition2

        def contrast(logits: Tensor, half: int) -> Tensor:
            return nce(logits, partitions[half].settle(logits, count), count=count)

        brightness, colour = self.contrasted(batch, generator, contrast)
        return {"brightness_nce": Term(value=brightness), "colour_nce": Term(value=colour)}


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
