"""CLD (Wang, Liu & Yu 2021): momentum contrast, and each view's groups told apart by the other.

A group is a cluster of a batch in one view, found anew for each batch; images of the other view are
to choose it among that batch's groups. Values are those of frank-xwang/CLD-UnsupervisedLearning
scripts/imagenet/train_imagenet_mocov2_cld.sh. Its names, but that `fc` holds the whole head of
images (`instDis` is `fc.2`); its normed linear layers are left out.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from nemd_toolkit.encoders import ARCHITECTURES, ResNet, ResNetShape
from nemd_toolkit.formulas import info_nce
from pauc_train import ranks
from pauc_train.config import MANY, setting
from pauc_train.contrast import ContrastConfig
from pauc_train.method import (
    Batch,
    Method,
    Poster,
    Setup,
    Term,
    Terms,
    View,
    preset,
)
from pauc_train.momentum import MomentumContrast, follow

__all__ = ["METHOD", "CldConfig", "CldTraining", "cross_level", "groups_of"]


@dataclass(frozen=True, kw_only=True)
class CldConfig(ContrastConfig):
    """MoCo v2's settings, and those of groups."""

    queue_size: int = setting(65536, least=1, most=MANY)
    batch_size: int = setting(512, least=2, most=MANY)
    learning_rate: float = setting(0.2, above=0)
    group_weight: float = setting(0.25, least=0)  # λ, --Lambda
    group_temperature: float = setting(0.4, above=0)  # --cld-t
    groups: int = setting(100, least=2, most=MANY)  # of a batch, --clusters; at most its images
    group_steps: int = setting(5, least=1, most=1000)  # of k-means, --num-iters


def groups_of(
    points: Float[Tensor, "b d"], k: int, steps: int
) -> tuple[Int[Tensor, " b"], Float[Tensor, "k d"]]:
    """Cluster a batch by k-means from its first k points: groups, and their means with gradient.

    A group that has lost all its points has the mean 0.

    >>> points = torch.tensor([[0.0], [1.0], [0.2], [1.2]])
    >>> groups_of(points, 2, 3)
    (tensor([0, 1, 0, 1]), tensor([[0.1000], [1.1000]]))
    """
    means = points[:k].detach()
    for _ in range(steps):
        group = torch.cdist(points.detach(), means).argmin(1)
        belongs = F.one_hot(group, len(means)).to(points.dtype)  # (b, k)
        counts = belongs.sum(0).clamp_min(1)
        means = (belongs.T @ points.detach()) / counts[:, None]
    return group, (belongs.T @ points) / counts[:, None]


def cross_level(
    first: Float[Tensor, "b d"],
    second: Float[Tensor, "b d"],
    *,
    k: int,
    steps: int,
    temperature: float,
) -> Float[Tensor, ""]:
    """Cross-entropy of each view's images with the groups of the other, the mean of both ways.

    >>> plane = torch.eye(2)
    >>> round(cross_level(plane, plane, k=2, steps=1, temperature=1.0).item(), 4)
    0.3133
    """
    views = ((first, groups_of(second, k, steps)), (second, groups_of(first, k, steps)))
    losses = [
        F.cross_entropy(points @ means.T / temperature, group) for points, (group, means) in views
    ]
    return torch.stack(losses).mean()


class CldEncoder(ResNet):
    """A ResNet with a second head, of groups; both outputs side by side."""

    def __init__(self, shape: ResNetShape) -> None:
        super().__init__(shape)
        self.groupDis = nn.Linear(shape.features, shape.dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e"]:
        """Give the embeddings of images and of groups, 2d numbers in all; not normalised."""
        shared = self.features(x)
        last = self.fc
        if isinstance(self.fc, nn.Sequential):  # all but the last layer is common
            shared, last = self.fc[:-1](shared), self.fc[-1]
        return torch.cat([last(shared), self.groupDis(shared)], dim=1)


class CldTraining(MomentumContrast):
    """MoCo's encoders and queue; the query encoder sees two views."""

    encoder_q: CldEncoder

    def __init__(self, setup: Setup[CldConfig]) -> None:
        config = setup.config
        shape = replace(
            ARCHITECTURES[config.arch],
            channels=setup.channels,
            head=config.head,
            dim=config.embedding_dim,
        )
        super().__init__(
            CldEncoder(shape),
            queue_size=config.queue_size,
            generator=setup.generator,
            shuffle=config.shuffles_keys,
        )
        self.config = config

    def loss(self, batch: Batch, generator: torch.Generator) -> Terms:
        """Two queries against one key, and groups of the two."""
        config = self.config
        (query, group), (query2, group2) = (self._both(batch.views[i]) for i in (0, 2))
        follow(self.encoder_k, self.encoder_q, config.key_momentum)
        key, queue = self.keys(self.key, batch.views[1], generator), self.negatives()
        instance = [
            info_nce(q, key, queue, temperature=config.temperature) for q in (query, query2)
        ]
        groups = cross_level(
            group,
            group2,
            k=min(config.groups, len(group)),
            steps=config.group_steps,
            temperature=config.group_temperature,
        )
        self.enqueue(key)
        return {
            "info_nce": Term(value=torch.stack(instance).mean(), weight=config.instance_weight),
            "cross_level": Term(value=groups, weight=config.group_weight),
        }

    def _both(self, images: Tensor) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        """Give the whole batch's unit embeddings of images and of groups."""
        query, group = self.encoder_q(images).chunk(2, dim=1)
        return ranks.gather(F.normalize(query, dim=1)), ranks.gather(F.normalize(group, dim=1))

    @torch.no_grad()
    def key(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Give unit embeddings of images by the momentum encoder, without gradient."""
        return F.normalize(self.encoder_k(images).chunk(2, dim=1)[0], dim=1)


def _views(config: CldConfig) -> tuple[View, ...]:
    return (preset(config.views),) * 3


METHOD = Method(
    name="cld",
    title="CLD",
    paper="Wang, Liu & Yu, Unsupervised Feature Learning by Cross-Level Instance-Group "
    "Discrimination, CVPR 2021",
    year=2021,
    config=CldConfig,
    start=CldTraining,
    views=_views,
    needs="three views, momentum encoder, queue, k-means in each batch",
    poster=Poster(imagenet100=(81.50, 95.48), imagenet1k=71.50),
)
