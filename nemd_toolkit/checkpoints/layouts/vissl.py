"""VISSL: a trunk of feature blocks and numbered heads, below ClassyVision's state."""

from dataclasses import replace

from nemd_toolkit.checkpoints.layouts.layout import HeadAt, Layout, Part, Vectors
from nemd_toolkit.checkpoints.layouts.parts import State

__all__ = ["VISSL", "from_trunk"]

_SOURCE = "github.com/facebookresearch/vissl vissl/models/base_ssl_model.py, "
_CLASSY = "classy_state_dict.base_model.model."
# Training checkpoints; `model_state_dict` and older files; the trunk alone.
_STARTS = (_CLASSY, "")
# Momentum networks are kept by the loss.
_MOMENTUM = {"teacher": "loss.momentum_teacher.", "key": "loss.moco_encoder."}


def from_trunk(state: State) -> State:
    """Leave out how the trunk was wrapped.

    >>> import torch
    >>> list(from_trunk({"base_model._feature_blocks.conv1.weight": torch.ones(1)}))
    ['conv1.weight']
    """
    return {
        key.removeprefix("base_model.").removeprefix("_feature_blocks."): value
        for key, value in state.items()
    }


def _layout(
    start: str,
    kind: str,
    marks: tuple[str, ...],
    head: HeadAt | None,
    *,
    default: str = "online",
    prototypes: bool = False,
    layer: str = "projector",
) -> Layout:
    """Give a layout by its head, whose prefixes are without `heads.`."""
    starts = {"online": start, **_MOMENTUM, "average": "classy_state_dict.ema_model.model."}
    at = starts[default]
    return Layout(
        name="vissl",
        title=f"a model of VISSL ({kind})",
        source=_SOURCE + "vissl/models/heads, vissl/models/trunks/resnext.py",
        marks=(f"{at}trunk.", *(f"{at}heads.{mark}" for mark in marks)),
        parts={
            name: Part(
                backbone=f"{where}trunk.",
                heads=(_below(head, f"{where}heads."),) if head else (),
                layer=layer,
                prototypes=(Vectors(prefix=f"{where}heads.0.prototypes", layer="projector"),)
                if prototypes
                else (),
            )
            for name, where in starts.items()
        },
        default=default,
        rename=from_trunk,
    )


def _below(head: HeadAt, start: str) -> HeadAt:
    then = tuple(start + prefix for prefix in head.then)
    return replace(head, prefix=start + head.prefix, then=then)


def _heads(start: str) -> tuple[Layout, ...]:
    swav = HeadAt(layer="projector", prefix="0.projection_head.", normalised=True)
    dino = HeadAt(layer="projector", prefix="0.mlp.", activation="gelu", normalised=True)
    two = HeadAt(layer="projector", prefix="0.clf.", then=("1.clf.",))
    one = HeadAt(layer="projector", prefix="0.clf.")
    last = HeadAt(layer="head", prefix="0.clf.")  # one linear layer: of classes, or PIRL's
    marks = ("0.mlp.", "0.prototypes0.weight_v")
    return (
        _layout(
            start, "swav_head", ("0.projection_head.", "0.prototypes0."), swav, prototypes=True
        ),
        _layout(start, "dino_head", marks, dino, prototypes=True, default="teacher"),
        _layout(start, "dino_head", marks, dino, prototypes=True),
        _layout(start, "mlp, mlp", ("0.clf.", "1.clf."), two),
        _layout(start, "mlp", ("0.clf.0.", "0.clf.3."), one),
        _layout(start, "mlp", ("0.clf.",), last, layer="backbone"),
    )


def _trunk(prefix: str) -> Layout:
    """Give the layout of a trunk without heads."""
    return Layout(
        name="vissl",
        title="a trunk of VISSL",
        source=_SOURCE + "extra_scripts/convert_vissl_to_torchvision.py",
        marks=(f"{prefix}_feature_blocks.",),
        parts={"online": Part(backbone=f"{prefix}_feature_blocks.")},
        default="online",
    )


VISSL = (
    *(layout for start in _STARTS for layout in _heads(start)),
    *(_trunk(prefix) for prefix in (f"{_CLASSY}trunk.", "trunk.", "trunk.base_model.", "")),
    # a vision transformer: no feature blocks
    _layout(_CLASSY, "trunk", (), None),
)
