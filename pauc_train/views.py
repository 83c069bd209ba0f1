"""Random views of a batch of images, on tensors, each image with its own draw.

Images are (b, c, h, w) in [0, 1] and stay so. All randomness comes from `Draws`, made on the CPU
for the whole batch, whichever part of it this process looks at: the same seed gives the same views,
whatever the device and the number of processes.
"""

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from nemd_toolkit.errors import InputError

__all__ = ["VIEWS", "Draws", "Views", "random_view"]

_GREY = (0.299, 0.587, 0.114)  # luma of ITU-R BT.601, as Pillow converts to grey


_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Draws:
    """Random numbers, one draw for each image of a batch, of which a process takes its share.

    >>> whole = Draws(torch.Generator().manual_seed(0), 4)
    >>> part = Draws(torch.Generator().manual_seed(0), 4, slice(2, 4))
    >>> torch.equal(whole.uniform(0, 1)[2:], part.uniform(0, 1))
    True
    """

    generator: torch.Generator
    count: int  # images of the whole batch
    share: slice = field(default_factory=lambda: slice(None))
    device: torch.device = _CPU  # where numbers go; they are drawn on the CPU

    def uniform(self, low: int | float, high: int | float, *shape: int) -> Float[Tensor, "b ..."]:
        """Numbers between `low` and `high`, of the given shape for each image."""
        drawn = torch.rand(self.count, *shape, generator=self.generator)
        return (low + (high - low) * drawn)[self.share].to(self.device)

    def normal(self, *shape: int) -> Float[Tensor, "b ..."]:
        """Give standard normal numbers, of the given shape for each image."""
        drawn = torch.randn(self.count, *shape, generator=self.generator)
        return drawn[self.share].to(self.device)

    def chance(self, probability: float) -> Bool[Tensor, " b"]:
        """Whether something happens to an image."""
        return self.uniform(0.0, 1.0) < probability


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """How strongly to change images; the defaults change nothing."""

    rotation: float = 0.0  # greatest angle, in degrees
    area: tuple[float, float] = (1.0, 1.0)  # least and greatest part of the area that is seen
    stretch: float = 1.0  # greatest ratio of sides, in either direction
    shift: float = 0.0  # greatest shift, as part of the side
    inside: bool = False  # keep the window inside the image: a random resized crop
    flip: float = 0.0  # probability of a left-right flip
    brightness: float = 0.0  # factor in 1 ± brightness
    contrast: float = 0.0  # factor in 1 ± contrast, about the image's mean
    saturation: float = 0.0  # factor in 1 ± saturation, about grey; colour images only
    grey: float = 0.0  # probability of losing all colour; colour images only
    noise: float = 0.0  # standard deviation
    erase: float = 0.0  # probability of a rectangle set to 0
    erase_area: tuple[float, float] = (0.02, 0.2)  # part of the area erased


VIEWS: dict[str, Views] = {
    "none": Views(),  # the image itself, twice: what training without augmentation gives
    # ours: strokes change their meaning when flipped
    "digits": Views(
        rotation=15.0,
        area=(0.7, 1.3),
        stretch=1.2,
        shift=0.1,
        brightness=0.2,
        noise=0.05,
        erase=0.25,
    ),
    # ours: clothes keep theirs
    "clothes": Views(
        area=(0.3, 1.0), stretch=4 / 3, inside=True, flip=0.5, brightness=0.4, contrast=0.4
    ),
    # PCL-v2's crop, flip, grey and jitter; the jitter always (PCL-v2: p=.8), without hue and blur
    "photos": Views(
        area=(0.2, 1.0),
        stretch=4 / 3,
        inside=True,
        flip=0.5,
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        grey=0.2,
    ),
}


def random_view(
    images: Float[Tensor, "b c h w"], views: Views, draws: Draws
) -> Float[Tensor, "b c h w"]:
    """One random view of every image, of the same size, in [0, 1].

    Raises InputError for images outside [0, 1].

    >>> images = torch.rand(2, 1, 4, 4)
    >>> torch.equal(random_view(images, Views(), Draws(torch.Generator(), 2)), images)
    True
    """
    if len(images) and not 0 <= float(images.min()) <= float(images.max()) <= 1:
        raise InputError("views: expected pixels in [0, 1]; divide by the greatest possible value")
    images = _geometry(images, views, draws)
    images = _colour(images, views, draws)
    if views.noise > 0:
        images = images + views.noise * draws.normal(*images.shape[1:])
    if views.erase > 0:
        images = _erase(images, views, draws)
    return images.clamp(0, 1)


def _geometry(images: Tensor, views: Views, draws: Draws) -> Tensor:
    """Sample each image through a random affine window; outside the image is 0."""
    b = len(images)
    angle = draws.uniform(-views.rotation, views.rotation) * (math.pi / 180)
    area = draws.uniform(*views.area)
    log_ratio = draws.uniform(-math.log(views.stretch), math.log(views.stretch))
    width = (area * log_ratio.exp()).sqrt()
    height = (area / log_ratio.exp()).sqrt()
    if views.inside:
        width, height = width.clamp_max(1.0), height.clamp_max(1.0)
        reach_x, reach_y = 1.0 - width, 1.0 - height
    else:  # the coordinates -1…1 of affine_grid span two sides' halves
        reach_x = reach_y = torch.full_like(width, 2.0 * views.shift)
    x = draws.uniform(-1.0, 1.0) * reach_x
    y = draws.uniform(-1.0, 1.0) * reach_y
    mirror = 1.0 - 2.0 * draws.chance(views.flip).float()
    if not _moves(views):
        return images
    aspect = images.shape[2] / images.shape[3]  # rotation is in pixels, coordinates are not
    cos, sin = angle.cos(), angle.sin()
    rows = [mirror * width * cos, -height * sin * aspect, x]
    rows += [mirror * width * sin / aspect, height * cos, y]
    window = torch.stack(rows, dim=1).view(b, 2, 3)
    size = list(images.shape)
    grid = F.affine_grid(window, size, align_corners=False)
    return F.grid_sample(images, grid, align_corners=False, padding_mode="zeros")


def _moves(views: Views) -> bool:
    still = views.area == (1.0, 1.0) and views.stretch == 1.0
    return not (still and views.rotation == 0 and views.shift == 0 and views.flip == 0)


def _colour(images: Tensor, views: Views, draws: Draws) -> Tensor:
    b, c = images.shape[:2]
    if views.brightness > 0:
        factor = draws.uniform(1 - views.brightness, 1 + views.brightness)
        images = (images * factor.view(b, 1, 1, 1)).clamp(0, 1)
    if views.contrast > 0:
        factor = draws.uniform(1 - views.contrast, 1 + views.contrast)
        mean = images.mean((1, 2, 3), keepdim=True)
        images = (mean + factor.view(b, 1, 1, 1) * (images - mean)).clamp(0, 1)
    if c == 3 and (views.saturation > 0 or views.grey > 0):
        grey = (images * torch.tensor(_GREY, device=images.device).view(1, 3, 1, 1)).sum(
            1, keepdim=True
        )
        factor = draws.uniform(1 - views.saturation, 1 + views.saturation)
        lost = draws.chance(views.grey)
        factor = torch.where(lost, 0.0, factor)
        images = (grey + factor.view(b, 1, 1, 1) * (images - grey)).clamp(0, 1)
    return images


def _erase(images: Tensor, views: Views, draws: Draws) -> Tensor:
    """Set one rectangle of some images to 0; it may reach over the edge."""
    h, w = images.shape[2:]
    area = draws.uniform(*views.erase_area)
    ratio = draws.uniform(math.log(0.5), math.log(2.0)).exp()
    half_y = (area * ratio).sqrt() * h / 2
    half_x = (area / ratio).sqrt() * w / 2
    middle_y = draws.uniform(0.0, float(h))
    middle_x = draws.uniform(0.0, float(w))
    chosen = draws.chance(views.erase)
    y = torch.arange(h, device=images.device) + 0.5
    x = torch.arange(w, device=images.device) + 0.5
    in_rows = (y[None] - middle_y[:, None]).abs() < half_y[:, None]  # (b, h)
    in_columns = (x[None] - middle_x[:, None]).abs() < half_x[:, None]  # (b, w)
    hole = chosen[:, None, None] & in_rows[:, :, None] & in_columns[:, None, :]
    return images.masked_fill(hole[:, None], 0.0)
