"""Folders of pictures, with subfolders as classes, read one batch at a time through Pillow."""

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from nemd_toolkit.errors import InputError
from nemd_toolkit.images.collection import Images, at_home
from nemd_toolkit.progress import bar

__all__ = ["open_folder"]

_USUAL_SIZE = (224, 224)  # what ImageNet encoders are trained on
_HELD_OUT = ("test", "val")  # in this order of preference
_SPLIT_FOLDERS = {"train", *_HELD_OUT}
_NO_CLASS = "__MACOSX"  # what macOS adds to zip files
# Pillow's own list has formats that start other programs, such as Ghostscript for EPS.
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000", "TGA")
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_UNBOUNDED = ("I", "F")  # 32-bit pixels: nobody says which value is white
# What Pillow's decoders raise on damaged files; SyntaxError is its own choice for broken PNGs.
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    path: Path
    label: str | None  # name of the class folder


def open_folder(folder: str, split: str, size: tuple[int, int] | None) -> Images:
    """Open the pictures below `folder`.

    Class subfolders give labels; pictures directly in the folder have none. Where all subfolders
    are called train, test or val they are the splits; otherwise train and all mean everything, and
    there is no test split. A train, test or val with classes of its own must not lie beside others.
    Grey pictures stay grey if all of them are. Pixels are taken as stored: EXIF rotation is
    ignored, as in torchvision.

    Raises InputError for missing or empty folders and for unreadable pictures.
    """
    root = at_home(folder)
    try:
        files = [file for part in _parts(root, split) for file in _list(part)]
    except OSError as error:
        raise InputError(
            f"{error.filename}: expected a readable folder, got {error.strerror}; "
            "check its permissions"
        ) from None
    channels, common = _inspect(files, size)
    wanted = size or common or _USUAL_SIZE
    names, labels = _labels(root, files)

    def read(indices: Tensor) -> Tensor:
        return _read([files[i].path for i in indices.tolist()], channels, wanted)

    return Images(
        name=f"folder:{folder}",
        split=split,
        channels=channels,
        size=wanted,
        ids=np.array([file.path.relative_to(root).as_posix() for file in files]),
        labels=labels,
        class_names=names,
        read=read,
    )


def _parts(root: Path, split: str) -> list[Path]:
    if not root.is_dir():
        raise InputError(
            f"{root}: expected a folder of pictures, got "
            f"{'a file' if root.exists() else 'nothing there'}; check the path"
        )
    inside = {path.name for path in _folders(root)}
    foreign = sorted(inside - _SPLIT_FOLDERS)
    if foreign and any(_folders(root / name) for name in inside & _SPLIT_FOLDERS):
        raise InputError(
            f"{root}: expected {', '.join(sorted(inside & _SPLIT_FOLDERS))} alone or with "
            f"{', '.join(sorted(_SPLIT_FOLDERS))}, got {', '.join(foreign[:6])} beside it; move or "
            "rename what is no split"
        )
    if not inside or foreign:
        if split == "test":
            raise InputError(
                f"{root}: expected a held-out part, got one undivided folder; lay it out as "
                "train/CLASS/… and test/CLASS/…, or ask for the split 'all'"
            )
        return [root]
    held_out = [name for name in _HELD_OUT if name in inside][:1]
    wanted = {"train": ["train"], "test": held_out or ["test"], "all": ["train", *held_out]}[split]
    missing = [name for name in wanted if name not in inside]
    if missing:
        raise InputError(
            f"{root}: expected the subfolder {missing[0]}/ for the split {split!r}, got "
            f"{', '.join(sorted(inside))}; add it or ask for another split"
        )
    return [root / name for name in wanted]


def _folders(root: Path) -> list[Path]:
    return sorted(
        path
        for path in root.iterdir()
        if path.is_dir() and path.name[0] != "." and path.name != _NO_CLASS
    )


def _list(part: Path) -> list[_File]:
    loose = [_File(path=path, label=None) for path in _pictures(part.iterdir())]
    classed = [
        _File(path=path, label=folder.name)
        for folder in _folders(part)
        for path in _pictures(folder.rglob("*"))
    ]
    if loose and classed:
        raise InputError(
            f"{part}: expected pictures either directly in it or in class subfolders, got "
            f"{len(loose)} and {len(classed)}; move them so that one kind remains"
        )
    if not (loose or classed):
        raise InputError(
            f"{part}: expected pictures ({', '.join(_FORMATS)}), got none; check the path"
        )
    return loose or classed


def _pictures(paths: Iterable[Path]) -> list[Path]:
    known = {s for s, kind in Image.registered_extensions().items() if kind in _FORMATS}
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in known and path.name[0] != "." and path.is_file()
    )


def _labels(
    root: Path, files: Sequence[_File]
) -> tuple[tuple[str, ...] | None, NDArray[np.int64] | None]:
    used = [file.label for file in files if file.label is not None]
    if len(used) < len(files):
        return None, None
    # Every split counts the same classes, so that label 3 means one thing in all of them.
    parts = _folders(root)
    split = {path.name for path in parts} <= _SPLIT_FOLDERS
    everywhere = [folder.name for part in parts for folder in _folders(part)] if split else []
    names = sorted({*used, *everywhere})
    position = {name: i for i, name in enumerate(names)}
    return tuple(names), np.array([position[name] for name in used], dtype=np.int64)


def _inspect(
    files: Sequence[_File], size: tuple[int, int] | None
) -> tuple[int, tuple[int, int] | None]:
    """Channels, and the one size of all pictures if there is one; reads headers only."""
    sizes: set[tuple[int, int]] = set()
    grey = True
    with bar("looking at pictures", len(files)) as advance:
        for file in files:
            advance(1)
            try:
                with Image.open(file.path, formats=_FORMATS) as picture:
                    sizes.add((picture.height, picture.width))
                    grey = grey and picture.mode == "L"
            except _UNREADABLE:
                raise _unreadable([f.path for f in files if not _has_header(f.path)]) from None
            if not grey and (size is not None or len(sizes) > 1):
                break  # nothing more to learn; damaged files show up when they are read
    return (1 if grey else 3), (sizes.pop() if len(sizes) == 1 else None)


def _has_header(path: Path) -> bool:
    try:
        with Image.open(path, formats=_FORMATS):
            return True
    except _UNREADABLE:
        return False


def _unreadable(paths: Sequence[Path]) -> InputError:
    return InputError(
        f"{paths[0]}: expected a picture of 8 or 16 bits that Pillow can read, got a damaged or "
        f"foreign file ({len(paths)} such among those looked at); replace or remove it"
    )


def _read(paths: Sequence[Path], channels: int, size: tuple[int, int]) -> Tensor:
    pixels = np.empty((len(paths), *size, channels), dtype=np.uint8)
    damaged = []
    for row, path in enumerate(paths):
        try:
            with Image.open(path, formats=_FORMATS) as picture:
                # (h, w) or (h, w, 3) -> (h, w, c)
                pixels[row] = np.asarray(_fitted(picture, channels, size)).reshape(*size, channels)
        except _UNREADABLE:
            damaged.append(path)
    if damaged:
        raise _unreadable(damaged)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def _fitted(picture: Image.Image, channels: int, size: tuple[int, int]) -> Image.Image:
    if picture.mode in _SIXTEEN_BITS:  # Pillow would clip at 255 instead of scaling
        picture = Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))
    elif picture.mode in _UNBOUNDED:
        raise ValueError(picture.mode)
    if picture.mode == "P":
        picture = picture.convert("RGBA")  # a palette may mark transparency as bytes
    converted = picture.convert("L" if channels == 1 else "RGB")
    if (converted.height, converted.width) == size:
        return converted
    return ImageOps.fit(converted, (size[1], size[0]), Image.Resampling.BILINEAR)
