"""A memory bank (Wu et al. 2018): one unit vector for every training image, and losses on it."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from nemd_toolkit.errors import InputError
from pauc_train.config import MANY, Config, setting

__all__ = ["BankConfig", "BankLoss", "BankLossConfig", "MemoryBank", "nce"]


@dataclass(frozen=True, kw_only=True)
class BankConfig(Config):
    """Settings of methods with a memory bank, with NPID's defaults."""

    temperature: float = setting(0.07, above=0)  # NPID, PIRL, CMC
    # NPID, --nce-k: drawn for each image; 0: all other images, each once (its Eq. 2)
    bank_negatives: int = setting(4096, least=0, most=MANY)
    bank_momentum: float = setting(0.5, least=0, most=1)  # NPID, --nce-m; PIRL, CMC too


@dataclass(frozen=True, kw_only=True)
class BankLossConfig(BankConfig):
    """Settings of methods that are trained by NCE or its exact counterpart."""

    # softmax: NPID's code for few images (Eq. 2), CMC's --softmax, PyContrast throughout
    objective: Literal["nce", "softmax"] = "nce"


class MemoryBank(nn.Module):
    """Unit vectors of all training images, followed with momentum; without gradient."""

    memory: Tensor

    def __init__(self, count: int, config: BankConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        drawn = torch.randn(count, config.embedding_dim, generator=generator)
        self.register_buffer("memory", F.normalize(drawn, dim=1))

    def draw(self, indices: Int[Tensor, " b"], generator: torch.Generator) -> Int[Tensor, "b m"]:
        """Numbers of images, drawn uniformly for each as if all were others (NPID), or all others.

        A bank of one image has no others.
        """
        count, negatives = len(self.memory), self.config.bank_negatives
        if negatives == 0:
            steps = torch.arange(1, count, device=indices.device)
            return (indices[:, None] + steps) % count
        drawn = torch.randint(count, (len(indices), negatives), generator=generator)
        return drawn.to(indices.device)

    def logits(
        self,
        queries: Float[Tensor, "b d"],
        indices: Int[Tensor, " b"],
        drawn: Int[Tensor, "b m"],
    ) -> Float[Tensor, "b m1"]:
        """Inner products over τ, with an image's own vector first, then with those drawn for it."""
        columns = torch.cat([indices[:, None], drawn], dim=1)  # (b, 1 + m)
        if columns.shape[1] < len(self.memory):
            products = torch.bmm(self.memory[columns], queries[:, :, None])[:, :, 0]
        else:  # as many as there are: all at once is cheaper
            products = (queries @ self.memory.T.clone()).gather(1, columns)
        return products / self.config.temperature

    @torch.no_grad()
    def update(self, indices: Int[Tensor, " b"], embeddings: Float[Tensor, "b d"]) -> None:
        """Move the images' vectors towards these: normalised m·old + (1−m)·new."""
        momentum = self.config.bank_momentum
        moved = momentum * self.memory[indices] + (1 - momentum) * embeddings
        self.memory[indices] = F.normalize(moved, dim=1)


class BankLoss(nn.Module):
    """The configured loss on logits, and NPID's constant Z ≈ n·E exp(s/τ) of the first batch.

    Raises InputError for NCE without drawn images.
    """

    constant: Tensor  # 0 before the first batch, and for softmax

    def __init__(self, count: int, config: BankLossConfig) -> None:
        super().__init__()
        if config.objective == "nce" and config.bank_negatives == 0:
            raise InputError(
                "bank_negatives: expected at least 1 for NCE, which estimates with drawn images, "
                "got 0; set objective=softmax"
            )
        self.count = count
        self.config = config
        self.register_buffer("constant", torch.zeros(()))

    def of(self, logits: Float[Tensor, "b m1"]) -> Float[Tensor, ""]:
        """−log softmax of the first, or NCE, for which Z is settled if it has not been before."""
        if self.config.objective == "softmax":
            return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))
        return nce(logits, self._settled(logits), count=self.count)

    @torch.no_grad()
    def _settled(self, logits: Float[Tensor, "b m1"]) -> Float[Tensor, ""]:
        estimate = self.count * logits.exp().mean()
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
