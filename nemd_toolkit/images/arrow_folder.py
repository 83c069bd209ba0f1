"""Folders that Hugging Face's `Dataset.save_to_disk` writes: Arrow streams, mapped into memory.

Read through pyarrow, which embeddings need anyway; the package `datasets` is not needed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from nemd_toolkit.errors import InputError
from nemd_toolkit.images.collection import Images, at_home, files_stamp, require_undivided
from nemd_toolkit.images.named_labels import numbered
from nemd_toolkit.images.pictures import Pictures
from nemd_toolkit.images.resizing import Sizing

__all__ = ["open_arrow_folder"]

_HELD_OUT = ("test", "validation", "val")  # in this order of preference
_IMAGES = ("image", "img")
_LABELS = ("label", "labels", "fine_label")
_SAVE = "save it again with Dataset.save_to_disk"
_DESCRIPTION = 64 << 20  # bytes of JSON; class names by the ten thousand have less


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    folder: Path
    files: tuple[Path, ...]
    images: pa.ChunkedArray  # of struct {bytes, path}
    labels: pa.ChunkedArray | None
    class_names: tuple[str, ...] | None


def open_arrow_folder(folder: str, split: str, size: Sizing | None) -> Images:
    """Open the pictures of a data set saved to disk, with its labels.

    A `DatasetDict` has its splits train and test (or validation); in a single data set train and
    all mean everything. The column is `image` or `img`, or the only one of images; labels are
    `label`, `labels` or `fine_label`, or the only class label. Raises InputError for folders of
    another kind, DamagedPictures as a folder of files does.
    """
    root = at_home(folder)
    parts = [_read_part(path) for path in _part_folders(root, split)]
    names = {part.class_names for part in parts}
    if len(names) > 1:
        raise InputError(f"{root}: expected the same class names in all splits, got several; "
                         "ask for one split")  # fmt: skip
    chunks = [chunk for part in parts for chunk in part.images.chunks]
    starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])
    packed = [chunk.field("bytes") for chunk in chunks]

    def source(row: int) -> BytesIO:
        chunk = int(np.searchsorted(starts, row, side="right")) - 1
        return BytesIO(packed[chunk][row - int(starts[chunk])].as_buffer())

    ids = _ids(parts)
    pictures = Pictures(where=str(root), names=ids, source=source)
    channels, wanted = pictures.inspect(size)
    labels, found = numbered(_label_values(parts, len(ids)), str(root))
    return Images(
        name=f"hf:{folder}",
        split=split,
        channels=channels,
        size=wanted.size,
        ids=np.array(ids),
        labels=labels,
        class_names=next(iter(names)) or found,
        read=pictures.reader(channels, wanted),
        stamp=files_stamp(file for part in parts for file in part.files),
    )


def _part_folders(root: Path, split: str) -> list[Path]:
    if (root / "state.json").is_file():
        require_undivided(split, str(root), "save a DatasetDict with a split test")
        return [root]
    held = _json(root / "dataset_dict.json").get("splits")
    if not isinstance(held, list) or not all(isinstance(name, str) for name in held):
        raise InputError(
            f"{root}: expected a list of splits in dataset_dict.json, got none; {_SAVE}"
        )
    test = [name for name in _HELD_OUT if name in held][:1]
    wanted = {"train": ["train"], "test": test or ["test"], "all": ["train", *test]}[split]
    missing = [name for name in wanted if name not in held]
    if missing:
        raise InputError(
            f"{root}: expected a split {missing[0]} for {split!r}, got "
            f"{', '.join(held)[:160] or 'none'}; give the folder of one split, or ask for another"
        )
    return [root / name for name in wanted]


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size <= _DESCRIPTION:
            found = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
    except (OSError, ValueError, RecursionError):
        pass
    raise InputError(
        f"{path.parent}: expected a folder written by Dataset.save_to_disk, got no readable "
        f"{path.name} in it; {_SAVE}"
    )


def _read_part(folder: Path) -> _Part:
    features = _json(folder / "dataset_info.json").get("features")
    files = _data_files(folder)
    if not isinstance(features, dict) or not all(isinstance(f, dict) for f in features.values()):
        raise InputError(f"{folder}: expected features in dataset_info.json, got none; {_SAVE}")
    images = _column(folder, features, "Image", _IMAGES, "a column of images")
    if images is None:
        raise InputError(
            f"{folder}: expected a column of images, got {', '.join(features)[:160] or 'none'}; "
            "cast one to datasets.Image() and save it again"
        )
    labels = _column(folder, features, "ClassLabel", _LABELS, "one class label")
    labels = labels or next((name for name in _LABELS if name in features), None)
    try:
        tables = [_table(file, [images, *([labels] if labels else [])]) for file in files]
        table = pa.concat_tables(tables)
        table.validate(full=True)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise InputError(
            f"{folder}: expected Arrow streams with the columns of dataset_info.json, got a "
            f"damaged or foreign file ({type(error).__name__}); {_SAVE}"
        ) from None
    _require_bytes(folder, table.column(images))
    names = features[labels].get("names") if labels else None
    return _Part(
        folder=folder,
        files=files,
        images=table.column(images),
        labels=table.column(labels) if labels else None,
        class_names=tuple(str(name) for name in names) if isinstance(names, list) else None,
    )


def _data_files(folder: Path) -> tuple[Path, ...]:
    entries = _json(folder / "state.json").get("_data_files")
    names = [e.get("filename") for e in entries if isinstance(e, dict)] if entries else []
    # a name with folders in it could point anywhere
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise InputError(
            f"{folder}: expected names of Arrow files in state.json, got none; {_SAVE}"
        )
    return tuple(folder / str(name) for name in names)


def _column(
    folder: Path, features: dict[str, Any], kind: str, usual: Sequence[str], what: str
) -> str | None:
    found = [name for name, feature in features.items() if feature.get("_type") == kind]
    chosen = next((name for name in usual if name in found), None)
    if chosen is None and len(found) > 1:
        raise InputError(
            f"{folder}: expected {what} called {usual[0]}, got several "
            f"({', '.join(found)[:160]}); rename the one to use to {usual[0]}"
        )
    return chosen or (found[0] if found else None)


def _table(file: Path, columns: list[str]) -> pa.Table:
    with pa.memory_map(str(file)) as mapped, pa.ipc.open_stream(mapped) as stream:
        return stream.read_all().select(columns)


def _require_bytes(folder: Path, images: pa.ChunkedArray) -> None:
    kind = images.type
    inside = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    held = pa.types.is_binary(kind.field("bytes").type) if inside else False
    empty = sum(chunk.field("bytes").null_count for chunk in images.chunks) if held else 0
    if not held or not len(images) or empty or images.null_count:
        got = f"{empty + images.null_count:,} without" if len(images) else "no rows"
        raise InputError(
            f"{folder}: expected the bytes of pictures in its images, got {got} among "
            f"{len(images):,}; load the files into the data set and save it again"
        )


def _ids(parts: Sequence[_Part]) -> list[str]:
    if len(parts) == 1:
        return [str(row) for row in range(len(parts[0].images))]
    return [f"{part.folder.name}/{row}" for part in parts for row in range(len(part.images))]


def _label_values(parts: Sequence[_Part], count: int) -> list[Any]:
    if any(part.labels is None for part in parts):
        return [None] * count
    values = [v for part in parts if part.labels is not None for v in part.labels.to_pylist()]
    # datasets writes -1 where a class is not known
    return [None if value == -1 and parts[0].class_names else value for value in values]
