"""AMDIM's encoder without padding, names and shapes of Philip-Bachman/amdim-public's model.py.

It gives one vector for the whole image and maps of 5x5 and 7x7 local ones, whose receptive fields
differ. Sizes 32, 64 and 128 are theirs; 8 and 28 are ours, with the same layers from the 7x7 on.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nemd_toolkit.errors import InputError

__all__ = ["LOCAL", "AmdimNetwork"]

LOCAL = (5, 7)  # sides of the maps of local vectors


class AmdimNetwork(nn.Module):
    """A global vector, 25 and 49 local ones of each image, in this order.

    Raises InputError for images of a size that it has no layers for.

    >>> net = AmdimNetwork(8, channels=1, width=4, dim=16, depth=1)
    >>> net(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 16, 75])
    """

    def __init__(
        self, side: int, *, channels: int, width: int, dim: int, depth: int, norm: bool = False
    ) -> None:
        super().__init__()
        if side not in _STEMS:
            raise InputError(
                f"AMDIM: expected images of {', '.join(map(str, _STEMS))} pixels, got {side}; "
                "resize them, for instance with --set image_size=32"
            )
        stem = _STEMS[side](channels, width, depth, norm)
        wide = stem[-1].width  # of the 7x7 map
        if dim < wide:
            raise InputError(
                f"embedding_dim: expected at least {wide}, the width of the 7x7 map, got {dim}; "
                "raise it or lower encoder_width"
            )
        self.layer_list = nn.ModuleList(
            [
                *stem,
                _Norm(wide, used=norm),
                _Block(wide, wide, 3, 1, depth, norm),
                _Block(wide, wide, 3, 1, depth, norm),
                _Residual(wide, dim, 3, 1, norm),
                _Norm(dim, used=True),
            ]
        )
        self.rkhs_block_5 = _Local(wide, dim, norm)
        self.rkhs_block_7 = _Local(wide, dim, norm)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d 75"]:
        """Vectors of the whole image, of the 5x5 places and of the 7x7 places, not normalised."""
        x, maps = images, {}
        for layer in self.layer_list:
            x = layer(x)
            maps[x.shape[2]] = x  # the last of each side counts
        found = (x, self.rkhs_block_5(maps[5]), self.rkhs_block_7(maps[7]))
        return torch.cat([part.flatten(2) for part in found], dim=2)


class _Stem(nn.Module):
    """A convolution with bias, and ReLU; the image's border is mirrored where it is padded."""

    def __init__(self, inputs: int, width: int, kernel: int, stride: int, padding: int = 0) -> None:
        super().__init__()
        self.padding = padding
        self.width = width
        self.conv = nn.Conv2d(inputs, width, kernel, stride)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        if self.padding:
            x = F.pad(x, (self.padding,) * 4, mode="reflect")
        return F.relu(self.conv(x))


class _Residual(nn.Module):
    """Two convolutions beside an average pooling, which zeros fill up to the same channels."""

    def __init__(self, inputs: int, width: int, kernel: int, stride: int, norm: bool) -> None:
        super().__init__()
        self.kernel, self.stride, self.width = kernel, stride, width
        self.added = width - inputs
        self.conv1 = nn.Conv2d(inputs, width, kernel, stride, bias=False)
        self.conv2 = nn.Conv2d(width, width, 1, bias=False)
        self.bn1 = _Norm(width, used=norm)
        nn.init.zeros_(self.conv2.weight)  # the authors' init_weights, as Fixup

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        pooled = F.avg_pool2d(x, self.kernel, self.stride)
        y: Tensor = self.conv2(F.relu(self.bn1(self.conv1(x))))
        return y + F.pad(pooled, (0, 0, 0, 0, 0, self.added))


class _Block(nn.Module):
    """A residual layer that may see neighbours, and others that see single places."""

    def __init__(
        self, inputs: int, width: int, kernel: int, stride: int, depth: int, norm: bool
    ) -> None:
        super().__init__()
        self.width = width
        first = _Residual(inputs, width, kernel, stride, norm)
        rest = [_Residual(width, width, 1, 1, norm) for _ in range(depth - 1)]
        self.layer_list = nn.Sequential(first, *rest)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        y: Tensor = self.layer_list(x)
        return y


class _Local(nn.Module):
    """From a map to the space in which vectors of all scales are compared, place by place."""

    def __init__(self, inputs: int, dim: int, norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, dim, 1, bias=False)
        self.conv2 = nn.Conv2d(dim, dim, 1, bias=False)
        self.bn_hid = _Norm(dim, used=norm)
        self.bn_out = _Norm(dim, used=True)
        self.shortcut = nn.Conv2d(inputs, dim, 1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.uniform_(self.shortcut.weight, -0.01, 0.01)  # near the identity, as the authors'
        with torch.no_grad():
            diagonal = torch.eye(dim, inputs, dtype=torch.bool)[..., None, None]
            self.shortcut.weight.masked_fill_(diagonal, 1.0)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h w"]:
        y = self.conv2(F.relu(self.bn_hid(self.conv1(x))))
        out: Tensor = self.bn_out(y + self.shortcut(x))
        return out


class _Norm(nn.Module):
    """A batch norm that the authors' files hold even where their encoder goes around it."""

    def __init__(self, channels: int, *, used: bool) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels).requires_grad_(used)
        self.used = used

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        y: Tensor = self.bn(x) if self.used else x
        return y


Layers = list[_Stem | _Residual | _Block]


def _stem_8(channels: int, width: int, depth: int, norm: bool) -> Layers:
    """Without strides: 8 → 7."""
    return [_Stem(channels, width, 2, 1), _Block(width, width * 4, 1, 1, depth, norm)]


def _stem_32(channels: int, width: int, depth: int, norm: bool, padding: int = 0) -> Layers:
    """32 → 30 → 14 → 7; from 28 with 2 more at each border."""
    return [
        _Stem(channels, width, 3, 1, padding),
        _Residual(width, width, 1, 1, norm),
        _Block(width, width * 2, 4, 2, depth, norm),
        _Block(width * 2, width * 4, 2, 2, depth, norm),
    ]


def _stem_28(channels: int, width: int, depth: int, norm: bool) -> Layers:
    return _stem_32(channels, width, depth, norm, padding=2)


def _stem_64(channels: int, width: int, depth: int, norm: bool) -> Layers:
    """64 → 62 → 30 → 14 → 7."""
    return [_Stem(channels, width, 3, 1), *_halvings(width, depth, norm)]


def _stem_128(channels: int, width: int, depth: int, norm: bool) -> Layers:
    """128 → 64 → 62 → 30 → 14 → 7."""
    first = _Stem(channels, width, 5, 2, padding=2)
    return [first, _Stem(width, width, 3, 1), *_halvings(width, depth, norm)]


def _halvings(width: int, depth: int, norm: bool) -> Layers:
    return [
        _Block(width, width * 2, 4, 2, depth, norm),
        _Block(width * 2, width * 4, 4, 2, depth, norm),
        _Block(width * 4, width * 8, 2, 2, depth, norm),
    ]


_STEMS: dict[int, Callable[[int, int, int, bool], Layers]] = {
    8: _stem_8,
    28: _stem_28,
    32: _stem_32,
    64: _stem_64,
    128: _stem_128,
}
