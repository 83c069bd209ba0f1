"""Training with momentum contrast and any loss on queries, keys, queue and clusterings."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nemd_toolkit.encoders import ResNet
from pauc_train.config import Config
from pauc_train.expectation import Clustering, cluster
from pauc_train.method import Batch, Embed, Terms
from pauc_train.momentum import MomentumContrast

__all__ = ["ContrastTraining", "Step"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """All that a loss may look at in one step; only `query` has a gradient."""

    query: Float[Tensor, "b d"]  # unit rows, as all below
    key: Float[Tensor, "b d"]
    queue: Float[Tensor, "r d"]
    indices: Int[Tensor, " b"]
    clusterings: tuple[Clustering, ...]  # empty during warm-up
    config: Config
    generator: torch.Generator


class ContrastTraining:
    """MoCo's two encoders and queue; an E-step before each epoch for methods with prototypes."""

    def __init__(
        self,
        config: Config,
        encoder: ResNet,
        generator: torch.Generator,
        *,
        terms: Callable[[Step], Terms],
        prototypes: bool,
    ) -> None:
        self.config = config
        self.model = MomentumContrast(encoder, queue_size=config.queue_size, generator=generator)
        self.clusterings: tuple[Clustering, ...] = ()
        self._terms = terms
        self.prototypes = prototypes

    def begin_epoch(self, epoch: int, embed: Embed) -> None:
        """E-step on the momentum encoder's embeddings, once warm-up is over."""
        if not self.prototypes or epoch < self.config.warmup_epochs:
            return
        self.model.eval()  # as PCL's compute_features
        embeddings = embed(self.model.key)
        self.model.train()
        self.clusterings = cluster(embeddings, self.config)

    def loss(self, batch: Batch, generator: torch.Generator) -> Terms:
        """Terms on this batch; the key encoder follows first and the queue moves on, as in PCL."""
        query = self.model.query(batch.first)
        self.model.follow(self.config.key_momentum)
        key = self.model.key(batch.second)
        step = Step(
            query=query,
            key=key,
            queue=self.model.negatives(),
            indices=batch.indices,
            clusterings=self.clusterings,
            config=self.config,
            generator=generator,
        )
        terms = self._terms(step)
        self.model.enqueue(key)
        return terms
