"""MoCo v2 (He et al. 2020; Chen et al. 2020): InfoNCE against a queue of momentum keys."""

from functools import partial

from nemd_toolkit.formulas import info_nce
from pauc_train.contrast import ContrastTraining, Step
from pauc_train.method import Method, Term, Terms

__all__ = ["METHOD", "terms"]


def terms(step: Step) -> Terms:
    """InfoNCE with 1+r logits, times `instance_weight`."""
    value = info_nce(step.query, step.key, step.queue, temperature=step.config.temperature)
    return {"info_nce": Term(value=value, weight=step.config.instance_weight)}


METHOD = Method(
    name="moco",
    title="MoCo v2",
    paper="He et al., Momentum Contrast, CVPR 2020; Chen et al., arXiv 2003.04297",
    year=2020,
    start=partial(ContrastTraining, terms=terms, prototypes=False),
)
