"""SimCLR v2 (Chen et al. 2020b, section 2): SimCLR with a deeper projector, trained for longer.

Pretraining only. Left out: larger ResNets and selective kernels, the memory of a momentum encoder
(about 1 % in their linear evaluation), and fine-tuning from the projector's first layer and
distillation, which need labels; `features` are the backbone's, as in linear evaluation.
"""

from dataclasses import dataclass
from functools import partial

from pauc_train.config import MANY, setting
from pauc_train.method import Method, Poster
from pauc_train.methods import simclr

__all__ = ["METHOD", "Simclrv2Config"]


@dataclass(frozen=True, kw_only=True)
class Simclrv2Config(simclr.SimclrConfig):
    """SimCLR v2's settings, where they differ."""

    projector_layers: int = setting(3, least=1, most=100)
    epochs: int = setting(800, least=1, most=MANY)
    learning_rate: float = setting(6.4, above=0)  # 0.1 times the root of the batch size
    weight_decay: float = setting(1e-4, least=0)
    rate_warmup_epochs: float = setting(40.0, least=0)  # 5 % of all


METHOD = Method(
    name="simclrv2",
    title="SimCLR v2",
    paper="Chen et al., Big Self-Supervised Models are Strong Semi-Supervised Learners, 2020",
    year=2020,
    config=Simclrv2Config,
    start=partial(simclr.PairTraining, terms=simclr.terms),
    needs="two views, large batches",
    poster=Poster(imagenet1k=71.70),
)
