"""Clouds as callers give them, checked and laid out for the kernels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from numpy.typing import ArrayLike
from torch import Tensor

from nemd_toolkit.errors import InputError
from nemd_toolkit.sphere import require_finite
from nemd_toolkit.transport.kernels.layout import add_up, move

__all__ = ["Packed", "as_cloud", "pack"]

_USUAL = 2.0**20  # coordinates up to this, and down to its inverse, are left as they are


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Clouds one after the other; cloud k is rows starts[k]:starts[k+1].

    points are the clouds times 2^−exponent (exact), of a size that float32 can square; `near` are
    the same less their common mean, in float32, and `squares` the squared norms of those.
    """

    points: Float64[np.ndarray, "N d"]
    near: Float32[np.ndarray, "N d"]
    squares: Float32[np.ndarray, " N"]
    starts: Int64[np.ndarray, " c"]
    exponent: int
    names: tuple[str, ...]  # for messages

    @property
    def sizes(self) -> Int64[np.ndarray, " k"]:
        """Points of each cloud."""
        return np.diff(self.starts)

    def cloud(self, k: int) -> Float64[np.ndarray, "n d"]:
        """Scaled points of cloud k."""
        return self.points[self.starts[k] : self.starts[k + 1]]

    def name(self, p: int, q: int) -> str:
        """Name the pair of clouds p and q in a message."""
        return f"{self.names[p]} and {self.names[q]}"


def as_cloud(points: ArrayLike | Tensor, name: str) -> Float[Tensor, "n d"]:
    """Give points as a finite float64 (n, d) tensor with n ≥ 1, or raise InputError."""
    cloud = points if isinstance(points, Tensor) else _as_tensor(points, name)
    if cloud.ndim != 2 or 0 in cloud.shape or cloud.is_complex():
        raise InputError(
            f"{name}: expected a real (n, d) array with n ≥ 1, got shape {tuple(cloud.shape)}; "
            "give one row per point"
        )
    cloud = cloud.detach().cpu().double()
    if not math.isfinite(_largest(cloud)):  # NaN is passed on by aminmax
        require_finite(cloud, name=name)
    return cloud


def _as_tensor(points: ArrayLike, name: str) -> Tensor:
    array = np.asarray(points)
    if array.dtype.kind not in "fiubc":
        raise InputError(f"{name}: expected numbers, got {array.dtype}; give an (n, d) array")
    if array.dtype.kind == "c":
        return torch.from_numpy(array.astype(np.complex128))
    # read-only, memory-mapped and reversed arrays are nothing for torch: those are copied
    return torch.from_numpy(np.require(array, np.float64, ["C", "W"]))


def pack(clouds: Sequence[Float[Tensor, "_ _"]], names: Sequence[str]) -> Packed:
    """Lay out clouds for the kernels: 12 bytes a coordinate and a little."""
    starts = np.cumsum([0, *(len(cloud) for cloud in clouds)], dtype=np.int64)
    points = np.empty((starts[-1], clouds[0].shape[1]))
    exponent = _exponent(max(_largest(cloud) for cloud in clouds), _USUAL)
    centre = np.zeros(points.shape[1])
    for cloud, own in zip(clouds, _spans(starts), strict=True):
        points[own] = cloud.numpy()
        if exponent:
            _scale(points[own], -exponent)
        add_up(points[own], centre)
    centre /= len(points)
    near, squares = _moved(points, centre)
    more = _exponent(math.sqrt(float(squares.max())), _USUAL**2)
    if more:  # all clouds close together
        _scale(points, -more)
        exponent += more
        near, squares = _moved(points, np.ldexp(centre, -more))
    return Packed(
        points=points,
        near=near,
        squares=squares,
        starts=starts,
        exponent=exponent,
        names=tuple(names),
    )


def _exponent(size: float, usual: float) -> int:
    """Exponent of the power of two to divide by; 0 where size is within 1/usual…usual."""
    return 0 if 1 / usual < size < usual else math.frexp(size)[1]


def _scale(points: Float64[np.ndarray, "n d"], exponent: int) -> None:
    """Multiply by 2^exponent, in place; in two steps, since one factor may be too large a number.

    As exact as ldexp, which is twenty times slower.
    """
    first = exponent // 2
    points *= 2.0**first
    points *= 2.0 ** (exponent - first)


def _largest(cloud: Float[Tensor, "n d"]) -> float:
    least, most = torch.aminmax(cloud)
    return max(abs(float(least)), abs(float(most)))


def _spans(starts: Int64[np.ndarray, " c"]) -> list[slice]:
    return [slice(a, b) for a, b in pairwise(starts.tolist())]


def _moved(
    points: Float64[np.ndarray, "N d"], centre: Float64[np.ndarray, " d"]
) -> tuple[Float32[np.ndarray, "N d"], Float32[np.ndarray, " N"]]:
    """Points less centre in float32, and their squared norms."""
    near, squares = np.empty(points.shape, np.float32), np.empty(len(points), np.float32)
    move(points, centre, near, squares)
    return near, squares
