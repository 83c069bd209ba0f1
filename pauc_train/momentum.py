"""Momentum contrast (He et al. 2020): query encoder, its slow copy for keys, a queue of keys.

State dict names are PCL's: `encoder_q.*`, `encoder_k.*`, `queue` (dim x r), `queue_ptr`.
"""

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nemd_toolkit.encoders import ResNet

__all__ = ["MomentumContrast"]


class MomentumContrast(nn.Module):
    """Two encoders of one shape; only the query encoder has gradients.

    One process only: batch normalisation sees the whole batch, so that MoCo's shuffling of keys
    across devices has nothing to do here.
    """

    queue: Tensor
    queue_ptr: Tensor

    def __init__(self, encoder: ResNet, *, queue_size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.encoder_q = encoder
        self.encoder_k = copy.deepcopy(encoder).requires_grad_(False)
        drawn = torch.randn(encoder.shape.dim, queue_size, generator=generator)
        self.register_buffer("queue", F.normalize(drawn, dim=0))  # (dim, r), unit columns
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))

    def query(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Give unit embeddings, with gradient."""
        return F.normalize(self.encoder_q(images), dim=1)

    @torch.no_grad()
    def key(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Give unit embeddings of the momentum encoder, without gradient."""
        return F.normalize(self.encoder_k(images), dim=1)

    def negatives(self) -> Float[Tensor, "r d"]:
        """Keys in the queue, one a row; a copy, since the queue moves on before the gradient."""
        return self.queue.T.clone()

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        """Move key parameters: k ← m·k + (1−m)·q. Batch statistics are the key encoder's own."""
        pairs = zip(self.encoder_q.parameters(), self.encoder_k.parameters(), strict=True)
        for q, k in pairs:
            k.mul_(momentum).add_(q, alpha=1.0 - momentum)

    @torch.no_grad()
    def enqueue(self, keys: Float[Tensor, "b d"]) -> None:
        """Replace the oldest keys by these, wrapping around; the last r if there are more."""
        size = self.queue.shape[1]
        keys = keys[-size:]
        start = int(self.queue_ptr)
        places = (start + torch.arange(len(keys), device=keys.device)) % size
        self.queue[:, places] = keys.T
        self.queue_ptr[0] = (start + len(keys)) % size
