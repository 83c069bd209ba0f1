"""Grids of overlapping patches, and a pre-activation ResNet that sees one patch at a time.

A grid travels as a mosaic: an image in which the patches lie side by side, without overlap, so that
whatever takes images takes grids, too.
"""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nemd_toolkit.errors import InputError

__all__ = ["PatchEncoder", "PatchShape", "apart", "cut", "grid_of", "mosaic"]


def grid_of(size: tuple[int, int], *, patch: int, stride: int) -> tuple[int, int]:
    """Rows and columns of whole patches in an image; what is left at its lower right is cut off.

    Raises InputError unless there are at least two rows and two columns.

    >>> grid_of((256, 256), patch=64, stride=32)
    (7, 7)
    """
    rows, columns = ((side - patch) // stride + 1 for side in size)
    if min(rows, columns) < 2:
        raise InputError(
            f"patch_size: expected two rows and columns of patches or more, got {size[0]}x{size[1]}"
            f" pixels with patches of {patch} every {stride}; lower patch_size and patch_stride"
        )
    return rows, columns


def cut(images: Float[Tensor, "b c h w"], *, patch: int, stride: int) -> Float[Tensor, "b c y x"]:
    """Overlapping patches of each image, as a mosaic.

    >>> import torch
    >>> cut(torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]]), patch=2, stride=1)
    tensor([[[[1., 2., 2., 3.],
              [4., 5., 5., 6.]]]])
    """
    windows = images.unfold(2, patch, stride).unfold(3, patch, stride)  # (b, c, r, k, y, x)
    return mosaic(windows.permute(0, 2, 3, 1, 4, 5))


def apart(mosaic: Float[Tensor, "b c y x"], patch: int) -> Float[Tensor, "b r k c p p"]:
    """Patches of a mosaic: rows, columns, and a small image each."""
    b, c, height, width = mosaic.shape
    parts = mosaic.reshape(b, c, height // patch, patch, width // patch, patch)
    return parts.permute(0, 2, 4, 1, 3, 5)


def mosaic(patches: Float[Tensor, "b r k c p p"]) -> Float[Tensor, "b c y x"]:
    """Lay patches side by side, the inverse of `apart`."""
    b, rows, columns, c, patch, _ = patches.shape
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(b, c, rows * patch, columns * patch)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchShape:
    """Everything that fixes a patch encoder. Raises InputError for what cannot be built."""

    patch: int  # pixels of a side
    channels: int
    blocks: tuple[int, ...]  # per stage; each stage after the first halves
    inner: tuple[int, ...]  # channels within a stage's bottlenecks
    widths: tuple[int, ...]  # channels that a stage gives
    stem: Literal["imagenet", "small"]  # 7x7 stride 2 + max-pool | 3x3 stride 1
    norm: Literal["none", "layer"]  # over channels and places of one patch

    def __post_init__(self) -> None:
        counts = {len(self.blocks), len(self.inner), len(self.widths)}
        if len(counts) > 1 or len(self.blocks) > 4:
            raise InputError(
                "blocks: expected at most 4 stages, as many in inner_widths and widths, got "
                f"{len(self.blocks)}, {len(self.inner)} and {len(self.widths)}; give equal lists"
            )


class PatchEncoder(nn.Module):
    """ResNet v2 (He et al. 2016, Identity Mappings) on each patch by itself, averaged over it.

    >>> import torch
    >>> shape = PatchShape(
    ...     patch=4, channels=1, blocks=(1,), inner=(2,), widths=(8,), stem="small", norm="layer"
    ... )
    >>> PatchEncoder(shape)(torch.zeros(2, 1, 12, 8)).shape  # 3x2 patches
    torch.Size([2, 8, 3, 2])
    """

    def __init__(self, shape: PatchShape) -> None:
        super().__init__()
        self.shape = shape
        first = shape.inner[0]
        bias = shape.norm == "none"
        if shape.stem == "imagenet":
            self.conv1 = nn.Conv2d(shape.channels, first, 7, 2, 3, bias=bias)
        else:
            self.conv1 = nn.Conv2d(shape.channels, first, 3, 1, 1, bias=bias)
        width_in = first
        stages = []
        for stage, count in enumerate(shape.blocks):
            inner, width = shape.inner[stage], shape.widths[stage]
            stride = 1 if stage == 0 else 2
            head = _Block(width_in, inner, width, stride, shape.norm)
            rest = [_Block(width, inner, width, 1, shape.norm) for _ in range(count - 1)]
            stages.append(nn.Sequential(head, *rest))
            width_in = width
        self.layers = nn.Sequential(*stages)
        self.norm = _norm(width_in, shape.norm)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if shape.norm == "none":  # ours, after Fixup: nothing else keeps deep sums from growing
            for module in self.modules():
                if isinstance(module, _Block):
                    nn.init.zeros_(module.conv3.weight)

    def forward(self, grids: Float[Tensor, "b c y x"]) -> Float[Tensor, "b f r k"]:
        """One vector for each patch of a mosaic; not normalised."""
        patches = apart(grids, self.shape.patch)
        b, rows, columns = patches.shape[:3]
        x = self.conv1(patches.flatten(0, 2))
        if self.shape.stem == "imagenet":
            x = F.max_pool2d(x, 3, 2, 1)
        x = F.relu(self.norm(self.layers(x))).mean((2, 3))
        return x.view(b, rows, columns, -1).permute(0, 3, 1, 2)


class _Block(nn.Module):
    """Norm and ReLU before each of 1x1, 3x3 and 1x1 convolutions; the sum stays as it is."""

    def __init__(
        self, width_in: int, inner: int, width: int, stride: int, norm: Literal["none", "layer"]
    ) -> None:
        super().__init__()
        bias = norm == "none"
        self.norm1 = _norm(width_in, norm)
        self.conv1 = nn.Conv2d(width_in, inner, 1, bias=bias)
        self.norm2 = _norm(inner, norm)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=bias)
        self.norm3 = _norm(inner, norm)
        self.conv3 = nn.Conv2d(inner, width, 1, bias=bias)
        changes = stride > 1 or width_in != width
        self.shortcut = nn.Conv2d(width_in, width, 1, stride, bias=bias) if changes else None

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h2 w2"]:
        ready = F.relu(self.norm1(x))
        y = F.relu(self.norm2(self.conv1(ready)))
        y = self.conv3(F.relu(self.norm3(self.conv2(y))))
        total: Tensor = y + (x if self.shortcut is None else self.shortcut(ready))
        return total


def _norm(channels: int, kind: Literal["none", "layer"]) -> nn.Module:
    return nn.GroupNorm(1, channels) if kind == "layer" else nn.Identity()
