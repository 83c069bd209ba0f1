"""ResNet (He et al. 2016) with torchvision's parameter names, without torchvision.

`layer1.0.conv1.weight` and so on, the stride of a bottleneck on its 3x3 convolution (torchvision's
"v1.5"). What differs from one ResNet to another is a `ResNetShape`; nothing else does.
"""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nemd_toolkit.errors import InputError

__all__ = ["BasicBlock", "Bottleneck", "ResNet", "ResNetShape"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetShape:
    """Everything that fixes a ResNet's parameters. Raises InputError for what cannot be built."""

    block: Literal["basic", "bottleneck"] = "basic"
    blocks: tuple[int, ...] = (2, 2, 2, 2)  # per stage; 1 to 4 stages, each after the first halves
    width: int = 64  # of the first stage; the next ones double
    stem_width: int | None = None  # channels of the stem (CMC's halves); None: width
    inner: int | None = None  # of the first stage's 3x3 convolutions (wide ResNets); None: width
    groups: int = 1  # of the 3x3 convolutions (ResNeXt)
    channels: int = 3  # of the image
    stem: Literal["imagenet", "small"] = "imagenet"  # 7x7 stride 2 + max-pool | 3x3 stride 1
    head: Literal["linear", "mlp", "none"] = "linear"  # mlp: PCL-v2's Linear, ReLU, Linear
    dim: int = 128  # outputs of the head; PCL main_pcl.py

    def __post_init__(self) -> None:
        if not 1 <= len(self.blocks) <= 4 or min(self.blocks) < 1:
            raise InputError(
                f"ResNet: expected 1 to 4 stages of at least one block, got {self.blocks}; "
                "give for instance (2, 2, 2, 2)"
            )
        wide = self.inner is not None or self.groups != 1
        if wide and (self.block == "basic" or (self.inner or self.width) % self.groups):
            raise InputError(
                f"ResNet: expected bottlenecks whose inner width {self.groups} groups divide, got "
                f"{self.block} blocks of {self.inner or self.width}; this variant is not supported"
            )
        widths = (self.width, self.stem_width or self.width, self.inner or self.width)
        if min(*widths, self.channels, self.dim, self.groups) < 1:
            raise InputError(
                f"ResNet: expected positive width, channels and dim, got {self.width}, "
                f"{self.channels} and {self.dim}; give whole numbers from 1"
            )

    @property
    def features(self) -> int:
        """Number of pooled backbone features."""
        expansion = BasicBlock.expansion if self.block == "basic" else Bottleneck.expansion
        return int(self.width * 2 ** (len(self.blocks) - 1) * expansion)


class ResNet(nn.Module):
    """A stem, up to four stages, average pooling, and a head `fc` where there is one.

    >>> import torch
    >>> net = ResNet(ResNetShape(blocks=(1, 1), width=8, stem="small", channels=1, dim=4))
    >>> net(torch.zeros(2, 1, 8, 8)).shape, net.features(torch.zeros(2, 1, 8, 8)).shape
    (torch.Size([2, 4]), torch.Size([2, 16]))
    """

    def __init__(self, shape: ResNetShape) -> None:
        super().__init__()
        self.shape = shape
        width_in = shape.stem_width or shape.width
        if shape.stem == "imagenet":
            self.conv1 = nn.Conv2d(shape.channels, width_in, 7, 2, 3, bias=False)
        else:
            self.conv1 = nn.Conv2d(shape.channels, width_in, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width_in)
        for stage, count in enumerate(shape.blocks):
            layer = _stage(shape, width_in, stage, count)
            self.add_module(f"layer{stage + 1}", layer)
            width_in = shape.width * 2**stage * _block(shape).expansion
        head = _head(shape)
        if head is not None:
            self.fc = head
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # as torchvision does, after He et al. 2015
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def channels(self) -> int:
        """Of the images it takes."""
        return self.shape.channels

    def features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Backbone output, averaged over the image; not normalised."""
        x = F.relu(self.bn1(self.conv1(x)))
        if self.shape.stem == "imagenet":
            x = F.max_pool2d(x, 3, 2, 1)
        for stage in range(len(self.shape.blocks)):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        # a mean, not adaptive pooling: the latter's CUDA gradient is not deterministic
        return x.mean((2, 3))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Output of the head (of the backbone if there is no head); not normalised."""
        features = self.features(x)
        if self.shape.head == "none":
            return features
        embedding: Tensor = self.fc(features)
        return embedding


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(width_in, width, stride)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        """Residual sum, after the last ReLU."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut; four times as many channels come out."""

    expansion = 4

    def __init__(
        self, width_in: int, width: int, stride: int, inner: int | None = None, groups: int = 1
    ) -> None:
        super().__init__()
        inner = inner or width
        self.conv1 = nn.Conv2d(width_in, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.downsample = _shortcut(width_in, width * self.expansion, stride)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        """Residual sum, after the last ReLU."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def _block(shape: ResNetShape) -> type[BasicBlock] | type[Bottleneck]:
    return BasicBlock if shape.block == "basic" else Bottleneck


def _stage(shape: ResNetShape, width_in: int, stage: int, count: int) -> nn.Sequential:
    width = shape.width * 2**stage
    inner = (shape.inner or shape.width) * 2**stage

    def block(width_in: int, stride: int) -> nn.Module:
        if shape.block == "basic":
            return BasicBlock(width_in, width, stride)
        return Bottleneck(width_in, width, stride, inner, shape.groups)

    first = block(width_in, 1 if stage == 0 else 2)
    rest = [block(width * _block(shape).expansion, 1) for _ in range(count - 1)]
    return nn.Sequential(first, *rest)


def _shortcut(width_in: int, width_out: int, stride: int) -> nn.Sequential | None:
    """Make a 1x1 convolution where shapes differ; None, so no parameters, where they do not."""
    if stride == 1 and width_in == width_out:
        return None
    return nn.Sequential(
        nn.Conv2d(width_in, width_out, 1, stride, bias=False), nn.BatchNorm2d(width_out)
    )


def _head(shape: ResNetShape) -> nn.Module | None:
    width = shape.features
    if shape.head == "none":
        return None
    if shape.head == "linear":
        return nn.Linear(width, shape.dim)
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, shape.dim))
