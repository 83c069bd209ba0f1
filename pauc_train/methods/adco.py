"""AdCo (Hu et al. 2021, Eqs. 3 to 6): the negatives are learned, to be as hard as they can be.

Source: the paper, and maple-research-lab/AdCo (update_sym_network), whose other keys of the batch
are negatives too. Encoder and negatives have a temperature each, so a loss each; one step moves
both. The negatives keep their random start, where the authors' --ad_init 1 fills them with keys.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pauc_train import ranks
from pauc_train.config import MANY, Config, setting
from pauc_train.method import Batch, BranchPath, Method, Poster, Rate, Setup, Term, Terms, Training
from pauc_train.momentum import follow, slow_copy

__all__ = ["METHOD", "AdcoConfig", "AdcoTraining", "adversarial"]


@dataclass(frozen=True, kw_only=True)
class AdcoConfig(Config):
    """AdCo's settings, of one crop and the symmetrical loss."""

    temperature: float = setting(0.12, above=0)  # --moco_t
    key_momentum: float = setting(0.999, least=0, most=1)
    adversaries: int = setting(65536, least=1, most=MANY)  # --cluster: learned negatives
    adversary_temperature: float = setting(0.02, above=0)  # --mem_t
    adversary_rate: float = setting(3.0, above=0)  # --memory_lr, on no schedule
    adversary_decay: float = setting(1e-4, least=0)  # --mem_wd


def adversarial(
    query: Float[Tensor, "b d"],
    key: Float[Tensor, "b d"],
    to_adversaries: Float[Tensor, "b r"],
    *,
    temperature: float,
) -> Float[Tensor, ""]:
    """−log softmax of a query's key among the batch's keys and the adversaries (Eq. 3).

    query, key: unit rows; to_adversaries: cosines of the queries with the adversaries.

    >>> adversarial(torch.eye(2), torch.eye(2), torch.zeros(2, 1), temperature=1.0).item()
    0.5514
    """
    logits = torch.cat([query @ key.T, to_adversaries], dim=1) / temperature  # (b, b + r)
    return F.cross_entropy(logits, torch.arange(len(query), device=query.device))


class _Bank(nn.Module):
    """The learned negatives, one a column, of any length; names are the authors'."""

    def __init__(self, dim: int, count: int, generator: torch.Generator) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.randn(dim, count, generator=generator))

    def forward(self, query: Float[Tensor, "b d"]) -> Float[Tensor, "b r"]:
        """Cosines of unit queries with the negatives."""
        return query @ F.normalize(self.W, dim=0)


class AdcoTraining(Training):
    """Query and key encoder, and negatives that climb the loss that the encoder descends."""

    branches: ClassVar = {
        "key": BranchPath(backbone="encoder_k"),
        "query": BranchPath(backbone="encoder_q"),
    }

    def __init__(self, setup: Setup[AdcoConfig]) -> None:
        super().__init__()
        config = setup.config
        self.config = config
        self.encoder_q = setup.encoder("mlp")
        self.encoder_k = slow_copy(self.encoder_q)
        self.Memory_Bank = _Bank(config.embedding_dim, config.adversaries, setup.generator)
        self.rates = (
            Rate(
                prefix="Memory_Bank",
                scale=-config.adversary_rate / config.learning_rate,
                constant=True,
                decay=config.adversary_decay,
            ),
        )

    def loss(self, batch: Batch, _: torch.Generator) -> Terms:
        """Both views in both parts, each half; the key encoder follows in between."""
        own = [_unit(self.encoder_q(view)) for view in batch.views]
        follow(self.encoder_k, self.encoder_q, self.config.key_momentum)
        with torch.no_grad():
            keys = [ranks.gather(_unit(self.encoder_k(view))) for view in batch.views]
        fixed = F.normalize(self.Memory_Bank.W.detach(), dim=0)
        descent, ascent = [], []
        for query, key in zip(own, reversed(keys), strict=True):
            whole = ranks.gather(query)
            temperature = self.config.temperature
            descent.append(adversarial(whole, key, whole @ fixed, temperature=temperature))
            # learned vectors are applied before gathering, for the gradient of one's own share
            cosines = ranks.gather(self.Memory_Bank(query.detach()))
            temperature = self.config.adversary_temperature
            ascent.append(adversarial(whole.detach(), key, cosines, temperature=temperature))
        return {
            "encoder": Term(value=(descent[0] + descent[1]) / 2),
            "adversaries": Term(value=(ascent[0] + ascent[1]) / 2),  # a negative rate climbs it
        }

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Backbone features of the query encoder."""
        return self.encoder_q.features(images)


def _unit(outputs: Tensor) -> Float[Tensor, "b d"]:
    return F.normalize(outputs, dim=1)


METHOD = Method(
    name="adco",
    title="AdCo",
    paper="Hu et al., AdCo: Adversarial Contrast, CVPR 2021",
    year=2021,
    config=AdcoConfig,
    start=AdcoTraining,
    needs="two views, momentum encoder, learned negatives",
    poster=Poster(imagenet1k=73.20),
)
