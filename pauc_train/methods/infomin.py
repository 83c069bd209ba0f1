"""InfoMin (Tian et al. 2020): MoCo v2 with PIRL's puzzles beside the query, and stronger views.

L = (1−β) InfoNCE(query, key) + β InfoNCE(puzzle, key), both against one queue of keys: the paper's
appendix, and PyContrast's method InfoMin. Its views have RandAugment of PIL too, which ours leave
out: SimCLR's are the rest of them. The key encoder follows before keys are made, as in MoCo.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.formulas import info_nce
from pauc_train import ranks
from pauc_train.config import MANY, Config, setting
from pauc_train.heads import mlp
from pauc_train.jigsaw import JigsawHead, jigsaw, patches
from pauc_train.method import Batch, BranchPath, Method, Poster, Setup, Term, Terms, View, preset
from pauc_train.momentum import MomentumContrast, follow, slow_copy
from pauc_train.views import VIEWS

__all__ = ["METHOD", "InfominConfig", "InfominTraining"]


@dataclass(frozen=True, kw_only=True)
class InfominConfig(Config):
    """InfoMin's settings (PyContrast, base_options.py)."""

    temperature: float = setting(0.15, above=0)
    queue_size: int = setting(65536, least=1, most=MANY)  # --nce_k
    key_momentum: float = setting(0.999, least=0, most=1)  # --alpha
    jigsaw_weight: float = setting(0.5, least=0, most=1)  # --beta
    grid: int = setting(3, least=2, most=16)  # cells along a side: 9 patches
    views: str = setting("simclr", known=tuple(VIEWS))
    jigsaw_views: str = setting("jigsaw", known=tuple(VIEWS))  # what patches are cut from
    schedule: Literal["cosine", "cosine-by-epoch", "step", "constant"] = "cosine-by-epoch"


class InfominTraining(MomentumContrast):
    """Momentum contrast of images and of puzzles with the same keys; heads apart from encoders."""

    branches: ClassVar = {
        "key": BranchPath(backbone="encoder_k", projector="head_k"),
        "query": BranchPath(backbone="encoder_q", projector="head_q"),
    }

    def __init__(self, setup: Setup[InfominConfig]) -> None:
        config = setup.config
        super().__init__(setup.encoder(), queue_size=config.queue_size, generator=setup.generator)
        self.config = config
        features = self.encoder_q.shape.features
        widths = [features, features, config.embedding_dim]
        self.head_q = mlp(widths, norm=False)
        self.head_k = slow_copy(self.head_q)
        self.head_jig = JigsawHead(widths, config.grid**2)

    def query(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Give unit embeddings, with gradient."""
        return F.normalize(self.head_q(self.encoder_q(images)), dim=1)

    @torch.no_grad()
    def key(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Give unit embeddings of the momentum encoder, without gradient."""
        return F.normalize(self.head_k(self.encoder_k(images)), dim=1)

    def loss(self, batch: Batch, _: torch.Generator) -> Terms:
        """Both terms; the key encoder follows first, and the queue moves on."""
        config = self.config
        puzzles = self.head_jig(self.encoder_q(patches(batch.views[2], config.grid)))
        puzzle = ranks.gather(F.normalize(puzzles, dim=1))
        query = ranks.gather(self.query(batch.views[0]))
        follow(self.encoder_k, self.encoder_q, config.key_momentum)
        follow(self.head_k, self.head_q, config.key_momentum)
        key = ranks.gather(self.key(batch.views[1]))
        queue = self.negatives()
        self.enqueue(key)
        weight = config.jigsaw_weight
        terms = {}
        for name, embedding, share in (("image", query, 1 - weight), ("jigsaw", puzzle, weight)):
            value = info_nce(embedding, key, queue, temperature=config.temperature)
            terms[name] = Term(value=value, weight=share)
        return terms


def _views(config: InfominConfig) -> Sequence[View]:
    view = preset(config.views)
    return view, view, jigsaw(preset(config.jigsaw_views), config.grid)


METHOD = Method(
    name="infomin",
    title="InfoMin",
    paper="Tian et al., What Makes for Good Views for Contrastive Learning?, NeurIPS 2020",
    year=2020,
    config=InfominConfig,
    start=InfominTraining,
    views=_views,
    needs="two views and a jigsaw puzzle, momentum encoder, queue",
    poster=Poster(imagenet1k=70.10),
)
