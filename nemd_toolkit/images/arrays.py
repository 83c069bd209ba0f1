"""Images in NumPy's files: .npy, mapped into memory, and .npz with labels beside them."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nemd_toolkit.errors import InputError
from nemd_toolkit.images.collection import Images, at_home, files_stamp, require_undivided
from nemd_toolkit.images.resizing import Sizing, resize_and_crop
from nemd_toolkit.numpy_files import GARBAGE, mapped_npy, read_entry

__all__ = ["open_arrays"]

_IMAGES = ("images", "x", "data", "arr_0")  # the last is NumPy's own for an array without a name
_LABELS = ("labels", "y", "targets")
_PARTS = {"train": ("train",), "test": ("test",), "all": ("train", "test")}
_CHANNELS = (1, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    images: NDArray[Any]
    labels: NDArray[Any] | None
    channels_first: bool


def open_arrays(file: str, split: str, size: Sizing | None) -> Images:
    """Open the images in a .npy or .npz file, uint8 or floating point in [0, 1].

    Shapes are (n, h, w), (n, h, w, c) or (n, c, h, w) with c = 1 or 3. A .npz file holds `images`
    and, if it likes, `labels`: whole numbers or text, one per image. With `train_images` and
    `test_images` (or `x_train` and `x_test`) instead, these are the splits; otherwise train and all
    mean everything. Raises InputError for other shapes, types and values, UnsafeFile for pickles.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two.npz"
    >>> np.savez(path, images=np.zeros((2, 8, 8), np.uint8), labels=["cat", "ant"])
    >>> images = open_arrays(str(path), "train", None)
    >>> len(images), images.size, images.class_names, images.labels
    (2, (8, 8), ('ant', 'cat'), array([1, 0]))
    """
    path = at_home(file)
    if not path.is_file() or path.suffix.lower() not in (".npy", ".npz"):
        got = "no file" if not path.is_file() else path.suffix or "a name without a suffix"
        raise InputError(f"{path}: expected a file .npy or .npz of images, got {got}; check it")
    try:
        arrays = _npy(path, split) if path.suffix.lower() == ".npy" else _npz(path, split)
    except GARBAGE as error:
        raise InputError(
            f"{path}: expected a NumPy file, got a damaged or foreign one "
            f"({type(error).__name__}); save or copy it again"
        ) from None
    return _images(path, f"arrays:{file}", split, size, arrays)


def _npy(path: Path, split: str) -> list[_Part]:
    require_undivided(split, str(path), "use a .npz file with train_images and test_images")
    return [_part(path, mapped_npy(path), None)]


def _npz(path: Path, split: str) -> list[_Part]:
    with zipfile.ZipFile(path) as archive:
        entries = {e.filename.removesuffix(".npy"): e for e in archive.infolist()}
        parts = []
        for images, labels in _names(path, set(entries), split):
            columns = read_entry(path, archive, entries[labels]) if labels else None
            parts.append(_part(path, read_entry(path, archive, entries[images]), columns))
    return parts


def _names(path: Path, held: set[str], split: str) -> list[tuple[str, str | None]]:
    """Keys of the images and labels of each part that the split asks for."""
    if images := next((name for name in _IMAGES if name in held), None):
        require_undivided(split, str(path), "name its arrays train_images and test_images")
        return [(images, next((name for name in _LABELS if name in held), None))]
    found = []
    for part in _PARTS[split]:
        pairs = ((f"{part}_images", f"{part}_labels"), (f"x_{part}", f"y_{part}"))
        pair = next((pair for pair in pairs if pair[0] in held), None)
        if pair is None:
            raise InputError(
                f"{path}: expected an array called images, or {pairs[0][0]}, got "
                f"{', '.join(sorted(held)[:6])[:160] or 'none'}; save with np.savez(images=…)"
            )
        found.append((pair[0], pair[1] if pair[1] in held else None))
    return found


def _part(path: Path, images: NDArray[Any], labels: NDArray[Any] | None) -> _Part:
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise InputError(
            f"{path}: expected images of shape (n, h, w), (n, h, w, c) or (n, c, h, w), got "
            f"{images.shape}; reshape them"
        )
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise InputError(
            f"{path}: expected uint8, or floating point in [0, 1], got {images.dtype}; convert them"
        )
    if labels is not None:
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        if labels.shape != (len(images),) or labels.dtype.kind not in "iuUS":
            raise InputError(
                f"{path}: expected a whole number or text for each of {len(images):,} images, got "
                f"labels of shape {labels.shape} and type {labels.dtype}; save one per image"
            )
    return _Part(images=images, labels=labels, channels_first=_channels_first(path, images))


def _channels_first(path: Path, images: NDArray[Any]) -> bool:
    if images.ndim == 3:
        return False
    first, last = images.shape[1] in _CHANNELS, images.shape[3] in _CHANNELS
    if first == last:
        why = "both could be channels" if first else "neither has 1 or 3 channels"
        raise InputError(
            f"{path}: expected images of shape (n, h, w, c) or (n, c, h, w) with 1 or 3 channels, "
            f"got {images.shape} ({why}); save them as (n, h, w), or with 1 or 3 channels"
        )
    return first


def _images(path: Path, name: str, split: str, size: Sizing | None, parts: list[_Part]) -> Images:
    shapes = {(_channels(part), _size(part), part.images.dtype) for part in parts}
    if len(shapes) > 1:
        raise InputError(
            f"{path}: expected images of one shape and type in all parts, got "
            f"{' and '.join(str(part.images.shape[1:]) for part in parts)}; convert them, or ask "
            "for the split 'train' or 'test'"
        )
    starts = np.cumsum([0, *(len(part.images) for part in parts)])
    wanted = size or Sizing(size=_size(parts[0]))

    def read(indices: Tensor) -> Tensor:
        rows = indices.numpy()
        where = np.searchsorted(starts, rows, side="right") - 1  # the part of each
        pixels = np.stack(
            [parts[part].images[row - starts[part]] for part, row in zip(where, rows, strict=True)]
        )
        return resize_and_crop(_bounded(path, pixels, parts[0].channels_first), wanted)

    labels, names = _labels(parts)
    return Images(
        name=name,
        split=split,
        channels=_channels(parts[0]),
        size=wanted.size,
        ids=np.arange(starts[-1]),
        labels=labels,
        class_names=names,
        read=read,
        stamp=files_stamp([path]),
    )


def _channels(part: _Part) -> int:
    shape = part.images.shape
    return 1 if len(shape) == 3 else int(shape[1] if part.channels_first else shape[3])


def _size(part: _Part) -> tuple[int, int]:
    shape = part.images.shape[2:] if part.channels_first else part.images.shape[1:3]
    return int(shape[0]), int(shape[1])


def _bounded(path: Path, pixels: NDArray[Any], channels_first: bool) -> Tensor:
    """Give (b, c, h, w) in [0, 1], or refuse."""
    whole = pixels.dtype == np.uint8
    found = torch.from_numpy(pixels.astype(np.float32))
    found = found[:, None] if found.ndim == 3 else found
    found = found if channels_first or pixels.ndim == 3 else found.permute(0, 3, 1, 2)
    if whole:
        return found / 255
    low, high = float(found.min()), float(found.max())
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise InputError(
            f"{path}: expected floating-point pixels in [0, 1], got {low:.4g}…{high:.4g}; scale "
            "them, or save bytes 0…255 as uint8"
        )
    return found


def _labels(parts: list[_Part]) -> tuple[NDArray[np.int64] | None, tuple[str, ...] | None]:
    found = [part.labels for part in parts if part.labels is not None]
    if len(found) < len(parts):
        return None, None
    column = np.concatenate(found)
    if column.dtype.kind in "iu":
        return column.astype(np.int64), None
    text = np.char.decode(column, "utf-8", "replace") if column.dtype.kind == "S" else column
    names, positions = np.unique(text, return_inverse=True)
    return positions.astype(np.int64), tuple(str(name) for name in names)
