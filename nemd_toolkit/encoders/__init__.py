"""Encoders whose parameters carry the names that published checkpoints use."""

from nemd_toolkit.encoders.architectures import ARCHITECTURES, build_resnet
from nemd_toolkit.encoders.embedder import Embedder, backbone_from_state_dict
from nemd_toolkit.encoders.heads import head_from_state_dict
from nemd_toolkit.encoders.infer import resnet_from_state_dict
from nemd_toolkit.encoders.renaming import from_transformers
from nemd_toolkit.encoders.resnet import ResNet, ResNetShape
from nemd_toolkit.encoders.vit import VisionTransformer, vit_from_state_dict

__all__ = [
    "ARCHITECTURES",
    "Embedder",
    "ResNet",
    "ResNetShape",
    "VisionTransformer",
    "backbone_from_state_dict",
    "build_resnet",
    "from_transformers",
    "head_from_state_dict",
    "resnet_from_state_dict",
    "vit_from_state_dict",
]
