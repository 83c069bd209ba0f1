"""Folders of pictures, with subfolders as classes, read one batch at a time through Pillow."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nemd_toolkit.errors import InputError
from nemd_toolkit.images.collection import Images, at_home, files_stamp
from nemd_toolkit.images.pictures import FORMATS, Pictures, suffixes
from nemd_toolkit.images.resizing import Sizing

__all__ = ["open_folder"]

_HELD_OUT = ("test", "val")  # in this order of preference
_SPLIT_FOLDERS = {"train", *_HELD_OUT}
_NO_CLASS = "__MACOSX"  # what macOS adds to zip files


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    path: Path
    label: str | None  # name of the class folder


def open_folder(folder: str, split: str, size: Sizing | None) -> Images:
    """Open the pictures below `folder`.

    Class subfolders give labels; pictures directly in the folder have none. Where all subfolders
    are called train, test or val they are the splits; otherwise train and all mean everything, and
    there is no test split. A train, test or val with classes of its own must not lie beside others.
    Grey pictures stay grey if all of them are. Pixels are taken as stored: EXIF rotation is
    ignored, as in torchvision.

    Raises InputError for missing or empty folders, and DamagedPictures, with their number and the
    first names, where not all are readable: headers are read here, the rest in batches.
    """
    root = at_home(folder)
    try:
        files = [file for part in _parts(root, split) for file in _list(part)]
    except OSError as error:
        raise InputError(
            f"{error.filename}: expected a readable folder, got {error.strerror}; "
            "check its permissions"
        ) from None
    ids = [file.path.relative_to(root).as_posix() for file in files]
    pictures = Pictures(where=str(root), names=ids, source=lambda row: files[row].path)
    channels, wanted = pictures.inspect(size)
    names, labels = _labels(root, files)
    return Images(
        name=f"folder:{folder}",
        split=split,
        channels=channels,
        size=wanted.size,
        ids=np.array(ids),
        labels=labels,
        class_names=names,
        read=pictures.reader(channels, wanted),
        stamp=files_stamp(file.path for file in files),
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
            f"{part}: expected pictures ({', '.join(FORMATS)}), got none; check the path"
        )
    return loose or classed


def _pictures(paths: Iterable[Path]) -> list[Path]:
    known = suffixes()
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
