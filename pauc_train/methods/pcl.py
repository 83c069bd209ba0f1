"""PCL (Li et al. 2021, Eq. 11): InfoNCE plus ProtoNCE, the mean over M clusterings, weights 1."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from nemd_toolkit.formulas import info_nce, proto_nce
from pauc_train.config import MANY, setting
from pauc_train.contrast import ContrastConfig, ContrastTraining, Step
from pauc_train.expectation import PrototypeConfig
from pauc_train.method import Method, Poster, Term, Terms
from pauc_train.views import VIEWS

__all__ = ["METHOD", "PclConfig", "terms"]


@dataclass(frozen=True, kw_only=True)
class PclConfig(PrototypeConfig, ContrastConfig):
    """PCL's settings, of its second version."""

    prototype_weight: float = setting(1.0, least=0)  # PCL has none: ProtoNCE counts like InfoNCE
    negatives: int = setting(16384, least=0, most=MANY)  # --pcl-r: prototypes drawn as negatives


@dataclass(frozen=True, kw_only=True)
class _FirstConfig(PclConfig):
    """PCL v1's, where they differ."""

    head: Literal["linear", "mlp"] = "linear"
    views: str = setting("photos-v1", known=tuple(VIEWS))
    schedule: Literal["cosine", "cosine-by-epoch", "step", "constant"] = "step"


def terms(step: Step[PclConfig]) -> Terms:
    """InfoNCE, and ProtoNCE once there are prototypes."""
    config = step.config
    value = info_nce(step.query, step.key, step.queue, temperature=config.temperature)
    instance = Term(value=value, weight=config.instance_weight)
    if not step.clusterings:
        return {"info_nce": instance}
    prototype = [
        proto_nce(
            step.query,
            clustering.centroids,
            clustering.phi,
            clustering.assignment[step.indices],
            negatives=config.negatives,
            generator=step.generator,
        )
        for clustering in step.clusterings
    ]
    return {
        "info_nce": instance,
        "proto_nce": Term(value=torch.stack(prototype).mean(), weight=config.prototype_weight),
    }


METHOD = Method(
    name="pcl",
    title="PCL",
    paper="Li et al., Prototypical Contrastive Learning of Unsupervised Representations, ICLR 2021",
    year=2021,
    config=_FirstConfig,
    start=partial(ContrastTraining, terms=terms),
    needs="two views, momentum encoder, queue, k-means before each epoch",
    poster=Poster(imagenet100=(76.17, 93.52), imagenet1k=61.50),
)
