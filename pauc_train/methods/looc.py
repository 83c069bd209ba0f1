"""LooC (Xiao et al. 2021, Eq. 1): one space for each augmentation, and a general one.

A key of each augmentation shares the query's draw of it and differs in the others; in that
augmentation's space this key is the positive, and the other keys of the same image are negatives.
So the space keeps what the augmentation changes, and the general space none of it. No public code;
the paper's textures are left out. On grey images turns and light take the place of quarter turns
and colour (ours).
"""

import copy
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nemd_toolkit.encoders import ARCHITECTURES, ResNet, ResNetShape
from pauc_train import ranks
from pauc_train.config import MANY, setting
from pauc_train.contrast import ContrastConfig
from pauc_train.method import Batch, Method, Poster, Setup, Term, Terms, View
from pauc_train.momentum import MomentumContrast, follow
from pauc_train.views import VIEWS, Draws, random_view

__all__ = ["METHOD", "LoocConfig", "LoocTraining", "joint_views", "leave_one_out"]

_FACTORS = 2
_SPACES = 1 + _FACTORS  # the general one first


@dataclass(frozen=True, kw_only=True)
class LoocConfig(ContrastConfig):
    """MoCo v2's settings, and which views make a space."""

    queue_size: int = setting(16384, least=1, most=MANY)
    epochs: int = setting(500, least=1, most=MANY)  # on ImageNet-100
    views: str = setting("crop", known=tuple(VIEWS))  # what every view draws for itself
    first_factor: str = setting("quarter-turns", known=tuple(VIEWS))
    second_factor: str = setting("colour", known=tuple(VIEWS))


def leave_one_out(
    query: Float[Tensor, "b s d"],
    keys: Float[Tensor, "b s v d"],
    queue: Float[Tensor, "r s d"],
    temperature: float,
) -> Float[Tensor, " s"]:
    """InfoNCE of each space: key s against the queue and, but for space 0, all other keys.

    query, keys: unit vectors in each space, of v = s keys.

    >>> one = torch.tensor([[[1.0], [1.0]]])
    >>> leave_one_out(one, torch.ones(1, 2, 2, 1), one, 1.0)  # ln 2 and ln 3
    tensor([0.6931, 1.0986])
    """
    spaces = query.shape[1]
    inner = torch.einsum("bsd,bsvd->bsv", query, keys) / temperature
    rest = torch.einsum("bsd,rsd->bsr", query, queue) / temperature
    own = torch.eye(spaces, dtype=torch.bool, device=query.device)
    own[1:] = True  # which keys count in which space
    logits = torch.cat([inner.masked_fill(~own, -torch.inf), rest], dim=2)
    positive = inner.diagonal(dim1=1, dim2=2)  # (b, s)
    return (logits.logsumexp(2) - positive).mean(0)


def joint_views(
    images: Float[Tensor, "b c h w"], draws: Draws, base: str, factors: tuple[str, ...]
) -> Float[Tensor, "b c v w"]:
    """Query, general key, and a key for each factor, which shares its draw with the query.

    The views stand below each other, so that they can be drawn together.
    """
    seeds = torch.randint(2**62, (2 + len(factors), len(factors)), generator=draws.generator)
    for number in range(len(factors)):
        seeds[2 + number, number] = seeds[0, number]
    views = []
    for row in seeds.tolist():
        view = random_view(images, VIEWS[base], draws)
        for factor, seed in zip(factors, row, strict=True):
            shared = replace(draws, generator=torch.Generator().manual_seed(seed))
            view = random_view(view, VIEWS[factor], shared)
        views.append(view)
    return torch.cat(views, dim=2)


class LoocEncoder(ResNet):
    """A ResNet with a head for each space, `fc` for the general one; outputs side by side."""

    def __init__(self, shape: ResNetShape) -> None:
        super().__init__(shape)
        self.heads = nn.ModuleList(copy.deepcopy(self.fc) for _ in range(_FACTORS))
        for layer in self.heads.modules():
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e"]:
        """Give the embeddings in all spaces, one after another; not normalised."""
        features = self.features(x)
        return torch.cat([head(features) for head in (self.fc, *self.heads)], dim=1)


class LoocTraining(MomentumContrast):
    """MoCo's encoders with several heads; the queue holds keys of all spaces."""

    encoder_q: LoocEncoder

    def __init__(self, setup: Setup[LoocConfig]) -> None:
        config = setup.config
        shape = replace(
            ARCHITECTURES[config.arch],
            channels=setup.channels,
            head=config.head,
            dim=config.embedding_dim,
        )
        super().__init__(
            LoocEncoder(shape),
            queue_size=config.queue_size,
            generator=setup.generator,
            shuffle=config.shuffles_keys,
        )
        self.config = config
        drawn = torch.randn(
            _SPACES, config.embedding_dim, config.queue_size, generator=setup.generator
        )
        self.queue = F.normalize(drawn, dim=1).flatten(0, 1)  # (s·d, r), unit in each space

    def loss(self, batch: Batch, generator: torch.Generator) -> Terms:
        """One query, a key for each space."""
        config = self.config
        query_view, *key_views = batch.views[0].chunk(1 + _SPACES, dim=2)
        query = ranks.gather(self._spaces(self.encoder_q, query_view))
        follow(self.encoder_k, self.encoder_q, config.key_momentum)
        encode = partial(self._spaces, self.encoder_k)
        found = [self.keys(encode, view, generator) for view in key_views]
        keys = torch.stack(found, dim=2)  # (b, s, v, d)
        queue = self.negatives().unflatten(1, (_SPACES, -1))
        losses = leave_one_out(query, keys, queue, config.temperature)
        self.enqueue(keys.diagonal(dim1=1, dim2=2).mT.flatten(1))  # of each space its own key
        names = ("general", "first_factor", "second_factor")
        return {
            name: Term(value=loss, weight=config.instance_weight / _SPACES)
            for name, loss in zip(names, losses, strict=True)
        }

    def _spaces(self, encoder: nn.Module, images: Tensor) -> Float[Tensor, "b s d"]:
        """Give unit embeddings in each space."""
        outputs: Tensor = encoder(images)
        return F.normalize(outputs.unflatten(1, (_SPACES, -1)), dim=2)


def _views(config: LoocConfig) -> tuple[View, ...]:
    factors = (config.first_factor, config.second_factor)

    def view(images: Tensor, draws: Draws) -> Tensor:
        return joint_views(images, draws, config.views, factors)

    return (view,)


METHOD = Method(
    name="looc",
    title="LooC",
    paper="Xiao et al., What Should Not Be Contrastive in Contrastive Learning, ICLR 2021",
    year=2021,
    config=LoocConfig,
    start=LoocTraining,
    views=_views,
    needs="four views with shared draws, momentum encoder, queue",
    poster=Poster(imagenet100=(81.10, 95.30)),
)
