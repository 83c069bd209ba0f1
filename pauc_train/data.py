"""Batches over images: order, views, pixel statistics, and a pass in the plain view.

All randomness of a batch comes from (seed, epoch, step).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nemd_toolkit.images import Images, open_images
from nemd_toolkit.prefetching import prefetched
from pauc_train import ranks
from pauc_train.method import Batch, View
from pauc_train.views import Draws

__all__ = ["Feed", "Pixels", "apply", "open_split", "pixels_of", "steps_in", "stream"]

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


def steps_in(images: Images, batch_size: int) -> int:
    """Count the batches in an epoch; an incomplete last batch is left out, as in PCL."""
    return images.count // batch_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Where batches come from: images, the method's views of them, and the run's seed."""

    images: Images
    pixels: Pixels
    views: Sequence[View]
    batch_size: int  # of all processes together
    seed: int
    device: torch.device
    workers: int = 0  # threads that prepare batches ahead

    def epoch(self, epoch: int, epochs: int, start: int = 0) -> Iterator[Batch]:
        """Batches of an epoch in random order, from number `start` on, this process's share.

        Every batch has its own random stream, so that an epoch can be gone on with at any batch,
        and threads may prepare them in any order.
        """
        order = torch.randperm(self.images.count, generator=stream(self.seed, "order", epoch))
        count = steps_in(self.images, self.batch_size)

        def prepare(step: int) -> Batch:
            chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
            draws = Draws(
                stream(self.seed, "views", epoch, step),
                self.batch_size,
                ranks.share(self.batch_size),
                self.device,
            )
            return self._batch(ranks.mine(chosen), draws, epoch, (epoch + step / count) / epochs)

        yield from prefetched(prepare, range(start, count), self.workers)

    def _batch(
        self, indices: Int[Tensor, " b"], draws: Draws, epoch: int, progress: float
    ) -> Batch:
        images = self.images.batch(indices).to(self.device, torch.get_default_dtype())
        return Batch(
            views=tuple(self.pixels.normalise(view(images, draws)) for view in self.views),
            indices=indices.to(self.device),
            epoch=epoch,
            progress=progress,
        )


def stream(seed: int, purpose: str, *numbers: int) -> torch.Generator:
    """Make a generator of its own for each seed, purpose, and numbers such as epoch and step.

    >>> stream(0, "views", 1, 2).initial_seed() == stream(0, "views", 1, 2).initial_seed()
    True
    """
    entropy = [seed, *numbers, *purpose.encode()]
    words = np.random.SeedSequence(entropy).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)


@torch.no_grad()
def apply(
    images: Images, pixels: Pixels, function: Callable[[Tensor], Tensor], device: torch.device
) -> Float[Tensor, "n d"]:
    """Apply a function to every image in order, plain view, pixels normalised.

    Processes share the images out and each gives the whole.
    """
    each = -(-images.count // ranks.count())
    own = torch.arange(images.count)[ranks.rank() * each : (ranks.rank() + 1) * each]
    padding = own.new_zeros(each - len(own))  # gathered parts are equally long
    parts = [
        function(pixels.normalise(images.batch(part).to(device, torch.get_default_dtype())))
        for part in torch.cat([own, padding]).split(_PASS)
    ]
    return ranks.gather(torch.cat(parts))[: images.count]
