"""Named ResNets: torchvision's, and small ones of ours for small images."""

from dataclasses import replace
from typing import Literal

from nemd_toolkit.encoders.resnet import ResNet, ResNetShape
from nemd_toolkit.errors import InputError

__all__ = ["ARCHITECTURES", "build_resnet"]

ARCHITECTURES: dict[str, ResNetShape] = {
    # torchvision's
    "resnet18": ResNetShape(block="basic", blocks=(2, 2, 2, 2)),
    "resnet34": ResNetShape(block="basic", blocks=(3, 4, 6, 3)),
    "resnet50": ResNetShape(block="bottleneck", blocks=(3, 4, 6, 3)),
    "resnet101": ResNetShape(block="bottleneck", blocks=(3, 4, 23, 3)),
    # ours: 3x3 stem, no max-pool, for images of 8 to 64 pixels
    "resnet8-tiny": ResNetShape(blocks=(1, 1, 1), width=16, stem="small"),
    "resnet8-small": ResNetShape(blocks=(1, 1, 1), width=32, stem="small"),
    "resnet8-strided": ResNetShape(blocks=(1, 1, 1), width=32, stem="imagenet"),  # its stem halves
    "resnet10-small": ResNetShape(blocks=(1, 1, 1, 1), width=32, stem="small"),
    "resnet18-small": ResNetShape(blocks=(2, 2, 2, 2), width=64, stem="small"),
}


def build_resnet(
    name: str,
    *,
    channels: int = 3,
    head: Literal["linear", "mlp", "none"] = "linear",
    dim: int = 128,  # PCL main_pcl.py
) -> ResNet:
    """Build the named ResNet with fresh weights. Raises InputError for an unknown name.

    >>> build_resnet("resnet8-small", channels=1, dim=16).shape.features
    128
    """
    if name not in ARCHITECTURES:
        raise InputError(
            f"arch: expected one of {', '.join(ARCHITECTURES)}, got {name!r}; choose one of them"
        )
    return ResNet(replace(ARCHITECTURES[name], channels=channels, head=head, dim=dim))
