"""One pass of images through an encoder: decoded ahead by threads, embedded in order."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.embedding_cache import Key
from nemd_toolkit.encoder_choice import LoadReport
from nemd_toolkit.errors import InputError
from nemd_toolkit.images import Images
from nemd_toolkit.images.pictures import DamagedPictures
from nemd_toolkit.prefetching import prefetched
from nemd_toolkit.progress import bar

__all__ = ["PRECISIONS", "EncodingPass", "default_precision", "default_workers"]

PRECISIONS = ("float32", "bfloat16")
_MOST_WORKERS = 16


def default_precision(device: torch.device) -> str:
    """Give bfloat16 on CUDA, where it is several times faster, else float32.

    >>> default_precision(torch.device("cpu"))
    'float32'
    """
    return "bfloat16" if device.type == "cuda" else "float32"


def default_workers(device: torch.device) -> int:
    """One thread beside an encoder that computes on the processor itself, else one for each core.

    >>> default_workers(torch.device("cpu"))
    1
    """
    return 1 if device.type == "cpu" else min(_MOST_WORKERS, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingPass:
    """Everything that is needed to embed images, and nothing done yet."""

    images: Images
    forward: Callable[[Tensor], Tensor]  # (b, c, h, w) on the device -> (b, d) there
    channels: int  # that the encoder expects
    decoded: Callable[[Tensor], Tensor]  # pixels (b, c, h, w) -> the same, in any thread
    adapted: Callable[[Tensor], Tensor]  # the same, in the caller's thread
    described: str  # what happens to the pixels, in a sentence
    loaded: LoadReport  # which weights are in the encoder
    branch: str
    encoder: str | None  # that the user gave, as a report names it
    memory: torch.memory_format  # of batches
    key: Key | None  # all that the rows depend on, where that is known
    batch: int
    device: torch.device
    precision: str
    workers: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report says of the embeddings: the transform, and weights that found no place."""
        loaded = self.loaded
        plain = loaded.complete and loaded.matched and not loaded.ignored
        return (f"embedded: {self.described}", *(() if plain else (loaded.sentence(),)))

    def rows(self, first: int = 0, stop: int | None = None) -> Iterator[Float[Tensor, "b d"]]:
        """Embed from image `first`, a multiple of the batch, to `stop`; float32, CPU, in order.

        The next batch is on its way to the device while the last comes back from there. Raises
        InputError for a transform that gives another shape; for pictures that cannot be decoded,
        DamagedPictures with all of them, after looking at the rest.
        """
        stop = self.images.count if stop is None else stop
        batches = list(torch.arange(first, stop).split(self.batch))
        last: Tensor | None = None
        taken = 0
        with bar("embedding", stop, first) as advance:
            try:
                for seen in prefetched(self._seen, batches, self.workers):
                    embedded = self._embedded(seen)
                    taken += 1
                    if last is not None:
                        yield last.cpu().float()
                    last = embedded
                    advance(len(seen))
            except DamagedPictures as error:
                raise self._all_damaged(error, batches[taken + 1 :]) from None
        if last is not None:
            yield last.cpu().float()

    def _seen(self, indices: Tensor) -> Tensor:
        seen = self.decoded(self.images.batch(indices)).contiguous(memory_format=self.memory)
        return seen.pin_memory() if self.device.type == "cuda" else seen

    def _embedded(self, seen: Tensor) -> Tensor:
        count, seen = len(seen), self.adapted(seen)
        if seen.ndim != 4 or seen.shape[:2] != (count, self.channels):
            raise InputError(
                f"transform: expected a batch of {count} images of {self.channels} channel(s) "
                f"back, got shape {tuple(seen.shape)}; return a (b, c, h, w) tensor"
            )
        with torch.inference_mode(), self._autocast():
            return self.forward(seen.to(self.device, non_blocking=True))

    def _autocast(self) -> AbstractContextManager[object]:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _all_damaged(self, first: DamagedPictures, rest: list[Tensor]) -> DamagedPictures:
        names = list(first.names)
        with bar("looking for damaged pictures", len(rest)) as advance:
            for damaged in prefetched(self._damaged, rest, self.workers):
                names += damaged
                advance(1)
        return DamagedPictures(first.where, names, self.images.count)

    def _damaged(self, indices: Tensor) -> tuple[str, ...]:
        try:
            self.images.batch(indices)
        except DamagedPictures as error:
            return error.names
        return ()
