"""MoCo (He et al. 2020, Algorithm 1 and Eq. 1): InfoNCE against a queue of momentum keys."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from nemd_toolkit.formulas import info_nce
from pauc_train.config import MANY, setting
from pauc_train.contrast import ContrastConfig, ContrastTraining, Step
from pauc_train.method import Method, Poster, Term, Terms
from pauc_train.views import VIEWS

__all__ = ["METHOD", "MocoConfig", "terms"]


@dataclass(frozen=True, kw_only=True)
class MocoConfig(ContrastConfig):
    """MoCo v1's settings; where it is silent, PCL's."""

    head: Literal["linear", "mlp"] = "linear"
    temperature: float = setting(0.07, above=0)
    queue_size: int = setting(65536, least=1, most=MANY)
    views: str = setting("photos-v1", known=tuple(VIEWS))
    schedule: Literal["cosine", "cosine-by-epoch", "step", "constant"] = "step"


def terms(step: Step[ContrastConfig]) -> Terms:
    """InfoNCE with 1+r logits, times `instance_weight`."""
    value = info_nce(step.query, step.key, step.queue, temperature=step.config.temperature)
    return {"info_nce": Term(value=value, weight=step.config.instance_weight)}


METHOD = Method(
    name="moco",
    title="MoCo",
    paper="He et al., Momentum Contrast for Unsupervised Visual Representation, CVPR 2020",
    year=2020,
    config=MocoConfig,
    start=partial(ContrastTraining, terms=terms),
    needs="two views, momentum encoder, queue",
    poster=Poster(imagenet100=(72.80, 91.64), imagenet1k=60.60),
)
