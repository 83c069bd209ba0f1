"""Random views of a batch of images, on tensors, each image with its own draw.

Images are (b, c, h, w) in [0, 1] and stay so. All randomness comes from `Draws`, made on the CPU
for the whole batch, whichever part of it this process looks at: the same seed gives the same views,
whatever the device and the number of processes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nemd_toolkit.errors import InputError
from pauc_train import colour
from pauc_train.geometry import Window, first_that_fits, sample

__all__ = ["VIEWS", "Draws", "Views", "random_view"]

_TRIES = 10  # torchvision's RandomResizedCrop
_SIGMA = (0.1, 2.0)  # pixels, of the Gaussian blur: SimCLR, and all that took its views

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

    def rows(self, probability: float) -> Int[Tensor, " n"]:
        """Numbers, in the share, of the images that something happens to."""
        drawn = torch.rand(self.count, generator=self.generator)[self.share]
        return (drawn < probability).nonzero()[:, 0].to(self.device)

    def orders(self, things: int, probability: float) -> list[list[Int[Tensor, " n"]]]:
        """Put things in a random order for each of the images that something happens to.

        One list for each place in the order: of each thing, the numbers, in the share, of the
        images that have it there.
        """
        touched = torch.ones(self.count, dtype=torch.bool)
        order = torch.zeros(self.count, things)
        if probability < 1:
            touched = torch.rand(self.count, generator=self.generator) < probability
        if things > 1:
            order = torch.rand(self.count, things, generator=self.generator)
        order = torch.where(touched[:, None], order.argsort(1), things)[self.share]
        return [
            [(place == thing).nonzero()[:, 0].to(self.device) for thing in range(things)]
            for place in order.unbind(1)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """How strongly to change images; the defaults change nothing."""

    rotation: float = 0.0  # greatest angle, in degrees
    quarters: bool = False  # turned by 0, 90, 180 or 270 degrees as well
    area: tuple[float, float] = (1.0, 1.0)  # least and greatest part of the area that is seen
    stretch: float = 1.0  # greatest ratio of sides, in either direction
    shift: float = 0.0  # greatest shift, as part of the side
    inside: bool = False  # keep the window inside the image: a random resized crop
    side: float = 1.0  # of the view, as part of the image's
    flip: float = 0.0  # probability of a left-right flip
    brightness: float = 0.0  # factor in 1 ± brightness
    contrast: float = 0.0  # factor in 1 ± contrast, about the image's mean grey
    saturation: float = 0.0  # factor in 1 ± saturation, about grey; colour images only
    hue: float = 0.0  # turn of ± hue, as part of the circle; colour images only
    jitter: float = 1.0  # probability of the last four, which come in random order
    grey: float = 0.0  # probability of losing all colour; colour images only
    grey_first: bool = False  # before the jitter, not after it
    blur: float = 0.0  # probability of a Gaussian blur
    solarise: float = 0.0  # probability that bright pixels are inverted
    noise: float = 0.0  # standard deviation
    erase: float = 0.0  # probability of a rectangle set to 0
    erase_area: tuple[float, float] = (0.02, 0.2)  # part of the area erased


_CROP = Views(area=(0.08, 1.0), stretch=4 / 3, inside=True, flip=0.5)  # torchvision's areas
_SIMCLR = replace(
    _CROP, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, jitter=0.8, grey=0.2, blur=0.5
)
_BYOL = replace(_CROP, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, jitter=0.8, grey=0.2)
# strong: clothes differ most in light. Probe of four epochs .850, .844 at 0.4, .831 without it
_CLOTHES = replace(_CROP, area=(0.3, 1.0), brightness=0.8, contrast=0.8)
_DIGITS = Views(
    rotation=15.0,
    area=(0.7, 1.3),
    stretch=1.2,
    shift=0.1,
    brightness=0.2,
    noise=0.05,
    erase=0.25,
)

# Photographs' views are those of the papers, with bilinear sampling throughout: SimCLR and BYOL
# crop with bicubic. Grey images have what is left without saturation, hue and grey.
VIEWS: dict[str, Views] = {
    "none": Views(),  # the image itself, twice: what training without augmentation gives
    "digits": _DIGITS,  # ours: strokes change their meaning when flipped
    "digits-small": replace(_DIGITS, area=(0.3, 0.6), shift=0.25, side=0.5),  # ours
    "clothes": _CLOTHES,  # ours: clothes keep theirs
    "clothes-small": replace(_CLOTHES, area=(0.1, 0.3), side=0.5),  # ours
    "photos": replace(  # MoCo v2, PCL v2, SimSiam
        _CROP,
        area=(0.2, 1.0),
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.1,
        jitter=0.8,
        grey=0.2,
        blur=0.5,
    ),
    "photos-v1": replace(  # MoCo v1, PCL v1, NPID
        _CROP,
        area=(0.2, 1.0),
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.4,
        grey=0.2,
        grey_first=True,
    ),
    "cmc": replace(_CROP, area=(0.2, 1.0)),  # crop and flip alone
    "jigsaw": replace(_CROP, area=(0.6, 1.0)),  # PIRL, InfoMin: what patches are cut from
    "simclr": _SIMCLR,  # s = 1
    "byol-first": replace(_BYOL, blur=1.0),
    "byol-second": replace(_BYOL, blur=0.1, solarise=0.2),
    "vicreg": replace(_BYOL, blur=0.5, solarise=0.1),  # BYOL's two in one
    # LooC's: what all views do, and augmentations with a space of their own
    "crop": replace(_CROP, area=(0.2, 1.0), blur=0.5),
    "quarter-turns": Views(quarters=True),
    "colour": Views(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, jitter=0.8, grey=0.2),
    "digits-crop": replace(_DIGITS, rotation=0.0, brightness=0.0),  # ours, as the next two
    "turns": Views(rotation=30.0),
    "light": Views(brightness=0.4, contrast=0.4),
    "pic-large": replace(_SIMCLR, area=(0.14, 1.0), side=160 / 224),
    "pic-small": replace(_SIMCLR, area=(0.08, 0.14), side=96 / 224),
    "swav-large": replace(_SIMCLR, area=(0.14, 1.0)),
    "swav-small": replace(_SIMCLR, area=(0.05, 0.14), side=96 / 224),
}


def random_view(
    images: Float[Tensor, "b c h w"], views: Views, draws: Draws
) -> Float[Tensor, "b c h2 w2"]:
    """One random view of every image, in [0, 1], `views.side` as high and wide.

    Raises InputError for images outside [0, 1].

    >>> images = torch.rand(2, 1, 4, 4)
    >>> torch.equal(random_view(images, Views(), Draws(torch.Generator(), 2)), images)
    True
    """
    if len(images) and not 0 <= float(images.min()) <= float(images.max()) <= 1:
        raise InputError("views: expected pixels in [0, 1]; divide by the greatest possible value")
    images = _geometry(images, views, draws)
    if views.grey_first:
        images = _grey(images, views, draws)
    images = _jitter(images, views, draws)
    if not views.grey_first:
        images = _grey(images, views, draws)
    if views.blur > 0:
        rows = draws.rows(views.blur)
        sigma = draws.uniform(*_SIGMA)[rows]
        images = images.index_copy(0, rows, colour.blur(images[rows], sigma))
    if views.solarise > 0:
        rows = draws.rows(views.solarise)
        images = images.index_copy(0, rows, colour.solarise(images[rows]))
    if views.noise > 0:
        images = images + views.noise * draws.normal(*images.shape[1:])
    if views.erase > 0:
        images = _erase(images, views, draws)
    return images.clamp(0, 1)


def _geometry(images: Tensor, views: Views, draws: Draws) -> Tensor:
    """Show each image through a random window; outside the image is 0."""
    if not _moves(views):
        return images
    angle = draws.uniform(-views.rotation, views.rotation) * (math.pi / 180)
    if views.quarters:
        angle = angle + draws.uniform(0, 4).floor() * (math.pi / 2)
    tries = (_TRIES,) if views.inside else ()
    area = draws.uniform(*views.area, *tries)
    log_ratio = draws.uniform(-math.log(views.stretch), math.log(views.stretch), *tries)
    width = (area * log_ratio.exp()).sqrt()
    height = (area / log_ratio.exp()).sqrt()
    if views.inside:
        width, height = first_that_fits(width, height)
        reach_x, reach_y = 1.0 - width, 1.0 - height
    else:  # the coordinates -1…1 span two sides' halves
        reach_x = reach_y = torch.full_like(width, 2.0 * views.shift)
    window = Window(
        width=width,
        height=height,
        x=draws.uniform(-1.0, 1.0) * reach_x,
        y=draws.uniform(-1.0, 1.0) * reach_y,
        angle=angle,
        mirror=1.0 - 2.0 * draws.chance(views.flip).float(),
    )
    size = (_shrunk(images.shape[2], views.side), _shrunk(images.shape[3], views.side))
    return sample(images, window, size, edge=views.inside)


def _shrunk(side: int, part: float) -> int:
    return max(1, round(part * side))


def _moves(views: Views) -> bool:
    still = views.area == (1.0, 1.0) and views.stretch == 1.0 and views.side == 1.0
    still = still and not views.quarters
    return not (still and views.rotation == 0 and views.shift == 0 and views.flip == 0)


def _jitter(images: Tensor, views: Views, draws: Draws) -> Tensor:
    """Brightness, contrast, saturation and hue of some images, in random order."""
    changes: list[tuple[Callable[[Tensor, Tensor], Tensor], Tensor]] = [
        (change, draws.uniform(middle - reach, middle + reach))
        for change, middle, reach, coloured in (
            (colour.brightness, 1.0, views.brightness, False),
            (colour.contrast, 1.0, views.contrast, False),
            (colour.saturation, 1.0, views.saturation, True),
            (colour.hue, 0.0, views.hue, True),
        )
        if reach > 0 and (images.shape[1] == 3 or not coloured)
    ]
    if not changes:
        return images
    images = images.clone()
    for place in draws.orders(len(changes), views.jitter):
        for (change, amount), rows in zip(changes, place, strict=True):
            images[rows] = change(images[rows], amount[rows])
    return images


def _grey(images: Tensor, views: Views, draws: Draws) -> Tensor:
    """Take the colour out of some images."""
    if views.grey == 0 or images.shape[1] != 3:
        return images
    rows = draws.rows(views.grey)
    lost = colour.grey(images[rows]).expand(-1, 3, -1, -1)
    return images.index_copy(0, rows, lost)


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
