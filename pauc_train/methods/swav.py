"""SwAV (Caron et al. 2020, Eq. 2 to 5): a view's scores predict the code of another view.

A code is an image's share of learned prototypes, balanced over the batch by Sinkhorn. Names are
those of facebookresearch/swav, below `encoder` what stands on top level there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pauc_train import ranks
from pauc_train.config import MANY, Config, setting
from pauc_train.heads import mlp
from pauc_train.method import (
    Batch,
    BranchPath,
    Method,
    Poster,
    Setup,
    Term,
    Terms,
    Training,
    View,
    preset,
)
from pauc_train.views import VIEWS

__all__ = ["METHOD", "SwavConfig", "SwavTraining", "codes", "swapped_prediction"]

_LARGE = 2  # views whose codes are predicted


@dataclass(frozen=True, kw_only=True)
class SwavConfig(Config):
    """SwAV's settings, of 800 epochs with 2 + 6 crops."""

    projector_widths: tuple[int, ...] = setting((2048,), least=1, most=65536)  # hidden layers
    prototype_count: int = setting(3000, least=2, most=MANY)
    temperature: float = setting(0.1, above=0)  # τ of Eq. 2
    epsilon: float = setting(0.05, above=0)  # of the entropy in Eq. 3
    sinkhorn_steps: int = setting(3, least=1, most=1000)
    freeze_epochs: int = setting(1, least=0, most=MANY)  # first ones, prototypes frozen; 0: never
    queue_size: int = setting(0, least=0, most=MANY)  # the paper's 3,840 serve small batches only
    queue_epoch: int = setting(15, least=0, most=MANY)  # from which on the queue fills
    views: str = setting("swav-large", known=tuple(VIEWS))
    small_views: str = setting("swav-small", known=tuple(VIEWS))
    small_crops: int = setting(6, least=0, most=100)
    epochs: int = setting(800, least=1, most=MANY)
    batch_size: int = setting(4096, least=2, most=MANY)
    optimizer: Literal["sgd", "lars", "adamw"] = (
        "lars"  # vectors unscaled; the authors' LARC scales
    )
    learning_rate: float = setting(4.8, above=0)
    weight_decay: float = setting(1e-6, least=0)
    schedule: Literal["cosine", "cosine-by-epoch", "step", "constant"] = "cosine"
    rate_warmup_epochs: float = setting(10.0, least=0)


@torch.no_grad()
def codes(scores: Float[Tensor, "n k"], *, epsilon: float, steps: int) -> Float[Tensor, "n k"]:
    """Share of each prototype in each row: rows sum to 1, prototypes get about equal sums.

    Sinkhorn's iterations on exp(scores / ε), the last of them on rows (Eq. 5).

    >>> codes(torch.tensor([[1.0, 1.0], [1.0, 0.0]]), epsilon=0.5, steps=50)
    tensor([[0.269, 0.731], [0.731, 0.269]])
    """
    log = scores / epsilon  # in logarithms: exp(1/0.05) times many rows, and no overflow
    for _ in range(steps):
        log = log - log.logsumexp(0, keepdim=True)  # columns, to 1 each
        log = log - log.logsumexp(1, keepdim=True)
    return log.exp()


def swapped_prediction(
    scores: Sequence[Float[Tensor, "b k"]],
    targets: Sequence[Float[Tensor, "b k"]],
    temperature: float,
) -> Float[Tensor, ""]:
    """Mean cross-entropy of every view's softmax with the codes of other views (Eq. 1, 2).

    scores: of all views; targets: codes of the first ones.

    >>> even = torch.zeros(1, 2)
    >>> round(swapped_prediction([even, even], [even + 0.5, even + 0.5], 0.1).item(), 4)
    0.6931
    """
    logs = [F.log_softmax(score / temperature, dim=1) for score in scores]
    losses = [
        -(target * log).sum(1).mean()
        for number, target in enumerate(targets)
        for view, log in enumerate(logs)
        if view != number
    ]
    return torch.stack(losses).mean()


class SwavTraining(Training):
    """A backbone, a projection head, prototypes as the weight of a layer without bias."""

    branches: ClassVar = {"encoder": BranchPath(backbone="encoder", projector="projection_head")}
    vectors: ClassVar = "prototypes"
    queue: Tensor
    queue_filled: Tensor

    def __init__(self, setup: Setup[SwavConfig]) -> None:
        super().__init__()
        config = self.config = setup.config
        self.encoder = setup.encoder()
        widths = [self.encoder.shape.features, *config.projector_widths, config.embedding_dim]
        self.projection_head = mlp(widths)
        self.prototypes = nn.Linear(config.embedding_dim, config.prototype_count, bias=False)
        self._normalise()
        if config.queue_size:
            empty = torch.zeros(_LARGE, config.queue_size, config.embedding_dim)
            self.register_buffer("queue", empty)  # newest first
            self.register_buffer("queue_filled", torch.zeros(1, dtype=torch.long))

    def loss(self, batch: Batch, _: torch.Generator) -> Terms:
        """All views predict the codes of the large ones."""
        embeddings = self._embeddings(batch.views)
        scores = [ranks.gather(F.linear(z, self.prototypes.weight)) for z in embeddings]
        kept = [ranks.gather(z.detach()) for z in embeddings[:_LARGE]]
        targets = [self._codes(number, scores[number].detach()) for number in range(_LARGE)]
        if self.config.queue_size and batch.epoch >= self.config.queue_epoch:
            self._enqueue(torch.stack(kept))
        value = swapped_prediction(scores, targets, self.config.temperature)
        # ln K while prototypes are used equally; 0 when one has taken all
        usage = targets[0].mean(0)
        entropy = -(usage * usage.clamp_min(1e-12).log()).sum()
        return {
            "swapped_prediction": Term(value=value),
            "code_usage_entropy": Term(value=entropy, weight=0.0),
        }

    def _embeddings(self, views: Sequence[Tensor]) -> list[Float[Tensor, "b d"]]:
        """Embed views on the sphere; those of one size pass together."""
        starts = [i for i in range(len(views)) if i == 0 or views[i].shape != views[i - 1].shape]
        outputs: list[Tensor] = []
        for start, end in pairwise([*starts, len(views)]):
            projected = self.projection_head(self.encoder(torch.cat(tuple(views[start:end]))))
            outputs += F.normalize(projected, dim=1).chunk(end - start)
        return outputs

    def _codes(self, number: int, scores: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """Codes of this batch, with the queue's scores beside it once it is full."""
        rows = len(scores)
        size = self.config.queue_size
        if size and int(self.queue_filled) >= size:
            before = F.linear(self.queue[number], self.prototypes.weight.detach())
            scores = torch.cat([before, scores])
        config = self.config
        return codes(scores, epsilon=config.epsilon, steps=config.sinkhorn_steps)[-rows:]

    @torch.no_grad()
    def _enqueue(self, embeddings: Float[Tensor, "v b d"]) -> None:
        size = self.config.queue_size
        self.queue.copy_(torch.cat([embeddings, self.queue], 1)[:, :size])
        self.queue_filled.add_(embeddings.shape[1]).clamp_(max=size)

    def before_step(self, epoch: int) -> None:
        """Keep the prototypes as they are during the first epochs."""
        if epoch < self.config.freeze_epochs:
            self.prototypes.weight.grad = None

    def after_step(self, _: float) -> None:
        """Bring the prototypes back onto the sphere."""
        self._normalise()

    @torch.no_grad()
    def _normalise(self) -> None:
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Backbone features."""
        return self.encoder.features(images)


def _views(config: SwavConfig) -> Sequence[View]:
    large, small = preset(config.views), preset(config.small_views)
    return (*[large] * _LARGE, *[small] * config.small_crops)


METHOD = Method(
    name="swav",
    title="SwAV",
    paper="Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster "
    "Assignments, NeurIPS 2020",
    year=2020,
    config=SwavConfig,
    start=SwavTraining,
    views=_views,
    needs="two large and several small views, learned prototypes",
    poster=Poster(imagenet100=(80.20, 95.02), imagenet1k=72.70),
)
