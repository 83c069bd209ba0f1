"""Colour conversions in double precision, as scikit-image documents them, on arrays (…, 3)."""

import numpy as np


def rgb2lab(rgb):
    """CIE Lab of D65 at two degrees, from sRGB in [0, 1]."""
    linear = np.where(rgb > 0.04045, np.power((rgb + 0.055) / 1.055, 2.4), rgb / 12.92)
    red, green, blue = np.moveaxis(linear, -1, 0)
    x = (0.412453 * red + 0.357580 * green + 0.180423 * blue) / 0.95047
    y = 0.212671 * red + 0.715160 * green + 0.072169 * blue
    z = (0.019334 * red + 0.119193 * green + 0.950227 * blue) / 1.08883

    def f(t):
        return np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)

    return np.stack([116 * f(y) - 16, 500 * (f(x) - f(y)), 200 * (f(y) - f(z))], -1)


def rgb2ycbcr(rgb):
    """ITU-R BT.601 for bytes: luma in 16…235, chroma in 16…240."""
    red, green, blue = np.moveaxis(rgb, -1, 0)
    y = 65.481 * red + 128.553 * green + 24.966 * blue
    cb = 112 * (blue - (0.299 * red + 0.587 * green + 0.114 * blue)) / (1 - 0.114)
    cr = 112 * (red - (0.299 * red + 0.587 * green + 0.114 * blue)) / (1 - 0.299)
    return np.stack([16 + y, 128 + cb, 128 + cr], -1)
