"""From pixels in [0, 1] to what an encoder sees: the evaluation transform of its training."""

from collections.abc import Callable

import torch
from torch import Tensor

from nemd_toolkit.checkpoints import ImageInfo
from nemd_toolkit.images import resize_and_crop

__all__ = ["Transform", "describe_transform", "layout_transform"]

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
        sized = pixels if info.size is None else resize_and_crop(pixels, info.size)
        return (sized - mean) / std

    return adapt


def describe_transform(info: ImageInfo) -> str:
    """Say in a sentence what `layout_transform` does, for a report.

    >>> describe_transform(ImageInfo(channels=1, size=(28, 28), mean=(0.286,), std=(0.353,)))
    'images scaled to cover 28x28 (bilinear, antialiased), centre-cropped, less mean 0.286 over \
std 0.353'
    """
    if info.size is None:
        sized = "images in their own size"
    else:
        height, width = info.size
        sized = f"images scaled to cover {height}x{width} (bilinear, antialiased), centre-cropped"
    mean, std = (", ".join(f"{number:.4g}" for number in part) for part in (info.mean, info.std))
    return f"{sized}, less mean {mean} over std {std}"
