"""Encoders whose parameters carry the names that published checkpoints use."""

from nemd_toolkit.encoders.architectures import ARCHITECTURES, build_resnet
from nemd_toolkit.encoders.embedder import (
    Backbone,
    Embedder,
    backbone_from_state_dict,
    names_left_out,
)
from nemd_toolkit.encoders.heads import head_from_state_dict
from nemd_toolkit.encoders.infer import resnet_from_state_dict
from nemd_toolkit.encoders.renaming import from_transformers
from nemd_toolkit.encoders.resnet import ResNet, ResNetShape
from nemd_toolkit.encoders.vit import VisionTransformer, vit_from_state_dict

__all__ = [
    "ARCHITECTURES",
    "Backbone",
    "Embedder",
    "ResNet",
    "ResNetShape",
    "VisionTransformer",
    "backbone_from_state_dict",
    "build_resnet",
    "from_transformers",
    "head_from_state_dict",
    "names_left_out",
    "resnet_from_state_dict",
    "vit_from_state_dict",
]
