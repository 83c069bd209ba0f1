"""Bringing images to one size without distorting them."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

__all__ = ["resize_and_crop"]


def resize_and_crop(
    images: Float[Tensor, "b c h w"], size: tuple[int, int]
) -> Float[Tensor, "b c height width"]:
    """Scale until `size` (height, width) is just covered, then cut out the centre.

    Bilinear with antialiasing; images that have this size already come back untouched.

    >>> import torch
    >>> resize_and_crop(torch.rand(1, 3, 20, 40), (8, 8)).shape
    torch.Size([1, 3, 8, 8])
    """
    height, width = size
    h, w = images.shape[-2:]
    if (h, w) == size:
        return images
    scale = max(height / h, width / w)
    # rounding may fall one pixel short of the wanted size
    scaled = (max(height, round(h * scale)), max(width, round(w * scale)))
    large = functional.interpolate(
        images, size=scaled, mode="bilinear", antialias=True, align_corners=False
    )
    top, left = (scaled[0] - height) // 2, (scaled[1] - width) // 2
    part: Tensor = large[..., top : top + height, left : left + width]
    return part.clamp(0.0, 1.0)
