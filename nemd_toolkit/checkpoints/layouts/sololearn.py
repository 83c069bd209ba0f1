"""solo-learn: Lightning checkpoints with `backbone`, `projector`, `classifier` side by side."""

from nemd_toolkit.checkpoints.layouts.inputs import CIFAR
from nemd_toolkit.checkpoints.layouts.layout import HeadAt, Layout, Part, Vectors

__all__ = ["SOLO_LEARN"]

_SOURCE = "github.com/vturrisi/solo-learn solo/methods/"
_BACKBONES = ("backbone", "encoder")  # before version 1.0.6: encoder


def _parts(body: str, *, prototypes: bool = False) -> dict[str, Part]:
    """Give both branches; prototypes, which only methods without a momentum encoder have, online.

    With them projections are brought to length 1.
    """
    return {
        name: Part(
            backbone=f"{start}{body}.",
            heads=(
                HeadAt(layer="projector", prefix=f"{start}projector.", normalised=prototypes),
                HeadAt(layer="predictor", prefix=f"{start}predictor."),
                HeadAt(layer="classifier", prefix=f"{start}classifier.", on="backbone"),
            ),
            layer="projector",
            prototypes=(Vectors(prefix="prototypes.", layer="projector"),)
            if prototypes and name == "online"
            else (),
        )
        for name, start in (("online", ""), ("momentum", "momentum_"))
    }


def _dino_parts(body: str) -> dict[str, Part]:
    return {
        name: Part(
            backbone=f"{start}{body}.",
            heads=(
                HeadAt(
                    layer="projector",
                    prefix=f"{start}head.mlp.",
                    activation="gelu",
                    normalised=True,
                ),
                HeadAt(layer="classifier", prefix=f"{start}classifier.", on="backbone"),
            ),
            layer="projector",
            prototypes=(Vectors(prefix=f"{start}head.last_layer.", layer="projector"),),
        )
        for name, start in (("online", ""), ("momentum", "momentum_"))
    }


def _clustering(body: str) -> Layout:
    return Layout(
        name="solo-learn/prototypes",
        title="SwAV or DeepCluster-v2 of solo-learn",
        source=f"{_SOURCE}swav.py, deepclusterv2.py",
        marks=(f"{body}.", "classifier.weight", "projector.", "prototypes."),
        parts=_parts(body, prototypes=True),
        default="online",
        small=CIFAR,
    )


def _dino(body: str) -> Layout:
    return Layout(
        name="solo-learn/dino",
        title="DINO of solo-learn",
        source=f"{_SOURCE}dino.py",
        marks=(f"{body}.", "classifier.weight", "head.mlp.", "head.last_layer."),
        parts=_dino_parts(body),
        default="online",  # what its own evaluation loads
        small=CIFAR,
    )


def _other(body: str) -> Layout:
    return Layout(
        name="solo-learn",
        title="a method of solo-learn",
        source=f"{_SOURCE}base.py, byol.py, mocov3.py, simsiam.py, linear.py",
        marks=(f"{body}.", "classifier.weight"),
        parts=_parts(body),
        default="online",
        small=CIFAR,
        absent=("projection_head.",),  # of lightly
    )


SOLO_LEARN = tuple(layout(body) for layout in (_clustering, _dino, _other) for body in _BACKBONES)
