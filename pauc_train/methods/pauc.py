"""PAUC (Mo, Sun, Li 2022): PCL plus prototype alignment, uniformity and correlation.

k-means centroids are constants of an epoch and would give these terms no gradient; they are read
on batch prototypes, the mean directions of each cluster's members in the batch (ours). A positive
pair of prototypes is one cluster in the query view and in the key view (ours).
"""

from functools import partial

import torch

from nemd_toolkit.formulas import batch_prototypes, p_align, p_corr, p_uniform
from pauc_train.contrast import ContrastTraining, Step
from pauc_train.method import Method, Term, Terms
from pauc_train.methods import pcl

__all__ = ["METHOD", "terms"]


def terms(step: Step) -> Terms:
    """PCL's terms + α p-align + β p-uniform + γ p-corr, each the mean over the clusterings."""
    config = step.config
    align, spread, correlation = [], [], []
    for clustering in step.clusterings:
        assignment = clustering.assignment[step.indices]
        ours, _ = batch_prototypes(step.query, assignment)  # (k present, d)
        theirs, _ = batch_prototypes(step.key, assignment)
        align.append(p_align(ours, theirs, s=config.align_power))
        if len(ours) > 1:
            spread.append(p_uniform(ours, t=config.uniform_t))
            correlation.append(p_corr(ours, temperature=config.corr_temperature))
        else:  # one prototype in this batch has no others to differ from
            spread.append(ours.sum() * 0)
            correlation.append(ours.sum() * 0)
    if not align:  # warm-up
        return pcl.terms(step)
    return {
        **pcl.terms(step),
        "p_align": Term(value=torch.stack(align).mean(), weight=config.alpha),
        "p_uniform": Term(value=torch.stack(spread).mean(), weight=config.beta),
        "p_corr": Term(value=torch.stack(correlation).mean(), weight=config.gamma),
    }


METHOD = Method(
    name="pauc",
    title="PAUC",
    paper="Mo, Sun & Li, Rethinking Prototypical Contrastive Learning, BMVC 2022",
    year=2022,
    start=partial(ContrastTraining, terms=terms, prototypes=True),
)
