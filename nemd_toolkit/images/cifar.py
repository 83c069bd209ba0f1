"""CIFAR-10 and CIFAR-100 from the files their authors give: the binary or the Python version."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nemd_toolkit.errors import InputError
from nemd_toolkit.images.collection import Images, at_home, images_in_memory
from nemd_toolkit.images.plain_pickle import read_plain_pickle
from nemd_toolkit.images.resizing import Sizing

__all__ = ["open_cifar10", "open_cifar100"]

_PIXELS = 3 * 32 * 32  # all of red, then green, then blue, row by row
_NAMES = 1 << 20  # bytes; the list of class names has less


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    """File names of one version, in the order of the images."""

    folder: str  # as the archive unpacks
    train: tuple[str, ...]
    test: str
    names: str  # the file of class names


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cifar:
    spec: str
    classes: int
    label_bytes: int  # before each image of the binary version; the last is the label
    labels: str  # key of the labels in the Python version
    names: str  # key of the class names there
    binary: _Version
    python: _Version


_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
_CIFAR10 = _Cifar(
    spec="cifar10",
    classes=10,
    label_bytes=1,
    labels="labels",
    names="label_names",
    binary=_Version(
        folder="cifar-10-batches-bin",
        train=tuple(f"{name}.bin" for name in _BATCHES),
        test="test_batch.bin",
        names="batches.meta.txt",
    ),
    python=_Version(
        folder="cifar-10-batches-py", train=_BATCHES, test="test_batch", names="batches.meta"
    ),
)
_CIFAR100 = _Cifar(
    spec="cifar100",
    classes=100,
    label_bytes=2,  # coarse, fine
    labels="fine_labels",
    names="fine_label_names",
    binary=_Version(
        folder="cifar-100-binary",
        train=("train.bin",),
        test="test.bin",
        names="fine_label_names.txt",
    ),
    python=_Version(folder="cifar-100-python", train=("train",), test="test", names="meta"),
)


def open_cifar10(folder: str, split: str, size: Sizing | None) -> Images:
    """Open the 50,000 training or 10,000 test images of CIFAR-10, 32x32 colour.

    `folder` holds data_batch_1.bin … or data_batch_1 …, or the folder that the archive unpacks to.
    Raises InputError when files are missing or damaged, UnsafeFile for pickles of anything else.
    """
    return _open(_CIFAR10, folder, split, size)


def open_cifar100(folder: str, split: str, size: Sizing | None) -> Images:
    """Open CIFAR-100; as `open_cifar10`. Labels are the 100 fine ones, not the 20 coarse."""
    return _open(_CIFAR100, folder, split, size)


def _open(cifar: _Cifar, folder: str, split: str, size: Sizing | None) -> Images:
    root, version = _find(cifar, at_home(folder))
    files = {"train": version.train, "test": (version.test,)}.get(
        split, (*version.train, version.test)
    )
    read = _read_binary if version is cifar.binary else _read_python
    parts = [read(cifar, root / file) for file in files]
    pixels = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    return images_in_memory(
        torch.from_numpy(pixels).view(-1, 3, 32, 32),
        labels,
        np.arange(len(labels)),
        name=f"{cifar.spec}:{folder}",
        split=split,
        brightest=255,
        class_names=_class_names(cifar, version, root),
        size=size,
    )


def _find(cifar: _Cifar, root: Path) -> tuple[Path, _Version]:
    versions = (cifar.binary, cifar.python)
    for version in versions:
        for folder in (root, root / version.folder):
            if all((folder / file).is_file() for file in (*version.train, version.test)):
                return folder, version
    wanted = " or ".join(f"{version.train[0]} … {version.test}" for version in versions)
    raise InputError(
        f"{root}: expected all of {wanted} in it or in {cifar.binary.folder}/ or "
        f"{cifar.python.folder}/, got no such set; unpack the archive and give its folder"
    )


def _read_binary(cifar: _Cifar, path: Path) -> tuple[np.ndarray, np.ndarray]:
    record = cifar.label_bytes + _PIXELS
    size = path.stat().st_size
    if size == 0 or size % record:
        raise InputError(
            f"{path}: expected a multiple of {record:,} bytes, got {size:,}; "
            f"the file is damaged or not {cifar.spec}'s, download it again"
        )
    rows = np.fromfile(path, dtype=np.uint8).reshape(-1, record)
    labels = rows[:, cifar.label_bytes - 1].astype(np.int64)
    return rows[:, cifar.label_bytes :], _checked(cifar, path, labels)


def _read_python(cifar: _Cifar, path: Path) -> tuple[np.ndarray, np.ndarray]:
    content = read_plain_pickle(path)
    data, labels = content.get("data"), content.get(cifar.labels)
    if isinstance(data, np.ndarray) and isinstance(labels, list):
        whole = all(type(label) is int and 0 <= label < 256 for label in labels)
        if whole and data.shape == (len(labels), _PIXELS):
            return data, _checked(cifar, path, np.array(labels, dtype=np.int64))
    raise InputError(
        f"{path}: expected data of {_PIXELS:,} bytes an image and as many {cifar.labels}, got "
        f"something else; the file is damaged or not {cifar.spec}'s, download it again"
    )


def _checked(cifar: _Cifar, path: Path, labels: np.ndarray) -> np.ndarray:
    if labels.max() >= cifar.classes:
        raise InputError(
            f"{path}: expected labels 0…{cifar.classes - 1}, got {labels.max()}; "
            f"the file is damaged or not {cifar.spec}'s, download it again"
        )
    return labels


def _class_names(cifar: _Cifar, version: _Version, root: Path) -> tuple[str, ...] | None:
    """Read the names beside the images, where they are."""
    path = root / version.names
    if not path.is_file() or path.stat().st_size > _NAMES:
        return None
    if version is cifar.binary:
        found: Any = path.read_text(encoding="utf-8", errors="replace").split()
    else:
        found = read_plain_pickle(path).get(cifar.names)
    return tuple(str(name) for name in found) if _fits(found, cifar.classes) else None


def _fits(names: Any, classes: int) -> bool:
    return isinstance(names, list) and len(names) == classes
