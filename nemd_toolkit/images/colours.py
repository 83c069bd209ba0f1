"""From RGB to the colour spaces that encoders were trained on, as scikit-image converts."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["to_space"]

# linear sRGB to XYZ, and the white of D65 at two degrees: IEC 61966-2-1, CIE 15
_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
_WHITE = (0.95047, 1.0, 1.08883)
# ITU-R BT.601 for bytes; SECAM
_YCBCR = ((65.481, 128.553, 24.966), (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))
_YCBCR_ZERO = (16.0, 128.0, 128.0)
_YDBDR = ((0.299, 0.587, 0.114), (-0.45, -0.883, 1.333), (-1.333, 1.116, 0.217))


def to_space(pixels: Float[Tensor, "b c h w"], space: str) -> Float[Tensor, "b c h w"]:
    """Pixels of RGB in [0, 1] in another space: lab (CIE, D65), ycbcr (of bytes), ydbdr; or rgb.

    >>> [round(float(value), 2) for value in to_space(torch.ones(1, 3, 1, 1), "lab").flatten()]
    [100.0, -0.0, 0.0]
    """
    if space == "lab":
        return _lab(pixels)
    if space == "ycbcr":
        zero = torch.tensor(_YCBCR_ZERO).view(1, 3, 1, 1)
        return _mixed(pixels, _YCBCR) + zero
    return _mixed(pixels, _YDBDR) if space == "ydbdr" else pixels


def _mixed(pixels: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.einsum("ij,bjhw->bihw", torch.tensor(matrix, dtype=pixels.dtype), pixels)


def _lab(pixels: Tensor) -> Tensor:
    linear = torch.where(pixels > 0.04045, ((pixels + 0.055) / 1.055) ** 2.4, pixels / 12.92)
    part = _mixed(linear, _XYZ) / torch.tensor(_WHITE, dtype=pixels.dtype).view(1, 3, 1, 1)
    f = torch.where(part > 0.008856, part.clamp_min(0) ** (1 / 3), 7.787 * part + 16 / 116)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)
