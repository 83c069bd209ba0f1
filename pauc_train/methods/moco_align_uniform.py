"""MoCo with alignment and uniformity (Wang & Isola 2020, appendix, Eqs. 17 and 18).

Key and query are aligned; queries are spread from the queue's keys and, in Eq. 18, from each other.
Source: the paper, and SsnL/moco_align_uniform. Settings are those of its ImageNet run with MoCo
v2's head and rates.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.formulas import align, info_nce
from pauc_train.config import MANY, setting
from pauc_train.contrast import ContrastConfig, ContrastTraining, Step
from pauc_train.method import Method, Poster, Term, Terms

__all__ = ["METHOD", "AlignUniformConfig", "queue_uniform", "terms"]


@dataclass(frozen=True, kw_only=True)
class AlignUniformConfig(ContrastConfig):
    """Settings of alignment and uniformity in place of InfoNCE."""

    alignment_weight: float = setting(3.0, least=0)
    alignment_power: float = setting(2.0, above=0)  # α
    uniformity_weight: float = setting(1.0, least=0)
    uniformity_t: float = setting(3.0, above=0)
    within_batch: bool = True  # Eq. 18; without: Eq. 17
    instance_weight: float = setting(0.0, least=0)
    temperature: float = setting(0.07, above=0)  # of InfoNCE, where it has a weight
    queue_size: int = setting(65536, least=1, most=MANY)


def queue_uniform(
    query: Float[Tensor, "b d"],
    queue: Float[Tensor, "r d"],
    *,
    t: float = 3.0,
    within_batch: bool = True,
) -> Float[Tensor, ""]:
    """Log E exp(−t‖x−y‖²) over pairs of a query and a key of the queue; lower is more uniform.

    within_batch: and over distinct pairs of queries, all pairs counting alike. Unit rows.

    >>> queue_uniform(torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]]), t=2.0).item()
    -8.0
    """
    squares = (2 - 2 * query @ queue.T).flatten()  # (b · r)
    if within_batch:
        squares = torch.cat([squares, torch.pdist(query).square()])
    return (-t * squares).logsumexp(0) - math.log(len(squares))


def terms(step: Step[AlignUniformConfig]) -> Terms:
    """Weighted alignment and uniformity, and InfoNCE where it has a weight."""
    config, query = step.config, step.query
    spread = queue_uniform(
        query, step.queue, t=config.uniformity_t, within_batch=config.within_batch
    )
    aligned = align(query, step.key, power=config.alignment_power)
    instance = info_nce(query, step.key, step.queue, temperature=config.temperature)
    return {
        "alignment": Term(value=aligned, weight=config.alignment_weight),
        "uniformity": Term(value=spread, weight=config.uniformity_weight),
        "info_nce": Term(value=instance, weight=config.instance_weight),
    }


METHOD = Method(
    name="moco-align-uniform",
    title="MoCo+align/uniform",
    paper="Wang & Isola, Understanding Contrastive Representation Learning, ICML 2020",
    year=2020,
    config=AlignUniformConfig,
    start=partial(ContrastTraining, terms=terms),
    needs="two views, momentum encoder, queue",
    poster=Poster(imagenet100=(74.60, 92.74), imagenet1k=67.69),
)
