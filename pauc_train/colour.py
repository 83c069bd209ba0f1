"""Changes of colour of a batch of images, each image by its own amount.

Images are (n, c, h, w) in [0, 1] and stay so; what is about colour needs c = 3. The formulas are
those of Pillow and torchvision without their rounding to 8 bits.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

__all__ = ["blur", "brightness", "contrast", "grey", "hue", "lab", "saturation", "solarise"]

_XYZ = (  # of linear sRGB, over the white of D65 (IEC 61966-2-1)
    (0.412453 / 0.95047, 0.357580 / 0.95047, 0.180423 / 0.95047),
    (0.212671, 0.715160, 0.072169),
    (0.019334 / 1.08883, 0.119193 / 1.08883, 0.950227 / 1.08883),
)
_GREY = (0.299, 0.587, 0.114)  # luma of ITU-R BT.601, as Pillow converts to grey


def grey(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 h w"]:
    """Brightness as the eye sees it; of images of one channel that channel.

    >>> grey(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)).item()
    0.299
    """
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    red, green, blue = images.unbind(1)
    return (_GREY[0] * red + _GREY[1] * green + _GREY[2] * blue)[:, None]


def brightness(
    images: Float[Tensor, "n c h w"], factor: Float[Tensor, " n"]
) -> Float[Tensor, "n c h w"]:
    """Pixels times the factor.

    >>> brightness(torch.full((1, 1, 1, 1), 0.5), torch.tensor([1.5])).item()
    0.75
    """
    return (images * factor.view(-1, 1, 1, 1)).clamp(0, 1)


def contrast(
    images: Float[Tensor, "n c h w"], factor: Float[Tensor, " n"]
) -> Float[Tensor, "n c h w"]:
    """Distances to the image's mean grey, times the factor.

    >>> contrast(torch.tensor([0.4, 0.6]).view(1, 1, 1, 2), torch.tensor([0.5])).flatten().tolist()
    [0.45, 0.55]
    """
    return _blend(images, grey(images).mean((2, 3), keepdim=True), factor)


def saturation(
    images: Float[Tensor, "n 3 h w"], factor: Float[Tensor, " n"]
) -> Float[Tensor, "n 3 h w"]:
    """Distances to each pixel's grey, times the factor; 0 leaves no colour.

    >>> red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    >>> saturation(red, torch.tensor([0.0])).flatten().tolist()
    [0.299, 0.299, 0.299]
    """
    return _blend(images, grey(images), factor)


def hue(images: Float[Tensor, "n 3 h w"], turn: Float[Tensor, " n"]) -> Float[Tensor, "n 3 h w"]:
    """Hue of HSV, turned by a part of the circle in [-0.5, 0.5]; value and saturation stay.

    >>> red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    >>> hue(red, torch.tensor([1 / 3])).flatten().round().tolist()
    [0.0, 1.0, 0.0]
    """
    red, green, blue = images.unbind(1)
    value = images.amax(1)
    chroma = value - images.amin(1)
    scale = torch.where(chroma > 0, chroma, 1.0).reciprocal()
    sixth = torch.where(
        value == red,
        (green - blue) * scale,
        torch.where(value == green, (blue - red) * scale + 2, (red - green) * scale + 4),
    )
    sixth = sixth + 6 * turn.view(-1, 1, 1)
    # how far each channel lies below the value, in parts of the chroma
    falls = [(2 - ((sixth + start) % 6 - 2).abs()).clamp(0, 1) for start in (5, 3, 1)]
    return torch.stack([value - chroma * fall for fall in falls], 1).clamp(0, 1)


def lab(images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """CIE L*a*b* of sRGB images: L in 0…100, a and b about 0, within ±110.

    >>> red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    >>> lab(red).flatten().tolist()
    [53.24, 80.09, 67.20]
    """
    linear = torch.where(images > 0.04045, ((images + 0.055) / 1.055).pow(2.4), images / 12.92)
    xyz = torch.einsum("oc,nchw->nohw", images.new_tensor(_XYZ), linear)
    cubed = torch.where(xyz > 0.008856, xyz.clamp_min(1e-6).pow(1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = cubed.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def blur(images: Float[Tensor, "n c h w"], sigma: Float[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
    """Gaussian blur by σ pixels; the window is a tenth of the side, edges are mirrored.

    SimCLR's window: 23 of 224 pixels, 9 of 96. Sides below 20 pixels have a window of one pixel,
    and stay as they are.

    >>> torch.equal(blur(torch.ones(1, 1, 8, 8), torch.ones(1)), torch.ones(1, 1, 8, 8))
    True
    """
    height, width = images.shape[2:]
    down, across = height // 20, width // 20
    if down == across == 0:
        return images
    padded = F.pad(images, (across, across, down, down), mode="reflect")
    rows, columns = _band(height, down, sigma), _band(width, across, sigma)
    # (n, 1, h, h+2r) @ (n, c, h+2r, w+2r) @ (n, 1, w+2r, w)
    return (rows[:, None] @ padded @ columns[:, None].mT).clamp(0, 1)


def solarise(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Pixels from one half on are inverted.

    >>> solarise(torch.tensor([0.2, 0.5, 0.9]).view(1, 1, 1, 3)).flatten().tolist()
    [0.2, 0.5, 0.1]
    """
    return torch.where(images >= 0.5, 1 - images, images)


def _blend(images: Tensor, base: Tensor, factor: Tensor) -> Tensor:
    return torch.lerp(base.expand_as(images), images, factor.view(-1, 1, 1, 1)).clamp(0, 1)


def _band(side: int, radius: int, sigma: Tensor) -> Float[Tensor, "n s t"]:
    """Weights of `side` + 2·`radius` mirrored pixels in each of `side` blurred ones."""
    offset = torch.arange(-radius, radius + 1, device=sigma.device)
    weight = (-0.5 * (offset / sigma[:, None]).square()).exp()  # (n, 2r+1)
    weight = weight / weight.sum(1, keepdim=True)
    band = weight.new_zeros(len(sigma), side, side + 2 * radius + 1)
    band[:, :, : 2 * radius + 1] = weight[:, None]
    # a row longer than the next one starts: each moves on by one pixel
    return band.flatten(1)[:, : side * (side + 2 * radius)].view(-1, side, side + 2 * radius)
