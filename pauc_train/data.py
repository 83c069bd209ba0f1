"""Batches over images: order, views, pixel statistics, and a pass in the plain view."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nemd_toolkit.images import Images, open_images
from pauc_train.method import Batch
from pauc_train.views import Views, random_view

__all__ = ["Pixels", "apply", "batches", "open_split", "pixels_of"]

_PASS = 512  # images per step of a pass without gradient
_STATISTICS = 10_000  # images that suffice for a mean and a deviation to three digits (ours)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """Shape of the images and the statistics that normalise their pixels, from the training set."""

    channels: int
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def normalise(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Pixels with mean 0 and deviation 1 per channel, over the training set."""
        mean = torch.tensor(self.mean, device=images.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(1, -1, 1, 1)
        return (images - mean) / std

    def plain(self) -> dict[str, Any]:
        """As a checkpoint stores it."""
        return {
            "channels": self.channels,
            "size": list(self.size),
            "mean": list(self.mean),
            "std": list(self.std),
        }


def open_split(data: str, split: str, image_size: int) -> Images:
    """Open images; `image_size` 0 leaves their size as it is."""
    return open_images(data, split, size=(image_size, image_size) if image_size else None)


def pixels_of(images: Images) -> Pixels:
    """Statistics of at most 10,000 images, evenly spaced over the set."""
    step = -(-images.count // _STATISTICS)
    chosen = torch.arange(0, images.count, step)
    count = 0
    total = torch.zeros(images.channels, dtype=torch.float64)
    squares = torch.zeros(images.channels, dtype=torch.float64)
    for part in chosen.split(_PASS):
        batch = images.batch(part).double()
        count += batch.numel() // images.channels
        total += batch.sum((0, 2, 3))
        squares += batch.square().sum((0, 2, 3))
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(0).sqrt()
    return Pixels(
        channels=images.channels,
        size=images.size,
        mean=tuple(mean.tolist()),
        std=tuple(std.clamp_min(1e-3).tolist()),  # a constant channel stays finite
    )


def batches(
    images: Images,
    pixels: Pixels,
    views: Views,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device,
) -> Iterator[Batch]:
    """Two views of every image in random order; an incomplete last batch is left out, as in PCL."""
    order = torch.randperm(images.count, generator=generator)
    for start in range(0, images.count - batch_size + 1, batch_size):
        indices: Int[Tensor, " b"] = order[start : start + batch_size]
        chosen = images.batch(indices)
        first, second = (random_view(chosen, views, generator).to(device) for _ in range(2))
        yield Batch(
            first=pixels.normalise(first),
            second=pixels.normalise(second),
            indices=indices.to(device),
        )


@torch.no_grad()
def apply(
    images: Images, pixels: Pixels, function: Callable[[Tensor], Tensor], device: torch.device
) -> Float[Tensor, "n d"]:
    """Apply a function to every image in order, plain view, pixels normalised."""
    parts = [
        function(pixels.normalise(images.batch(part).to(device)))
        for part in torch.arange(images.count).split(_PASS)
    ]
    return torch.cat(parts)
