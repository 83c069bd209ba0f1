"""SimCLR (Chen et al. 2020, Eq. 1): the other view of an image among all views in the batch.

Sources: the paper, and google-research/simclr. Both views are one batch for batch norm, as theirs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, Literal, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pauc_train import ranks
from pauc_train.config import MANY, Config, setting
from pauc_train.heads import mlp
from pauc_train.method import Batch, Method, Poster, Setup, Term, Terms, Training
from pauc_train.views import VIEWS

__all__ = ["METHOD", "Pair", "PairConfig", "PairTraining", "SimclrConfig", "nt_xent", "terms"]


@dataclass(frozen=True, kw_only=True)
class PairConfig(Config):
    """Settings of an encoder and a projector, with SimCLR's defaults for its longest training."""

    projector_layers: int = setting(2, least=1, most=100)  # hidden ones as wide as the features
    views: str = setting("simclr", known=tuple(VIEWS))
    epochs: int = setting(1000, least=1, most=MANY)
    batch_size: int = setting(4096, least=2, most=MANY)
    optimizer: Literal["sgd", "lars", "adamw"] = "lars"
    learning_rate: float = setting(4.8, above=0)  # 0.3 for 256 images
    weight_decay: float = setting(1e-6, least=0)
    schedule: Literal["cosine", "cosine-by-epoch", "step", "constant"] = "cosine"
    rate_warmup_epochs: float = setting(10.0, least=0)


@dataclass(frozen=True, kw_only=True)
class SimclrConfig(PairConfig):
    """SimCLR's settings."""

    temperature: float = setting(0.1, above=0)


C = TypeVar("C", bound=PairConfig)
S = TypeVar("S", bound=PairConfig, covariant=True)


def nt_xent(
    first: Float[Tensor, "b d"], second: Float[Tensor, "b d"], *, temperature: float = 0.1
) -> Float[Tensor, ""]:
    """−log softmax of the other view among the 2b−1 other views, the mean over all 2b (Eq. 1).

    Rows of any length; similarity is their cosine. The authors' code gives twice this, the sum over
    the two sides.

    >>> x = torch.eye(2)
    >>> nt_xent(x, x, temperature=1.0).item()  # ln(1 + 2/e)
    0.5514
    """
    views = F.normalize(torch.cat([first, second]), dim=1)  # (2b, d)
    count = len(views)
    itself = torch.eye(count, dtype=torch.bool, device=views.device)
    logits = (views @ views.T / temperature).masked_fill(itself, -torch.inf)
    other = (torch.arange(count, device=views.device) + count // 2) % count
    return F.cross_entropy(logits, other)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair(Generic[S]):
    """All that a loss may look at in one step: outputs of the projector, not normalised."""

    first: Float[Tensor, "b d"]
    second: Float[Tensor, "b d"]
    config: S
    generator: torch.Generator


class PairTraining(Training, Generic[C]):
    """An encoder and a projector, both for both views, and any loss on a pair of outputs."""

    def __init__(self, setup: Setup[C], *, terms: Callable[[Pair[C]], Terms]) -> None:
        super().__init__()
        self.config = setup.config
        self._terms = terms
        self.encoder = setup.encoder()
        features = self.encoder.shape.features
        hidden = [features] * setup.config.projector_layers
        self.projector = _projector([*hidden, setup.config.embedding_dim])

    def loss(self, batch: Batch, generator: torch.Generator) -> Terms:
        """Terms on the projections of both views."""
        outputs: Tensor = self.projector(self.encoder(torch.cat(batch.views)))
        first, second = outputs.chunk(2)
        pair = Pair(
            first=ranks.gather(first),
            second=ranks.gather(second),
            config=self.config,
            generator=generator,
        )
        return self._terms(pair)

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Backbone features, from before the projector."""
        return self.encoder.features(images)


def _projector(widths: list[int]) -> nn.Sequential:
    """Batch norm after every layer; the last one's scales and does not shift, as the authors'."""
    layers = mlp(widths, bias=False)
    last = nn.BatchNorm1d(widths[-1])
    last.bias.requires_grad_(False)  # stays 0
    return layers.append(last)


def terms(pair: Pair[SimclrConfig]) -> Terms:
    """NT-Xent alone."""
    value = nt_xent(pair.first, pair.second, temperature=pair.config.temperature)
    return {"nt_xent": Term(value=value)}


METHOD = Method(
    name="simclr",
    title="SimCLR",
    paper="Chen et al., A Simple Framework for Contrastive Learning of Representations, ICML 2020",
    year=2020,
    config=SimclrConfig,
    start=partial(PairTraining, terms=terms),
    needs="two views, large batches",
    poster=Poster(imagenet1k=70.00),
)
