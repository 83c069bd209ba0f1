"""AMDIM (Bachman, Hjelm & Buchwalter 2019): global and local vectors of one view predict the other.

InfoNCE from 1x1 to 5x5, 1x1 to 7x7 and 5x5 to 5x5 (section 3.4), scores clipped by a tanh and
their squares held small (section 3.5), as in Philip-Bachman/amdim-public's costs.py, model.py and
train.py. `arch` is not read: the encoder is `AmdimNetwork`. Of theirs, views differ: here they are
two draws of the preset, so that the two may be flipped apart (ours).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.errors import InputError
from pauc_train import ranks
from pauc_train.amdim_network import LOCAL, AmdimNetwork
from pauc_train.config import MANY, Config, setting
from pauc_train.method import Batch, BranchPath, Method, Poster, Setup, Term, Terms, Training

__all__ = ["METHOD", "AmdimConfig", "AmdimTraining", "local_nce"]

_SMALL = LOCAL[0] ** 2  # places of the 5x5 map


@dataclass(frozen=True, kw_only=True)
class AmdimConfig(Config):
    """AMDIM's settings, of its largest encoder; `embedding_dim` is their n_rkhs."""

    encoder_width: int = setting(320, least=1, most=65536)  # ndf; README, AMDIM-Large
    encoder_depth: int = setting(10, least=1, most=200)  # n_depth, likewise
    encoder_norm: bool = False  # train.py use_bn
    embedding_dim: int = setting(2560, least=1, most=65536)  # README, AMDIM-Large
    score_limit: float = setting(20.0, above=0)  # train.py tclip
    score_weight: float = setting(0.05, least=0)  # costs.py lgt_reg
    epochs: int = setting(50, least=1, most=MANY)  # task_self_supervised.py, ImageNet
    batch_size: int = setting(480, least=2, most=MANY)  # README
    optimizer: Literal["sgd", "lars", "adamw"] = "adamw"  # theirs is Adam with coupled decay
    learning_rate: float = setting(2e-4, above=0)  # train.py
    weight_decay: float = setting(1e-5, least=0)  # task_self_supervised.py
    schedule: Literal["cosine", "cosine-by-epoch", "step", "constant"] = "step"
    milestones: tuple[float, ...] = setting((0.6, 0.9), above=0, most=1)  # 30, 45 of 50


def local_nce(
    source: Float[Tensor, "b d"], places: Float[Tensor, "b d p"], *, limit: float
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """InfoNCE from a vector of each image to every place of its other view, and mean squared score.

    Scores are s·t/√d, clipped to limit·tanh(score/limit) after the squares are taken. The negatives
    of a place are all places of all other images, and no other place of the same image.

    >>> source, places = torch.eye(2), torch.eye(2)[..., None]
    >>> nce, square = local_nce(source, places, limit=1e6)
    >>> nce.item(), square.item()  # ln(1 + exp(−1/√2)), and the mean of ½, 0, 0 and ½
    (0.4008, 0.25)
    """
    raw = torch.einsum("id,jdp->ijp", source, places) / source.shape[1] ** 0.5
    scores = limit * torch.tanh(raw / limit)
    own = torch.eye(len(source), dtype=torch.bool, device=source.device)
    positive = scores[own]  # (b, p)
    others = scores.masked_fill(own[..., None], -torch.inf).flatten(1)  # (b, b·p)
    negative = others.logsumexp(1, keepdim=True)
    return F.softplus(negative - positive).mean(), raw.square().mean()


class AmdimTraining(Training):
    """One encoder for both views, from which vectors of three scales come."""

    # no encoder that an analysis can build from these names yet
    branches: ClassVar[Mapping[str, BranchPath]] = {}

    def __init__(self, setup: Setup[AmdimConfig]) -> None:
        super().__init__()
        config = setup.config
        height, width = setup.size
        if height != width:
            raise InputError(f"AMDIM: expected square images, got {height}x{width}; set image_size")
        self.config = config
        self.encoder = AmdimNetwork(
            height,
            channels=setup.channels,
            width=config.encoder_width,
            dim=config.embedding_dim,
            depth=config.encoder_depth,
            norm=config.encoder_norm,
        )

    def loss(self, batch: Batch, generator: torch.Generator) -> Terms:
        """Three predictions in both directions, and the squares of all their scores."""
        first, second = (ranks.gather(self.encoder(view).float()) for view in batch.views)
        limit = self.config.score_limit
        sums: dict[str, list[Tensor]] = {"1_to_5": [], "1_to_7": [], "5_to_5": []}
        squares = []
        for source, target in ((first, second), (second, first)):
            chosen = torch.randint(_SMALL, (len(source),), generator=generator)
            local = _small(source)[torch.arange(len(source)), :, chosen.to(source.device)]
            pairs = {
                "1_to_5": (source[..., 0], _small(target)),
                "1_to_7": (source[..., 0], target[..., 1 + _SMALL :]),
                "5_to_5": (local, _small(target)),
            }
            for name, (vectors, places) in pairs.items():
                value, square = local_nce(vectors, places, limit=limit)
                sums[name].append(value)
                squares.append(square)
        terms = {name: Term(value=torch.stack(values).mean()) for name, values in sums.items()}
        total = torch.stack(squares).sum() / 2  # of three, the mean over directions
        return {**terms, "squared_scores": Term(value=total, weight=self.config.score_weight)}

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Give the vector of the whole image."""
        vectors: Tensor = self.encoder(images)
        return vectors[..., 0]


def _small(vectors: Float[Tensor, "b d 75"]) -> Float[Tensor, "b d 25"]:
    return vectors[..., 1 : 1 + _SMALL]


METHOD = Method(
    name="amdim",
    title="AMDIM",
    paper="Bachman et al., Learning Representations by Maximizing Mutual Information, NeurIPS 2019",
    year=2019,
    config=AmdimConfig,
    start=AmdimTraining,
    needs="two views, an encoder without padding",
    poster=Poster(imagenet1k=68.10),
)
