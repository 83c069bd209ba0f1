"""Encoders whose parameters carry the names that published checkpoints use."""

from nemd_toolkit.encoders.architectures import ARCHITECTURES, build_resnet
from nemd_toolkit.encoders.infer import resnet_from_state_dict
from nemd_toolkit.encoders.resnet import ResNet, ResNetShape

__all__ = ["ARCHITECTURES", "ResNet", "ResNetShape", "build_resnet", "resnet_from_state_dict"]
