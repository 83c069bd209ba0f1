"""Windows of a batch of images: crops, turns, shifts, mirrors, each image its own."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

__all__ = ["Window", "first_that_fits", "sample"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """The part of each image that is seen. Sides and places are parts of the image's own."""

    width: Float[Tensor, " n"]
    height: Float[Tensor, " n"]
    x: Float[Tensor, " n"]  # of the middle: -1 and 1 are the image's edges
    y: Float[Tensor, " n"]
    angle: Float[Tensor, " n"]  # in radians
    mirror: Float[Tensor, " n"]  # -1: left and right change places; 1: they do not


def sample(
    images: Float[Tensor, "n c h w"], window: Window, size: tuple[int, int], *, edge: bool
) -> Float[Tensor, "n c h2 w2"]:
    """Give what the windows show, `size` pixels high and wide, by bilinear interpolation.

    edge: outside of the image its edge goes on; otherwise there is 0.
    """
    aspect = images.shape[2] / images.shape[3]  # rotation is in pixels, coordinates are not
    cos, sin = window.angle.cos(), window.angle.sin()
    width = window.mirror * window.width
    rows = [width * cos, -window.height * sin * aspect, window.x]
    rows += [width * sin / aspect, window.height * cos, window.y]
    shape = [len(images), images.shape[1], *size]
    grid = F.affine_grid(torch.stack(rows, dim=1).view(-1, 2, 3), shape, align_corners=False)
    outside = "border" if edge else "zeros"
    return F.grid_sample(images, grid, align_corners=False, padding_mode=outside)


def first_that_fits(
    width: Float[Tensor, "n t"], height: Float[Tensor, "n t"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Of each row's tries the first window inside the image; the whole image if there is none.

    As torchvision's RandomResizedCrop does for square images.

    >>> first_that_fits(torch.tensor([[1.2, 0.5]]), torch.tensor([[0.4, 0.7]]))
    (tensor([0.5000]), tensor([0.7000]))
    """
    fits = (width <= 1) & (height <= 1)
    first = fits.int().argmax(1, keepdim=True)  # 0 where there is none
    some = fits.any(1)
    chosen = (torch.where(some, side.gather(1, first)[:, 0], 1.0) for side in (width, height))
    return next(chosen), next(chosen)
