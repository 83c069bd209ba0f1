"""DINO and DINOv2: a student and a teacher, prototypes in the last layer of their heads."""

import re

from nemd_toolkit.checkpoints.layouts.inputs import DINO_INPUT
from nemd_toolkit.checkpoints.layouts.layout import HeadAt, Layout, Part, Vectors
from nemd_toolkit.checkpoints.layouts.parts import State

__all__ = ["DISTILLATION", "unchunked"]

_CHUNKED = re.compile(r"^blocks\.\d+\.(\d+)\.")
_BRANCHES = ("teacher", "student")


def unchunked(state: State) -> State:
    """Blocks under their own number: DINOv2 may sort them into chunks for FSDP.

    >>> import torch
    >>> one = torch.ones(1)
    >>> list(unchunked({"blocks.3.31.norm1.bias": one, "blocks.4.norm1.bias": one}))
    ['blocks.31.norm1.bias', 'blocks.4.norm1.bias']
    """
    return {_CHUNKED.sub(r"blocks.\1.", key): value for key, value in state.items()}


def _mlp(layer: str, prefix: str, on: str | None = None) -> HeadAt:
    return HeadAt(layer=layer, prefix=prefix, activation="gelu", normalised=True, on=on)


def _dino(branch: str) -> Layout:
    """Give the layout that this branch tells, and whose default it is."""
    return Layout(
        name="dino",
        title="DINO, and iBOT, which is built on its code",
        source="github.com/facebookresearch/dino main_dino.py, vision_transformer.py DINOHead",
        marks=(f"{branch}.backbone.", f"{branch}.head.mlp."),
        parts={
            name: Part(
                backbone=f"{name}.backbone.",
                heads=(_mlp("projector", f"{name}.head.mlp."),),
                layer="projector",
                prototypes=(Vectors(prefix=f"{name}.head.last_layer.", layer="projector"),),
            )
            for name in _BRANCHES
        },
        default=branch,
        image=DINO_INPUT,
        positions="dino",
    )


def _dinov2(branch: str) -> Layout:
    return Layout(
        name="dinov2",
        title="DINOv2",
        source="github.com/facebookresearch/dinov2 dinov2/train/ssl_meta_arch.py, train.py",
        marks=(f"{branch}.backbone.", f"{branch}.dino_head.mlp."),
        parts={
            name: Part(
                backbone=f"{name}.backbone.",
                heads=(
                    _mlp("projector", f"{name}.dino_head.mlp."),
                    # of patches, not of the class token
                    _mlp("ibot_head", f"{name}.ibot_head.mlp.", on="backbone"),
                ),
                layer="projector",
                prototypes=(Vectors(prefix=f"{name}.dino_head.last_layer.", layer="projector"),),
            )
            for name in _BRANCHES
        },
        default=branch,
        rename=unchunked,
        image=DINO_INPUT,
        positions="dino",
        any_size=True,
    )


DISTILLATION = (
    *(_dinov2(branch) for branch in _BRANCHES),
    *(_dino(branch) for branch in _BRANCHES),
)
