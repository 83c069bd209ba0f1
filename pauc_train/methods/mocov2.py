"""MoCo v2 (Chen et al. 2020, section 3): MoCo with an MLP head, stronger views, cosine rates."""

from functools import partial

from pauc_train.contrast import ContrastConfig, ContrastTraining
from pauc_train.method import Method, Poster
from pauc_train.methods import moco

__all__ = ["METHOD"]

METHOD = Method(
    name="mocov2",
    title="MoCo v2",
    paper="Chen et al., Improved Baselines with Momentum Contrastive Learning, arXiv 2003.04297",
    year=2020,
    config=ContrastConfig,
    start=partial(ContrastTraining, terms=moco.terms),
    needs="two views, momentum encoder, queue",
    poster=Poster(imagenet1k=71.10),
)
