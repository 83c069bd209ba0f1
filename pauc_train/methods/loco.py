"""LoCo (Xiong, Ren & Urtasun 2020): SimCLR's loss at every stage, gradients cut between stages.

There is no code of the authors. What overlaps is ours: the last block of each of the ResNet's
stages belongs to the next one's loss, too. A decoder is SimCLR's: mean over places, then an MLP.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pauc_train import ranks
from pauc_train.config import MANY, Config, setting
from pauc_train.local_stages import LocalStages
from pauc_train.method import Batch, BranchPath, Method, Poster, Setup, Term, Terms, Training
from pauc_train.methods.simclr import nt_xent

__all__ = ["METHOD", "LocoConfig", "LocoTraining"]


@dataclass(frozen=True, kw_only=True)
class LocoConfig(Config):
    """LoCo's settings; where we have not read it, SimCLR's."""

    overlap: int = setting(1, least=0, most=1000)  # blocks; 0 cuts stages apart, as Greedy InfoMax
    decoder_width: int = setting(2048, least=1, most=65536)
    temperature: float = setting(0.1, above=0)
    epochs: int = setting(800, least=1, most=MANY)
    batch_size: int = setting(4096, least=2, most=MANY)
    optimizer: Literal["sgd", "lars", "adamw"] = "lars"
    learning_rate: float = setting(4.8, above=0)
    weight_decay: float = setting(1e-6, least=0)
    schedule: Literal["cosine", "cosine-by-epoch", "step", "constant"] = "cosine"
    rate_warmup_epochs: float = setting(10.0, least=0)


class LocoTraining(Training):
    """An encoder whose stages learn apart, each with a decoder of its own."""

    branches: ClassVar[Mapping[str, BranchPath]] = {
        "online": BranchPath(backbone="local.encoder", projector="local.projector")
    }

    def __init__(self, setup: Setup[LocoConfig]) -> None:
        super().__init__()
        self.config = setup.config
        self.local = LocalStages(
            setup.encoder(),
            overlap=setup.config.overlap,
            hidden=setup.config.decoder_width,
            dim=setup.config.embedding_dim,
        )

    def loss(self, batch: Batch, generator: torch.Generator) -> Terms:  # noqa: ARG002
        """NT-Xent of every stage."""
        outputs: Tensor = self.local(torch.cat(batch.views)).float()
        first, second = (ranks.gather(part) for part in outputs.chunk(2))
        values = [
            nt_xent(a, b, temperature=self.config.temperature)
            for a, b in zip(first.unbind(1), second.unbind(1), strict=True)
        ]
        return {f"stage_{number}": Term(value=value) for number, value in enumerate(values, 1)}

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Backbone features of the whole ResNet."""
        return self.local.encoder.features(images)


METHOD = Method(
    name="loco",
    title="LoCo",
    paper="Xiong et al., LoCo: Local Contrastive Representation Learning, NeurIPS 2020",
    year=2020,
    config=LocoConfig,
    start=LocoTraining,
    needs="two views, large batches, gradients cut between stages",
    poster=Poster(imagenet1k=69.50),
)
