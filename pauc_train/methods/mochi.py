"""MoCHi (Kalantidis et al. 2020, Eqs. 3 and 4): mixtures of the hardest keys are negatives too.

Some mix two of a query's hardest keys of the queue, some one of these with the query itself. All
are constants: gradients flow through the query's similarity to them only (ours; the paper says
nothing, and public implementations agree).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pauc_train.config import MANY, setting
from pauc_train.contrast import ContrastConfig
from pauc_train.method import Batch, Method, Poster, Setup, Term, Terms
from pauc_train.momentum import MomentumContrast

__all__ = ["METHOD", "MochiConfig", "MochiTraining", "hard_info_nce", "mixtures"]


@dataclass(frozen=True, kw_only=True)
class MochiConfig(ContrastConfig):
    """MoCHi's settings, of (1024, 1024, 128) on ImageNet-1K; the rest is MoCo v2's."""

    hardest: int = setting(
        1024, least=1, most=MANY
    )  # N: keys of the queue that are mixed, at most all
    mixed_pairs: int = setting(1024, least=0, most=MANY)  # s
    mixed_queries: int = setting(128, least=0, most=MANY)  # s′
    mixing_warmup_epochs: int = setting(15, least=0, most=MANY)  # epochs before mixing starts
    queue_size: int = setting(65536, least=1, most=MANY)


@torch.no_grad()
def mixtures(
    query: Float[Tensor, "b d"],
    queue: Float[Tensor, "r d"],
    *,
    hardest: int,
    pairs: int,
    queries: int,
    generator: torch.Generator,
) -> Float[Tensor, "b s d"]:
    """Mix unit negatives for each query: α n + (1−α) n′ (Eq. 3), then β q + (1−β) n (Eq. 4).

    n and n′ are drawn among the `hardest` keys, those most similar to the query; α is uniform in
    (0, 1), β in (0, ½), so that a key always has the greater part.

    >>> q, n = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    >>> draws = torch.Generator().manual_seed(0)
    >>> mixtures(q, n, hardest=1, pairs=2, queries=0, generator=draws)  # n of the first alone
    tensor([[[0., 1.], [0., 1.]]])
    """
    b, device = len(query), query.device
    hardest = min(hardest, len(queue))
    near = (query @ queue.T).topk(hardest, dim=1).indices  # (b, N)

    def drawn(count: int) -> Tensor:
        places = torch.randint(hardest, (b, count), generator=generator).to(device)
        return queue[near.gather(1, places)]  # (b, count, d)

    alpha = torch.rand(b, pairs, 1, generator=generator).to(device)
    beta = torch.rand(b, queries, 1, generator=generator).to(device) / 2
    mixed = torch.lerp(drawn(pairs), drawn(pairs), alpha)
    harder = torch.lerp(drawn(queries), query[:, None].expand(-1, queries, -1), beta)
    return F.normalize(torch.cat([mixed, harder], dim=1), dim=2)


def hard_info_nce(
    query: Float[Tensor, "b d"],
    key: Float[Tensor, "b d"],
    queue: Float[Tensor, "r d"],
    own: Float[Tensor, "b s d"],
    *,
    temperature: float = 0.2,
) -> Float[Tensor, ""]:
    """InfoNCE against the queue and negatives that each query has for its own: 1+r+s logits.

    >>> q = torch.tensor([[1.0, 0.0]])
    >>> hard_info_nce(q, q, q.flip(1), q.flip(1)[None], temperature=1.0).item()  # ln(1 + 2/e)
    0.5514
    """
    positive = (query * key).sum(1, keepdim=True)  # (b, 1)
    extra = torch.einsum("bd,bsd->bs", query, own)
    logits = torch.cat([positive, query @ queue.T, extra], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.long, device=query.device))


class MochiTraining(MomentumContrast):
    """MoCo, with mixtures after some epochs."""

    def __init__(self, setup: Setup[MochiConfig]) -> None:
        config = setup.config
        super().__init__(
            setup.encoder(config.head),
            queue_size=config.queue_size,
            generator=setup.generator,
            shuffle=config.shuffles_keys,
        )
        self.config = config

    def loss(self, batch: Batch, generator: torch.Generator) -> Terms:
        """InfoNCE; the key encoder follows first and the queue moves on, as in MoCo."""
        config = self.config
        query, key = self.pair(batch, config.key_momentum, generator)
        queue = self.negatives()
        mixing = batch.epoch >= config.mixing_warmup_epochs
        own = mixtures(
            query,
            queue,
            hardest=config.hardest,
            pairs=config.mixed_pairs if mixing else 0,
            queries=config.mixed_queries if mixing else 0,
            generator=generator,
        )
        value = hard_info_nce(query, key, queue, own, temperature=config.temperature)
        self.enqueue(key)
        return {"info_nce": Term(value=value, weight=config.instance_weight)}


METHOD = Method(
    name="mochi",
    title="MoCHi",
    paper="Kalantidis et al., Hard Negative Mixing for Contrastive Learning, NeurIPS 2020",
    year=2020,
    config=MochiConfig,
    start=MochiTraining,
    needs="two views, momentum encoder, queue",
    poster=Poster(imagenet1k=70.60),
)
