"""lightly: a ResNet's children in a row, heads below `layers`, prototypes with a bias."""

from nemd_toolkit.checkpoints.layouts.layout import HeadAt, Layout, Part, Vectors
from nemd_toolkit.checkpoints.layouts.names import below
from nemd_toolkit.checkpoints.layouts.parts import State
from nemd_toolkit.checkpoints.layouts.renaming import numbered_resnet

__all__ = ["LIGHTLY", "from_children"]

_SOURCE = "github.com/lightly-ai/lightly "


def from_children(state: State) -> State:
    """Give a backbone torchvision's or timm's names, whichever way it was wrapped.

    >>> import torch
    >>> one = torch.ones(1)
    >>> list(from_children({"0.weight": one, "4.0.conv1.weight": one}))
    ['conv1.weight', 'layer1.0.conv1.weight']
    >>> list(from_children({"2.0.conv1.weight": one, "2.0.shortcut.0.weight": one}))
    ['layer1.0.conv1.weight', 'layer1.0.downsample.0.weight']
    >>> list(from_children({"vit.cls_token": one, "mask_token": one}))
    ['cls_token']
    """
    inside = below(state, "vit.")  # MaskedVisionTransformerTIMM
    if inside:
        return inside
    # lightly's own ResNet has no children for ReLU and pooling
    named = numbered_resnet(2 if "2.0.conv1.weight" in state else 4)(state)
    return {key.replace(".shortcut.", ".downsample."): value for key, value in named.items()}


def _part(backbone: str, head: str, vectors: str | None = None, *, gelu: bool = False) -> Part:
    """Give a branch by the names of its modules; the predictor and probe are the online one's.

    With prototypes, below the name `vectors`, projections are brought to length 1.
    """
    projector = HeadAt(
        layer="projector",
        prefix=f"{head}.layers.",
        activation="gelu" if gelu else "relu",
        normalised=vectors is not None,
    )
    others = (
        HeadAt(layer="predictor", prefix="prediction_head.layers."),
        HeadAt(
            layer="classifier",
            prefix="online_classifier.classification_head.",
            on="backbone",
        ),
    )
    return Part(
        backbone=f"{backbone}.",
        heads=(projector, *(others if backbone == "backbone" else ())),
        layer="projector",
        prototypes=(Vectors(prefix=vectors, layer="projector"),) if vectors else (),
    )


def _joint(name: str, *, prototypes: bool) -> Layout:
    return Layout(
        name=name,
        title="SwAV of lightly" if prototypes else "a method of lightly",
        source=_SOURCE + "examples/pytorch_lightning, lightly/models/modules/heads.py",
        marks=(
            "backbone.",
            "projection_head.layers.",
            *(["prototypes.heads."] if prototypes else []),
        ),
        parts={
            "online": _part(
                "backbone", "projection_head", "prototypes.heads." if prototypes else None
            ),
            "momentum": _part("backbone_momentum", "projection_head_momentum"),
            "teacher": _part("teacher_backbone", "teacher_projection_head"),
            "key": _part("key_backbone", "key_projection_head"),
        },
        default="online",
        rename=from_children,
        absent=("projection_head.last_layer.",),
    )


def _dino(branches: dict[str, tuple[str, str]], source: str) -> Layout:
    teacher = branches["teacher"][1]
    return Layout(
        name="lightly/dino",
        title="DINO, DINOv2 or iBOT of lightly",
        source=_SOURCE + source,
        marks=(
            *(f"{backbone}." for backbone, _ in branches.values()),
            f"{teacher}.layers.",
            f"{teacher}.last_layer.",
        ),
        parts={
            name: _part(backbone, head, f"{head}.last_layer.", gelu=True)
            for name, (backbone, head) in branches.items()
        },
        default="teacher",
        rename=from_children,
    )


LIGHTLY = (
    _dino(
        {
            "teacher": ("teacher_backbone", "teacher_head"),
            "student": ("student_backbone", "student_head"),
        },
        "examples/pytorch_lightning/dino.py, ibot.py",
    ),
    _dino(
        {
            "teacher": ("teacher_backbone", "teacher_head.dino_head"),
            "student": ("student_backbone", "student_head.dino_head"),
        },
        "examples/pytorch_lightning/dinov2.py",
    ),
    _dino(
        {
            "teacher": ("backbone", "projection_head"),
            "student": ("student_backbone", "student_projection_head"),
        },
        "benchmarks/imagenet/resnet50/dino.py",
    ),
    _joint("lightly/swav", prototypes=True),
    _joint("lightly", prototypes=False),
)
