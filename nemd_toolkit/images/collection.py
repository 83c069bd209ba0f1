"""Images: a numbered collection that gives batches of pixels, wherever they are kept."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from nemd_toolkit.errors import InputError
from nemd_toolkit.images.resizing import Sizing, resize_and_crop

__all__ = [
    "Images",
    "Split",
    "at_home",
    "files_stamp",
    "images_in_memory",
    "require_split",
    "require_undivided",
]

Split = str  # "train" | "test" | "all"
_SPLITS = ("train", "test", "all")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Images:
    """A collection of `count` images of one size and one number of channels.

    >>> from nemd_toolkit.images import open_images
    >>> digits = open_images("digits", "test")
    >>> len(digits), digits.channels, digits.size
    (450, 1, (8, 8))
    >>> digits.batch(torch.tensor([0, 449])).shape
    torch.Size([2, 1, 8, 8])
    """

    name: str  # what the user asked for, e.g. "folder:photos"
    split: Split
    channels: int  # 1 or 3
    size: tuple[int, int]  # height, width
    ids: NDArray[Any]  # row numbers in the source, or file paths relative to the folder
    labels: NDArray[np.int64] | None  # positions in class_names, where those are known
    class_names: tuple[str, ...] | None
    read: Callable[[Tensor], Tensor] = field(repr=False)  # (b,) -> (b, c, h, w); in any thread
    # Digest of the bytes in memory, or of the files' sizes and times: what was computed from other
    # pixels must not be taken for these. None: nobody knows, and nothing is kept for later.
    stamp: str | None = None

    @property
    def count(self) -> int:
        """Number of images, ≥ 1."""
        return len(self.ids)

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: Int[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """Pixels of these images, float32 in [0, 1].

        Raises InputError for an index outside 0…count-1 and for files that cannot be decoded.
        """
        if len(indices) and not (0 <= int(indices.min()) <= int(indices.max()) < self.count):
            raise InputError(
                f"{self.name}: expected image numbers in 0…{self.count - 1}, got "
                f"{int(indices.min())}…{int(indices.max())}; ask for fewer"
            )
        if not len(indices):
            return torch.empty(0, self.channels, *self.size)
        return self.read(indices)


def require_split(split: str) -> None:
    """Raise InputError unless `split` is train, test or all.

    >>> require_split("train")
    """
    if split not in _SPLITS:
        raise InputError(
            f"split: expected one of {', '.join(_SPLITS)}, got {split!r}; choose one of those"
        )


def require_undivided(split: str, name: str, hint: str) -> None:
    """Raise InputError for the split test of a collection that knows no parts.

    >>> require_undivided("all", "a.npy", "keep test images in a file of their own")
    """
    if split == "test":
        raise InputError(
            f"{name}: expected a held-out part, got one undivided collection; {hint}, or ask for "
            "the split 'all'"
        )


def files_stamp(paths: Iterable[Path]) -> str:
    """Digest of the sizes and modification times of files, in this order.

    >>> len(files_stamp([]))
    64
    """
    digest = hashlib.sha256()
    for path in paths:
        about = path.stat()
        digest.update(f"{about.st_size} {about.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def at_home(folder: str) -> Path:
    """Path with ~ written out. Raises InputError for a user that this machine does not know.

    >>> str(at_home("pictures"))
    'pictures'
    """
    try:
        return Path(folder).expanduser()
    except RuntimeError:
        raise InputError(
            f"{folder}: expected a user of this machine after ~, got one without a home; "
            "write the path in full"
        ) from None


def images_in_memory(
    pixels: UInt8[Tensor, "n c h w"],
    labels: NDArray[np.int64] | None,
    ids: NDArray[np.int64],
    *,
    name: str,
    split: Split,
    brightest: int,
    class_names: tuple[str, ...] | None,
    size: Sizing | None,
) -> Images:
    """Images over bytes in memory, where the byte `brightest` means 1.0.

    >>> pixels = torch.full((1, 1, 2, 2), 8, dtype=torch.uint8)
    >>> one = images_in_memory(pixels, np.zeros(1, np.int64), np.zeros(1, np.int64), name="grey",
    ...     split="all", brightest=16, class_names=("grey",), size=None)
    >>> float(one.batch(torch.tensor([0])).mean())
    0.5
    """
    wanted = size or Sizing(size=(int(pixels.shape[2]), int(pixels.shape[3])))
    stamp = hashlib.sha256(f"{tuple(pixels.shape)} {brightest} ".encode())
    stamp.update(pixels.contiguous().numpy().data)

    def read(indices: Tensor) -> Tensor:
        return resize_and_crop(pixels[indices].float() / brightest, wanted)

    return Images(
        name=name,
        split=split,
        channels=int(pixels.shape[1]),
        size=wanted.size,
        ids=ids,
        labels=labels,
        class_names=class_names,
        read=read,
        stamp=stamp.hexdigest(),
    )
