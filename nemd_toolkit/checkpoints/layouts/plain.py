"""Encoders alone: the names of torchvision's ResNet or timm's ViT under some prefix."""

import re

from nemd_toolkit.checkpoints.layouts.layout import HeadAt, Layout, Part
from nemd_toolkit.checkpoints.layouts.parts import State

__all__ = ["PLAIN", "resnet_names"]

_PREFIXES = ("", "backbone.", "encoder.", "model.", "model.backbone.", "model.encoder.")


_RESNET = re.compile(r"(conv1|bn1|layer\d+)\.")
_SHORTCUT = re.compile(r"(?<=\d)\.shortcut\.(?=\d)")  # of kuangliu's ResNet for CIFAR


def resnet_names(state: State) -> State:
    """Keep what bears a name of torchvision's ResNet, or `shortcut` for its `downsample`.

    >>> import torch
    >>> one = torch.ones(1)
    >>> list(resnet_names({"conv1.weight": one, "layer2.0.shortcut.1.bias": one, "queue": one}))
    ['conv1.weight', 'layer2.0.downsample.1.bias']
    """
    kept = {key: value for key, value in state.items() if _RESNET.match(key)}
    return {_SHORTCUT.sub(".downsample.", key): value for key, value in kept.items()}


def _resnet(prefix: str) -> Layout:
    return Layout(
        name="resnet",
        title="a ResNet alone, with torchvision's names" + (f" below {prefix}" if prefix else ""),
        source="torchvision models/resnet.py",
        marks=(f"{prefix}conv1.weight", f"{prefix}layer1.0.conv1.weight"),
        parts={
            "encoder": Part(
                backbone=prefix, heads=(HeadAt(layer="classifier", prefix=f"{prefix}fc."),)
            )
        },
        default="encoder",
        rename=resnet_names,
    )


PLAIN = tuple(_resnet(prefix) for prefix in _PREFIXES)
