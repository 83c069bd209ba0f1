"""Biased CMC: what Chuang et al. (2020) compare debiased CMC with, their loss with τ+ = 0.

It is CMC with a softmax over the positive and the negatives in place of NCE.
"""

from functools import partial

from pauc_train.method import Method, Poster, preset
from pauc_train.methods.cmc import HalvesConfig
from pauc_train.methods.debiased_cmc import DebiasedCmcTraining

__all__ = ["METHOD"]

METHOD = Method(
    name="biased-cmc",
    title="Biased CMC",
    paper="Chuang et al., Debiased Contrastive Learning, NeurIPS 2020",
    year=2020,
    config=HalvesConfig,
    start=partial(DebiasedCmcTraining, class_prior=0.0),
    views=lambda config: (preset(config.views),),
    needs="one view in two halves, two networks, memory banks",
    poster=Poster(imagenet100=(73.58, 92.06)),
)
