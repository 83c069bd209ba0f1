"""PCL v2 (Li et al. 2021): InfoNCE plus ProtoNCE, the mean over M clusterings, weights 1."""

from functools import partial

import torch

from nemd_toolkit.formulas import info_nce, proto_nce
from pauc_train.contrast import ContrastTraining, Step
from pauc_train.method import Method, Term, Terms

__all__ = ["METHOD", "terms"]


def terms(step: Step) -> Terms:
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
    title="PCL v2",
    paper="Li et al., Prototypical Contrastive Learning, ICLR 2021",
    year=2021,
    start=partial(ContrastTraining, terms=terms, prototypes=True),
)
