"""From pixels in [0, 1] to what an encoder sees: the evaluation transform of its training."""

from collections.abc import Callable

import torch
from torch import Tensor

from nemd_toolkit.checkpoints import ImageInfo
from nemd_toolkit.images import resize_and_crop

__all__ = ["Transform", "describe_transform", "layout_transform", "size_to_open"]

Transform = Callable[[Tensor], Tensor]


def layout_transform(info: ImageInfo) -> Transform:
    """Give the function from pixels (b, c, h, w) in [0, 1] to what the encoder was evaluated with.

    >>> info = ImageInfo(channels=1, size=None, mean=(0.5,), std=(0.25,))
    >>> layout_transform(info)(torch.ones(1, 1, 1, 1)).item()
    2.0
    """
    mean = torch.tensor(info.mean).view(1, info.channels, 1, 1)
    std = torch.tensor(info.std).view(1, info.channels, 1, 1)

    def adapt(pixels: Tensor) -> Tensor:
        wanted = size_to_open(info)
        sized = pixels if wanted is None else resize_and_crop(pixels, wanted)
        return (_centre(sized, info) - mean) / std

    return adapt


def size_to_open(info: ImageInfo) -> tuple[int, int] | None:
    """Size that images are scaled to cover, before the centre of `info.size` is cut out of them.

    >>> size_to_open(ImageInfo(channels=1, size=(224, 224), mean=(0.,), std=(1.,), resize=256))
    (256, 256)
    """
    if info.size is None or info.resize is None:
        return info.size
    shorter = min(info.size)
    height, width = (max(side, round(side * info.resize / shorter)) for side in info.size)
    return height, width


def _centre(pixels: Tensor, info: ImageInfo) -> Tensor:
    if info.size is None:
        return pixels
    height, width = info.size
    top, left = (pixels.shape[2] - height) // 2, (pixels.shape[3] - width) // 2
    return pixels[..., top : top + height, left : left + width]


def describe_transform(info: ImageInfo) -> str:
    """Say in a sentence what `layout_transform` does, for a report.

    >>> describe_transform(ImageInfo(channels=1, size=(28, 28), mean=(0.286,), std=(0.353,)))
    'images scaled to cover 28x28 (bilinear, antialiased), centre-cropped, less mean 0.286 over \
std 0.353'
    """
    if info.size is None:
        sized = "images in their own size"
    else:
        (height, width), (scaled, across) = info.size, size_to_open(info) or info.size
        own = " where the method takes bicubic" if info.interpolation == "bicubic" else ""
        cut = "" if (height, width) == (scaled, across) else f" to {height}x{width}"
        sized = (
            f"images scaled to cover {scaled}x{across} (bilinear{own}, antialiased), "
            f"centre-cropped{cut}"
        )
    mean, std = (", ".join(f"{number:.4g}" for number in part) for part in (info.mean, info.std))
    usual = "" if info.normalised else " (the usual ones; nothing in the checkpoint tells)"
    return f"{sized}, less mean {mean} over std {std}{usual}"
