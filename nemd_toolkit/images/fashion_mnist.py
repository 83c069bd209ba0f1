"""Fashion-MNIST from IDX files on disk, as distributions and torchvision lay them out."""

from pathlib import Path

import numpy as np
import torch

from nemd_toolkit.errors import InputError
from nemd_toolkit.images.collection import Images, at_home, images_in_memory
from nemd_toolkit.images.idx import read_idx
from nemd_toolkit.images.resizing import Sizing

__all__ = ["open_fashion_mnist"]

_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_SIZE = (28, 28)
_PARTS = {"train": ("train",), "test": ("t10k",), "all": ("train", "t10k")}
_FOLDERS = ("FashionMNIST/raw", "raw", ".")  # torchvision's, its dataset folder, the files alone


def open_fashion_mnist(folder: str, split: str, size: Sizing | None) -> Images:
    """Open the 60,000 training or 10,000 test images, 28x28 grey.

    Raises InputError when files are missing, damaged or do not belong together.
    """
    parts = [_read_part(at_home(folder), part) for part in _PARTS[split]]
    # one part is not copied
    pixels = np.concatenate([images for images, _ in parts]) if parts[1:] else parts[0][0]
    labels = np.concatenate([labels for _, labels in parts]).astype(np.int64)
    return images_in_memory(
        torch.from_numpy(pixels)[:, None],  # (n, 28, 28) -> (n, 1, 28, 28)
        labels,
        np.arange(len(labels)),
        name=f"fashion-mnist:{folder}",
        split=split,
        brightest=255,
        class_names=_CLASSES,
        size=size,
    )


def _read_part(root: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    images_path = _find(root, f"{part}-images-idx3-ubyte")
    labels_path = _find(root, f"{part}-labels-idx1-ubyte")
    images, labels = read_idx(images_path, _SIZE), read_idx(labels_path, ())
    if len(images) != len(labels):
        raise InputError(
            f"{labels_path}: expected one label for each of {len(images):,} images, got "
            f"{len(labels):,}; the two files do not belong together, download both again"
        )
    if labels.max() >= len(_CLASSES):
        raise InputError(
            f"{labels_path}: expected labels 0…{len(_CLASSES) - 1}, got {labels.max()}; "
            "the file is not Fashion-MNIST's"
        )
    return images, labels


def _find(root: Path, name: str) -> Path:
    for folder in _FOLDERS:
        for suffix in ("", ".gz"):
            path = root / folder / (name + suffix)
            if path.is_file():
                return path
    raise InputError(
        f"{root}: expected {name} or {name}.gz in it, in raw/ or in FashionMNIST/raw/, got no such "
        "file; give the folder that holds the four IDX files"
    )
