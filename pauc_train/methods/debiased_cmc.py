"""Debiased CMC (Chuang et al. 2020, Eqs. 7 and 8): negatives corrected for images of one's class.

On CMC's networks and banks, as in their experiments on ImageNet-100; with no correction it is what
they call biased. Their public code has SimCLR on CIFAR-10 and STL-10 only.
"""

import math
from dataclasses import dataclass
from typing import Generic

import torch
from jaxtyping import Float
from torch import Tensor

from pauc_train.config import setting
from pauc_train.method import Batch, Method, Poster, Setup, Terms, preset
from pauc_train.methods.cmc import C, HalvesConfig, TwoHalves

__all__ = ["METHOD", "DebiasedCmcConfig", "DebiasedCmcTraining", "debiased_contrast"]


@dataclass(frozen=True, kw_only=True)
class DebiasedCmcConfig(HalvesConfig):
    """CMC's settings and the correction's."""

    class_prior: float = setting(0.01, least=0, most=0.99)  # τ+, ImageNet-100's best of .005, .01


def debiased_contrast(
    logits: Float[Tensor, "b m1"], *, class_prior: float, temperature: float
) -> Float[Tensor, ""]:
    """−log [pos / (pos + N_g)], mean over the batch, with one positive (M = 1).

    logits: s/T, the positive's first, then of N negatives; class_prior: τ+.
    N_g = max{(Σ neg − τ+ N pos) / (1 − τ+), N exp(−1/T)} (Eq. 8, times N as in Eq. 7).

    >>> logits = torch.zeros(1, 3)
    >>> debiased_contrast(logits, class_prior=0.5, temperature=1.0).item()  # N_g = (2 − 1) / ½
    1.0986
    """
    least = (logits.shape[1] - 1) * math.exp(-1 / temperature)
    positive, negatives = logits[:, 0].exp(), logits[:, 1:].exp()
    corrected = negatives.sum(1) - class_prior * negatives.shape[1] * positive
    negative = (corrected / (1 - class_prior)).clamp_min(least)
    return (torch.log(positive + negative) - logits[:, 0]).mean()


class DebiasedCmcTraining(TwoHalves[C], Generic[C]):
    """The corrected loss in both directions; `class_prior` 0 is the biased one."""

    def __init__(self, setup: Setup[C], *, class_prior: float) -> None:
        super().__init__(setup)
        self.class_prior = class_prior

    def loss(self, batch: Batch, generator: torch.Generator) -> Terms:
        """Give the loss in both directions, which CMC adds up."""
        temperature = self.config.temperature

        def contrast(logits: Tensor, _: int) -> Tensor:
            return debiased_contrast(logits, class_prior=self.class_prior, temperature=temperature)

        return self.contrasted(batch, generator, contrast)


def _start(setup: Setup[DebiasedCmcConfig]) -> DebiasedCmcTraining[DebiasedCmcConfig]:
    return DebiasedCmcTraining(setup, class_prior=setup.config.class_prior)


METHOD = Method(
    name="debiased-cmc",
    title="Debiased CMC",
    paper="Chuang et al., Debiased Contrastive Learning, NeurIPS 2020",
    year=2020,
    config=DebiasedCmcConfig,
    start=_start,
    views=lambda config: (preset(config.views),),
    needs="one view in two halves, two networks, memory banks",
    poster=Poster(imagenet100=(74.60, 92.08)),
)
