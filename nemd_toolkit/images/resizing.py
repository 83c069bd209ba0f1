"""Bringing images to one size without distorting them, as torchvision's evaluations do."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional

__all__ = ["Sizing", "resize_and_crop", "resized_part"]

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_LONGEST = 8  # sides of a picture that is scaled as a whole, one by the other


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """How images come to one size: scaled until `cover` is just covered, then the centre of `size`.

    >>> Sizing(size=(224, 224), cover=(256, 256)).places((375, 500))
    ((256, 341), (16, 58))
    """

    size: tuple[int, int]  # height, width
    cover: tuple[int, int] | None = None  # at least `size`; None: `size`
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    squeezed: bool = False  # the whole to `size`, whatever its shape

    def places(self, shape: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Height and width of a whole image when scaled, top and left of the part that is cut out.

        The longer side is rounded down and the part's corner to even, as in torchvision's Resize
        and CenterCrop.
        """
        if self.squeezed:
            return self.size, (0, 0)
        (h, w), (height, width) = shape, self.cover or self.size
        if height * w >= width * h:
            scaled = (height, max(width, height * w // h))
        else:
            scaled = (max(height, width * h // w), width)
        top, left = (round((s - part) / 2) for s, part in zip(scaled, self.size, strict=True))
        return scaled, (top, left)


def resize_and_crop(
    images: Float[Tensor, "b c h w"], size: tuple[int, int] | Sizing
) -> Float[Tensor, "b c height width"]:
    """Scale pixels in [0, 1] until `size` (height, width) is just covered, then cut out the centre.

    Bilinear, with antialiasing; bicubic, where a `Sizing` says so, is Pillow's on bytes, to which
    pixels are rounded: it cuts overshoot off between rows and columns. Images that have this size
    already come back untouched.

    >>> resize_and_crop(torch.rand(1, 3, 20, 40), (8, 8)).shape
    torch.Size([1, 3, 8, 8])
    """
    sizing = size if isinstance(size, Sizing) else Sizing(size=size)
    shape = (images.shape[2], images.shape[3])
    scaled, (top, left) = sizing.places(shape)
    if scaled == shape:
        large = images
    elif sizing.interpolation == "bicubic":
        return _through_pillow(images, sizing)
    else:
        large = functional.interpolate(
            images, size=scaled, mode="bilinear", antialias=True, align_corners=False
        ).clamp(0.0, 1.0)
    height, width = sizing.size
    part: Tensor = large[..., top : top + height, left : left + width]
    return part


def resized_part(picture: Image.Image, sizing: Sizing) -> Image.Image:
    """Scale a picture and cut out its centre: to the byte what torchvision's transforms give.

    >>> resized_part(Image.new("L", (40, 20)), Sizing(size=(8, 6))).size
    (6, 8)
    """
    shape = (picture.height, picture.width)
    scaled, (top, left) = sizing.places(shape)
    height, width = sizing.size
    resample = _FILTERS[sizing.interpolation]
    if (
        max(scaled) > _LONGEST * min(scaled) and not sizing.squeezed
    ):  # the whole, scaled, could fill the memory
        down, across = picture.height / scaled[0], picture.width / scaled[1]
        box = (left * across, top * down, (left + width) * across, (top + height) * down)
        return picture.resize((width, height), resample, box=box)
    whole = picture if scaled == shape else picture.resize(scaled[::-1], resample)
    return whole.crop((left, top, left + width, top + height))


def _through_pillow(images: Tensor, sizing: Sizing) -> Tensor:
    planes = (images * 255).round().clamp(0, 255).to(torch.uint8).flatten(0, 1).numpy()
    fitted = [np.asarray(resized_part(Image.fromarray(plane), sizing)) for plane in planes]
    pixels: Tensor = torch.from_numpy(np.stack(fitted)).float() / 255
    return pixels.reshape(*images.shape[:2], *sizing.size)
