"""Ways to train on digits of which it is known beforehand what should become of them.

Each changes the packaged recipe by settings that `pauc-train fit --set` takes. `made` is the kind
that the way of making aims at, decided before any verdict was seen; None where nothing is aimed at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["ALIGN_ONLY", "BESIDE_CORR", "CODE_OF", "SETTINGS", "Made", "Setting"]

Made = Literal["healthy", "coagulated", "dimensional", "total"]
CODE_OF: Mapping[str, str] = {  # the finding that should fire
    "coagulated": "NEMD002",
    "dimensional": "NEMD006",
    "total": "NEMD001",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One way to train."""

    name: str
    method: str
    made: Made | None
    why: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 40


ALIGN_ONLY = {
    "instance_weight": 0.0,
    "prototype_weight": 0.0,
    "alpha": 1.0,
    "beta": 0.0,
    "gamma": 0.0,
    "warmup_epochs": 0,
}
# beside p-corr; what PAUC shipped with when these runs were made
BESIDE_CORR = {"alpha": 0.1, "beta": 3.0, "uniform_log": False}
_PROTOTYPES_ONLY = {"instance_weight": 0.0, "warmup_epochs": 0}

SETTINGS: tuple[Setting, ...] = (
    Setting(name="moco", method="mocov2", made="healthy", why="the recipe"),
    Setting(name="pcl", method="pclv2", made="healthy", why="the recipe"),
    Setting(name="pauc", method="pauc", made="healthy", why="the recipe"),
    Setting(
        name="proto x10",
        method="pclv2",
        made="coagulated",
        why="ProtoNCE ten times InfoNCE: members are drawn to their centroid",
        overrides={"prototype_weight": 10.0},
    ),
    Setting(
        name="proto x100",
        method="pclv2",
        made="coagulated",
        why="ProtoNCE a hundred times InfoNCE",
        overrides={"prototype_weight": 100.0},
    ),
    Setting(
        name="proto only",
        method="pclv2",
        made="coagulated",
        why="no InfoNCE: nothing keeps two members of a prototype apart",
        overrides=_PROTOTYPES_ONLY,
    ),
    Setting(
        name="proto only, K=10",
        method="pclv2",
        made="coagulated",
        why="no InfoNCE and as many prototypes as classes",
        overrides=_PROTOTYPES_ONLY | {"clusters": [10]},
    ),
    Setting(
        name="proto x10, cold",
        method="pclv2",
        made="coagulated",
        why="ProtoNCE ten times InfoNCE, temperature .05: φ is tight, small distances still count",
        overrides={"prototype_weight": 10.0, "temperature": 0.05},
    ),
    Setting(
        name="align only",
        method="pauc",
        made="total",
        why="no negatives and no predictor: a constant is the optimum of p-align alone",
        overrides=ALIGN_ONLY,
    ),
    Setting(
        name="align only, fast",
        method="pauc",
        made="total",
        why="the same with ten times the learning rate and prototypes of single images",
        overrides=ALIGN_ONLY | {"learning_rate": 0.3, "clusters": [600]},
    ),
    Setting(
        name="corr 1",
        method="pauc",
        made="dimensional",
        why="p-corr at γ=1: its optimum puts each prototype on a few coordinates",
        overrides=BESIDE_CORR | {"gamma": 1.0},
    ),
    Setting(
        name="corr 10",
        method="pauc",
        made="dimensional",
        why="p-corr at γ=10",
        overrides=BESIDE_CORR | {"gamma": 10.0},
    ),
    Setting(
        name="rate 10",
        method="mocov2",
        made="total",
        why="learning rate 300 times the recipe's: units die",
        overrides={"learning_rate": 10.0},
    ),
    Setting(
        name="decay .3",
        method="mocov2",
        made="total",
        why="weight decay 3,000 times the recipe's: weights go to 0, inputs stop to matter",
        overrides={"weight_decay": 0.3},
    ),
    Setting(name="byol", method="byol", made="healthy", why="the recipe"),
    Setting(
        name="no predictor",
        method="byol",
        made="total",
        why="BYOL without its predictor: a constant is an optimum, and nothing breaks the symmetry",
        overrides={"predictor": "none"},
    ),
    Setting(
        name="no predictor, fast",
        method="byol",
        made="total",
        why="the same with a target that follows at once and ten times the learning rate",
        overrides={"predictor": "none", "target_momentum": 0.0, "learning_rate": 1.0},
    ),
    Setting(name="swav", method="swav", made="healthy", why="the recipe"),
    Setting(
        name="unfrozen",
        method="swav",
        made=None,
        why="SwAV's prototypes move from the first step on",
        overrides={"freeze_epochs": 0},
    ),
    Setting(
        name="unfrozen, hot codes",
        method="swav",
        made="total",
        why="unfrozen, and an epsilon of 1: codes are even whatever the image, nothing to tell",
        overrides={"freeze_epochs": 0, "epsilon": 1.0},
    ),
    Setting(
        name="hot",
        method="mocov2",
        made=None,
        why="temperature 1: near and far negatives count alike",
        overrides={"temperature": 1.0},
    ),
    Setting(
        name="cold",
        method="mocov2",
        made=None,
        why="temperature .03: only the nearest negatives count",
        overrides={"temperature": 0.03},
    ),
    Setting(
        name="one negative",
        method="mocov2",
        made=None,
        why="a queue of one key",
        overrides={"queue_size": 1},
    ),
    Setting(
        name="no views",
        method="mocov2",
        made=None,
        why="no augmentation: invariant to nothing",
        overrides={"views": "none"},
    ),
    Setting(
        name="flipping views",
        method="mocov2",
        made=None,
        why="augmentation for clothes: mirrored and cropped digits change their class",
        overrides={"views": "clothes"},
    ),
    Setting(
        name="untrained",
        method="mocov2",
        made=None,
        why="one epoch at a rate of 1e-12: only batch statistics move",
        overrides={"learning_rate": 1e-12},
        epochs=1,
    ),
    Setting(name="two epochs", method="mocov2", made=None, why="stopped early", epochs=2),
)
