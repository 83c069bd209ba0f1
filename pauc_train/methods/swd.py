"""SWD (Chen, Luo & Li 2021, section 2): views are aligned, and outputs follow a known law.

The generalised contrastive loss with a sliced Wasserstein distance, as the authors' notebook
generalized_contrastive_loss.ipynb (google-research/simclr) computes it. The optimiser's settings
are SimCLR's, the weight is the notebook's; those of the paper's best run are not known to us.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pauc_train.config import MANY, setting
from pauc_train.method import Method, Poster, Term, Terms
from pauc_train.methods.simclr import Pair, PairConfig, PairTraining

__all__ = ["METHOD", "SwdConfig", "alignment", "directions", "sample", "sliced", "terms"]

Prior = Literal["hypersphere", "hypercube", "normal"]


@dataclass(frozen=True, kw_only=True)
class SwdConfig(PairConfig):
    """SWD's settings."""

    prior: Prior = "hypersphere"  # the law that outputs should follow
    distribution_weight: float = setting(1.0, least=0)  # λ
    projector_layers: int = setting(3, least=1, most=100)
    epochs: int = setting(800, least=1, most=MANY)


def alignment(first: Float[Tensor, "b d"], second: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """Half the mean squared difference of coordinates, not of rows.

    >>> alignment(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]])).item()
    0.25
    """
    return (first - second).square().mean() / 2


def sliced(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], axes: Float[Tensor, "d k"]
) -> Float[Tensor, ""]:
    """Squared 2-Wasserstein distance of two samples along each axis, the mean over the axes.

    0 when they coincide; along an axis the optimal transport is between sorted values.

    >>> x = torch.tensor([[0.0], [1.0]])
    >>> sliced(x, torch.tensor([[3.0], [1.0]]), torch.ones(1, 1)).item()  # (1 + 4) / 2
    2.5
    """
    return ((x @ axes).sort(0).values - (y @ axes).sort(0).values).square().mean()


def directions(dim: int, generator: torch.Generator) -> Float[Tensor, "d d"]:
    """Draw orthogonal unit columns, uniform among all such matrices."""
    q, r = torch.linalg.qr(torch.randn(dim, dim, generator=generator))
    columns: Tensor = q * r.diagonal().sign()
    return columns


def sample(prior: Prior, count: int, dim: int, generator: torch.Generator) -> Float[Tensor, "n d"]:
    """Draw rows of the unit sphere's uniform law, of [−1, 1]'s, or of the standard normal law."""
    if prior == "hypercube":
        return 2 * torch.rand(count, dim, generator=generator) - 1
    drawn = torch.randn(count, dim, generator=generator)
    return F.normalize(drawn, dim=1) if prior == "hypersphere" else drawn


def terms(pair: Pair[SwdConfig]) -> Terms:
    """Alignment and λ times the distance to a fresh sample, along fresh axes.

    Outputs are of unit length where the prior is.
    """
    config, first, second = pair.config, pair.first, pair.second
    if config.prior == "hypersphere":
        first, second = F.normalize(first, dim=1), F.normalize(second, dim=1)
    outputs = torch.cat([first, second])  # (2b, d)
    count, dim = outputs.shape
    axes = directions(dim, pair.generator).to(outputs.device)
    drawn = sample(config.prior, count, dim, pair.generator).to(outputs.device)
    distance = sliced(outputs, drawn, axes)
    return {
        "alignment": Term(value=alignment(first, second)),
        "distribution": Term(value=distance, weight=config.distribution_weight),
    }


METHOD = Method(
    name="swd",
    title="SWD",
    paper="Chen, Luo & Li, Intriguing Properties of Contrastive Losses, NeurIPS 2021",
    year=2021,
    config=SwdConfig,
    start=partial(PairTraining, terms=terms),
    needs="two views, large batches",
    poster=Poster(imagenet1k=70.90),
)
