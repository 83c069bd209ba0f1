"""Training with momentum contrast and any loss on queries, keys, queue and clusterings."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pauc_train import ranks
from pauc_train.config import MANY, Config, setting
from pauc_train.expectation import Clustering, PrototypeConfig, cluster
from pauc_train.method import Batch, Embed, Setup, Terms
from pauc_train.momentum import MomentumContrast

__all__ = ["ContrastConfig", "ContrastTraining", "Step"]


@dataclass(frozen=True, kw_only=True)
class ContrastConfig(Config):
    """Settings of momentum contrast, with MoCo v2's defaults as PCL has them."""

    head: Literal["linear", "mlp"] = "mlp"  # MoCo v2, PCL --mlp
    temperature: float = setting(0.2, above=0)  # MoCo v2, PCL; also the mean of φ
    instance_weight: float = setting(1.0, least=0)  # PCL has none; 0 leaves InfoNCE out (ablation)
    queue_size: int = setting(16384, least=1, most=MANY)  # PCL, --pcl-r; MoCo has 65,536
    key_momentum: float = setting(0.999, least=0, most=1)  # PCL, --moco-m
    # in several processes: of the whole batch, or each its own and keys shuffled among them (MoCo)
    batch_norm: Literal["synchronised", "shuffled"] = "synchronised"

    @property
    def shuffles_keys(self) -> bool:
        """Whether keys are shuffled among processes, each with batch statistics of its own."""
        return self.batch_norm == "shuffled"


C = TypeVar("C", bound=ContrastConfig)
S = TypeVar("S", bound=ContrastConfig, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step(Generic[S]):
    """All that a loss may look at in one step; only `query` has a gradient."""

    query: Float[Tensor, "b d"]  # unit rows, as all below
    key: Float[Tensor, "b d"]
    queue: Float[Tensor, "r d"]
    indices: Int[Tensor, " b"]
    clusterings: tuple[Clustering, ...]  # empty during warm-up
    config: S
    generator: torch.Generator


class ContrastTraining(MomentumContrast, Generic[C]):
    """MoCo's two encoders and queue; an E-step before each epoch for methods with prototypes."""

    def __init__(self, setup: Setup[C], *, terms: Callable[[Step[C]], Terms]) -> None:
        super().__init__(
            setup.encoder(setup.config.head),
            queue_size=setup.config.queue_size,
            generator=setup.generator,
            shuffle=setup.config.shuffles_keys,
        )
        self.config = setup.config
        self._terms = terms

    def begin_epoch(self, epoch: int, embed: Embed) -> None:
        """E-step on the momentum encoder's embeddings, once warm-up is over."""
        config: Config = self.config
        if not isinstance(config, PrototypeConfig) or epoch < config.warmup_epochs:
            return
        self.eval()  # as PCL's compute_features
        embeddings = embed(self.key)
        self.train()
        self.clusterings = cluster(embeddings, config, mean_phi=self.config.temperature)

    def loss(self, batch: Batch, generator: torch.Generator) -> Terms:
        """Terms on this batch; the key encoder follows first and the queue moves on, as in PCL."""
        query, key = self.pair(batch, self.config.key_momentum, generator)
        step = Step(
            query=query,
            key=key,
            queue=self.negatives(),
            indices=ranks.gather(batch.indices),
            clusterings=self.clusterings,
            config=self.config,
            generator=generator,
        )
        terms = self._terms(step)
        self.enqueue(key)
        return terms
