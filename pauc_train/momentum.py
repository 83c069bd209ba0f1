"""Momentum contrast (He et al. 2020): query encoder, its slow copy for keys, a queue of keys.

State dict names are PCL's: `encoder_q.*`, `encoder_k.*`, `queue` (dim x r), `queue_ptr`.
"""

import copy
import math
from collections.abc import Callable
from typing import ClassVar, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nemd_toolkit.encoders import ResNet
from pauc_train import ranks
from pauc_train.method import Batch, BranchPath, Training

__all__ = ["MomentumContrast", "follow", "rising_momentum", "slow_copy"]

M = TypeVar("M", bound=nn.Module)


def slow_copy(module: M) -> M:
    """Copy a network for keys or targets: same weights, no gradients.

    >>> any(p.requires_grad for p in slow_copy(nn.Linear(2, 2)).parameters())
    False
    """
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, momentum: float) -> None:
    """Move parameters: slow ← m·slow + (1−m)·fast. Batch statistics stay the slow one's own.

    >>> a, b = nn.Linear(1, 1), nn.Linear(1, 1)
    >>> follow(a, b, 0.0)
    >>> torch.equal(a.weight, b.weight)
    True
    """
    for k, q in zip(slow.parameters(), fast.parameters(), strict=True):
        k.mul_(momentum).add_(q, alpha=1.0 - momentum)


def rising_momentum(start: float, progress: float) -> float:
    """Momentum that rises from `start` to 1 as a cosine (BYOL, section 3.2; MoCo v3).

    >>> rising_momentum(0.996, 0.0), rising_momentum(0.996, 0.5), rising_momentum(0.996, 1.0)
    (0.996, 0.998, 1.0)
    """
    return 1 - (1 - start) * (math.cos(math.pi * progress) + 1) / 2


class MomentumContrast(Training):
    """Two encoders of one shape, of which only the query encoder has gradients, and a queue."""

    branches: ClassVar = {
        "key": BranchPath(backbone="encoder_k"),
        "query": BranchPath(backbone="encoder_q"),
    }
    queue: Tensor
    queue_ptr: Tensor

    def __init__(
        self,
        encoder: ResNet,
        *,
        queue_size: int,
        generator: torch.Generator,
        shuffle: bool = False,  # keys among processes
    ) -> None:
        super().__init__()
        self._shuffle = shuffle
        self.encoder_q = encoder
        self.encoder_k = slow_copy(encoder)
        drawn = torch.randn(encoder.shape.dim, queue_size, generator=generator)
        self.register_buffer("queue", F.normalize(drawn, dim=0))  # (dim, r), unit columns
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Backbone features of the query encoder."""
        return self.encoder_q.features(images)

    def query(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Give unit embeddings, with gradient."""
        return F.normalize(self.encoder_q(images), dim=1)

    @torch.no_grad()
    def key(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Give unit embeddings of the momentum encoder, without gradient."""
        return F.normalize(self.encoder_k(images), dim=1)

    def pair(
        self, batch: Batch, momentum: float, generator: torch.Generator
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        """Give the whole batch's queries and keys; the key encoder follows in between, as PCL."""
        query = ranks.gather(self.query(batch.views[0]))
        follow(self.encoder_k, self.encoder_q, momentum)
        return query, self.keys(self.key, batch.views[1], generator)

    @torch.no_grad()
    def keys(
        self, encode: Callable[[Tensor], Tensor], images: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Give what `encode` makes of the whole batch, shuffled among processes where asked for."""
        if self._shuffle and ranks.count() > 1:
            return ranks.gather_shuffled(encode, images, generator)
        return ranks.gather(encode(images))

    def negatives(self) -> Float[Tensor, "r d"]:
        """Keys in the queue, one a row; a copy, since the queue moves on before the gradient."""
        return self.queue.T.clone()

    @torch.no_grad()
    def enqueue(self, keys: Float[Tensor, "b d"]) -> None:
        """Replace the oldest keys by these, wrapping around; the last r if there are more."""
        size = self.queue.shape[1]
        keys = keys[-size:]
        start = int(self.queue_ptr)
        places = (start + torch.arange(len(keys), device=keys.device)) % size
        self.queue[:, places] = keys.T
        self.queue_ptr[0] = (start + len(keys)) % size
