"""From pixels in [0, 1] to what an encoder sees: the evaluation transform of its training."""

from collections.abc import Callable

import torch
from torch import Tensor

from nemd_toolkit.checkpoints import ImageInfo
from nemd_toolkit.images import Sizing, resize_and_crop, to_space

__all__ = ["Transform", "describe_transform", "layout_sizing", "layout_transform"]

Transform = Callable[[Tensor], Tensor]
_SPACES = {"lab": "CIE Lab (D65)", "ycbcr": "YCbCr", "ydbdr": "YDbDr"}
_FILTERS = {"bilinear": "bilinear, antialiased", "bicubic": "bicubic, as Pillow does on bytes"}


def layout_transform(info: ImageInfo, *, sized: bool = False) -> Transform:
    """Give the function from pixels (b, c, h, w) in [0, 1] to what the encoder was evaluated with.

    With `sized`, images were opened with `layout_sizing` and keep their size.

    >>> info = ImageInfo(channels=1, size=None, mean=(0.5,), std=(0.25,))
    >>> layout_transform(info)(torch.ones(1, 1, 1, 1)).item()
    2.0
    """
    mean = torch.tensor(info.mean).view(1, info.channels, 1, 1)
    std = torch.tensor(info.std).view(1, info.channels, 1, 1)
    wanted = None if sized else layout_sizing(info)

    def adapt(pixels: Tensor) -> Tensor:
        pixels = pixels if wanted is None else resize_and_crop(pixels, wanted)
        return (to_space(pixels, info.space) - mean) / std

    return adapt


def layout_sizing(info: ImageInfo) -> Sizing | None:
    """How images come to the encoder's size; None if it takes any.

    >>> info = ImageInfo(channels=1, size=(224, 224), mean=(0.,), std=(1.,), resize=256)
    >>> layout_sizing(info).cover
    (256, 256)
    """
    if info.size is None:
        return None
    shorter = min(info.size)
    resize = shorter if info.resize is None else info.resize
    height, width = (max(side, round(side * resize / shorter)) for side in info.size)
    return Sizing(
        size=info.size,
        cover=(height, width),
        interpolation=info.interpolation,
        squeezed=info.squeezed,
    )


def describe_transform(info: ImageInfo) -> str:
    """Say in a sentence what `layout_transform` does, for a report.

    >>> describe_transform(ImageInfo(channels=1, size=(28, 28), mean=(0.286,), std=(0.353,)))
    'images scaled to cover 28x28 (bilinear, antialiased), centre-cropped, less mean 0.286 over \
std 0.353'
    """
    sizing = layout_sizing(info)
    if sizing is None:
        sized = "images in their own size"
    elif sizing.squeezed:
        height, width = sizing.size
        sized = f"images squeezed to {height}x{width} ({_FILTERS[info.interpolation]})"
    else:
        (height, width), (down, across) = sizing.size, sizing.cover or sizing.size
        cut = "" if (height, width) == (down, across) else f" to {height}x{width}"
        sized = (
            f"images scaled to cover {down}x{across} ({_FILTERS[info.interpolation]}), "
            f"centre-cropped{cut}"
        )
    mean, std = (", ".join(f"{number:.4g}" for number in part) for part in (info.mean, info.std))
    space = "" if info.space == "rgb" else f" in {_SPACES[info.space]},"
    usual = "" if info.normalised else " (the usual ones; nothing in the checkpoint tells)"
    return f"{sized},{space} less mean {mean} over std {std}{usual}"
