"""A memory bank (Wu et al. 2018): one unit vector for every training image, and NCE against it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pauc_train.config import MANY, Config, setting

__all__ = ["BankConfig", "MemoryBank", "Partition", "nce"]


@dataclass(frozen=True, kw_only=True)
class BankConfig(Config):
    """Settings of methods with a memory bank, with NPID's defaults."""

    temperature: float = setting(0.07, above=0)  # NPID, PIRL, CMC
    bank_negatives: int = setting(4096, least=1, most=MANY)  # NPID, --nce-k: m, drawn per image
    bank_momentum: float = setting(0.5, least=0, most=1)  # NPID, --nce-m; PIRL, CMC too


class MemoryBank(nn.Module):
    """Unit vectors of all training images, followed with momentum; without gradient."""

    memory: Tensor

    def __init__(
        self, count: int, dim: int, *, momentum: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.momentum = momentum
        drawn = torch.randn(count, dim, generator=generator)
        self.register_buffer("memory", F.normalize(drawn, dim=1))

    def draw(
        self, indices: Int[Tensor, " b"], negatives: int, generator: torch.Generator
    ) -> Int[Tensor, "b m"]:
        """Numbers of images, drawn uniformly for each image, as if all were others (NPID)."""
        size = (len(indices), negatives)
        drawn = torch.randint(len(self.memory), size, generator=generator)
        return drawn.to(indices.device)

    def similarities(
        self,
        queries: Float[Tensor, "b d"],
        indices: Int[Tensor, " b"],
        drawn: Int[Tensor, "b m"],
    ) -> Float[Tensor, "b m1"]:
        """Inner products with an image's own vector, first, and with those drawn for it."""
        columns = torch.cat([indices[:, None], drawn], dim=1)  # (b, 1 + m)
        return torch.bmm(self.memory[columns], queries[:, :, None])[:, :, 0]

    @torch.no_grad()
    def update(self, indices: Int[Tensor, " b"], embeddings: Float[Tensor, "b d"]) -> None:
        """Move the images' vectors towards these: normalised m·old + (1−m)·new."""
        moved = self.momentum * self.memory[indices] + (1 - self.momentum) * embeddings
        self.memory[indices] = F.normalize(moved, dim=1)


class Partition(nn.Module):
    """NPID's constant Z ≈ n·E exp(s/τ), estimated on the first batch and kept."""

    constant: Tensor  # 0 before the first batch

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("constant", torch.zeros(()))

    @torch.no_grad()
    def settle(self, logits: Float[Tensor, "b m1"], count: int) -> Float[Tensor, ""]:
        """Give Z, estimated from these logits if it has not been before."""
        estimate = count * logits.exp().mean()
        self.constant.copy_(torch.where(self.constant > 0, self.constant, estimate))
        return self.constant.clone()


def nce(
    logits: Float[Tensor, "b m1"], constant: Float[Tensor, ""], *, count: int
) -> Float[Tensor, ""]:
    """Noise-contrastive estimation with uniform noise (NPID, Eqs. 6 and 7), mean over the batch.

    logits: s/τ, the image's own first, then of m drawn images; constant: Z; count: n images.
    With P = exp(s/τ)/Z and h = P/(P + m/n) it is −log h of the own and −log(1 − h) of the drawn.

    >>> nce(torch.zeros(1, 2), torch.tensor(2.0), count=2).item()  # P = m/n = 1/2: 2 ln 2
    1.3863
    """
    noise = torch.log(constant * ((logits.shape[1] - 1) / count))
    odds = logits - noise  # ln P − ln(m/n)
    own, drawn = odds[:, 0], odds[:, 1:]
    return (F.softplus(-own) + F.softplus(drawn).sum(1)).mean()
