"""PIRL (Misra & van der Maaten 2020): an image and its jigsaw puzzle agree with a memory bank.

L = λ NCE(m, g(v of patches)) + (1−λ) NCE(m, f(v of the image)), Eq. 5; the bank follows f. NCE is
NPID's with one constant Z, as in the authors' VISSL; softmax in its place is PyContrast's, as names
are. The number of patches is a setting: images of 8 pixels hold 2x2 (ours).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pauc_train import ranks
from pauc_train.config import MANY, setting
from pauc_train.heads import mlp
from pauc_train.jigsaw import JigsawHead, jigsaw, patches
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
    View,
    preset,
)
from pauc_train.views import VIEWS

__all__ = ["METHOD", "PirlConfig", "PirlTraining"]


@dataclass(frozen=True, kw_only=True)
class PirlConfig(BankLossConfig):
    """PIRL's settings."""

    jigsaw_weight: float = setting(0.5, least=0, most=1)  # λ, section 3.2
    grid: int = setting(3, least=2, most=16)  # cells along a side: 9 patches
    views: str = setting("photos-v1", known=tuple(VIEWS))
    jigsaw_views: str = setting("jigsaw", known=tuple(VIEWS))  # what patches are cut from
    bank_negatives: int = setting(32000, least=0, most=MANY)  # N, section 3.3
    batch_size: int = setting(1024, least=2, most=MANY)  # section 3.3
    learning_rate: float = setting(0.12, above=0)  # section 3.3
    epochs: int = setting(800, least=1, most=MANY)  # section 3.3


class PirlTraining(Training):
    """One encoder with two heads, and a bank."""

    branches: ClassVar = {"online": BranchPath(backbone="encoder", projector="head")}

    def __init__(self, setup: Setup[PirlConfig]) -> None:
        super().__init__()
        config = setup.config
        self.config = config
        self.encoder = setup.encoder()
        widths = [self.encoder.shape.features, config.embedding_dim]
        self.head = mlp(widths)
        self.head_jig = JigsawHead(widths, config.grid**2)
        self.bank = MemoryBank(setup.count, config, setup.generator)
        self.instance_loss = BankLoss(setup.count, config)

    def loss(self, batch: Batch, generator: torch.Generator) -> Terms:
        """Both terms, with the same images drawn; then the bank moves on."""
        image = self.head(self.encoder(batch.views[0]))
        puzzle = self.head_jig(self.encoder(patches(batch.views[1], self.config.grid)))
        image, puzzle = (ranks.gather(F.normalize(x, dim=1)) for x in (image, puzzle))
        indices = ranks.gather(batch.indices)
        drawn = self.bank.draw(indices, generator)
        weight = self.config.jigsaw_weight
        terms = {
            name: Term(value=self.instance_loss.of(self.bank.logits(x, indices, drawn)), weight=w)
            for name, x, w in (("image", image, 1 - weight), ("jigsaw", puzzle, weight))
        }
        self.bank.update(indices, image)
        return terms

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Backbone features."""
        features: Tensor = self.encoder(images)
        return features


def _views(config: PirlConfig) -> Sequence[View]:
    return (preset(config.views), jigsaw(preset(config.jigsaw_views), config.grid))


METHOD = Method(
    name="pirl",
    title="PIRL",
    paper="Misra & van der Maaten, Self-Supervised Learning of Pretext-Invariant Representations, "
    "CVPR 2020",
    year=2020,
    config=PirlConfig,
    start=PirlTraining,
    views=_views,
    needs="a view and a jigsaw puzzle, memory bank",
    poster=Poster(imagenet1k=63.60),
)
