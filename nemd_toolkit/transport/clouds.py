"""Clouds as callers give them, checked and laid out for the kernels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from numpy.typing import ArrayLike
from torch import Tensor

from nemd_toolkit.errors import InputError
from nemd_toolkit.sphere import require_finite

__all__ = ["Packed", "as_cloud", "pack"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Clouds one after the other; cloud k is rows starts[k]:starts[k+1].

    points are the clouds times 2^−exponent (exact), near in the order of 1; `near` are the same
    less their common mean, in float32, and `squares` the squared norms of those.
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
    points = torch.cat(list(clouds)).numpy()
    points, first = _scaled(points, float(np.abs(points).max()))
    near = points - points.mean(axis=0)
    longest = math.sqrt(float(np.square(near).sum(axis=1).max()))
    points, second = _scaled(points, longest)
    near = np.ldexp(near, -second).astype(np.float32)
    return Packed(
        points=points,
        near=near,
        squares=np.square(near, dtype=np.float64).sum(axis=1).astype(np.float32),
        starts=np.cumsum([0, *(len(cloud) for cloud in clouds)], dtype=np.int64),
        exponent=first + second,
        names=tuple(names),
    )


def _scaled(
    points: Float64[np.ndarray, "N d"], size: float
) -> tuple[Float64[np.ndarray, "N d"], int]:
    """Points times the power of two that brings `size` into ½…1, and that power's exponent."""
    exponent = math.frexp(size)[1]
    return np.ldexp(points, -exponent), exponent
