"""WebDataset's shards: tar files whose members `name.jpg` and `name.cls` make one sample.

Only members' headers are read at first; pictures are read where they stand in the file. Nothing is
unpacked to disk, and no package beyond Python's own is needed.
"""

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from nemd_toolkit.errors import InputError
from nemd_toolkit.images.collection import Images, at_home, files_stamp, require_undivided
from nemd_toolkit.images.named_labels import numbered
from nemd_toolkit.images.pictures import Pictures, suffixes
from nemd_toolkit.images.resizing import Sizing
from nemd_toolkit.progress import bar

__all__ = ["open_webdataset", "shard_paths"]

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST = 100_000  # shards of one pattern; ImageNet has 147
_LABEL = 1 << 20  # bytes; a label, or what is written about a sample, has less
_JSON_KEYS = ("label", "cls", "class")


@dataclass(slots=True, kw_only=True)
class _Sample:
    shard: int
    place: tuple[int, int] | None = None  # offset and length of the picture
    label: Any = None


@dataclass(slots=True, kw_only=True)
class _Index:
    """Samples in the order of the shards and of their first members."""

    samples: dict[str, _Sample] = field(default_factory=dict)

    def sample(self, key: str, shard: int, where: Path) -> _Sample:
        found = self.samples.setdefault(key, _Sample(shard=shard))
        if found.shard != shard:
            raise InputError(
                f"{where}: expected names of samples that no other shard has, got {key} again; "
                "write the shards anew, or name fewer"
            )
        return found


def open_webdataset(pattern: str, split: str, size: Sizing | None) -> Images:
    """Open the pictures of tar shards: `shard-{000..012}.tar`, or one file.

    Labels are the text or the whole number in `name.cls`, or what `name.json` has as label, cls or
    class. train and all mean everything. Raises InputError for missing or damaged shards and for
    samples without a picture, DamagedPictures as a folder does.
    """
    require_undivided(split, f"webdataset:{pattern}", "name the shards that are held out")
    paths = shard_paths(pattern)
    index = _Index()
    with bar("looking at shards", len(paths)) as advance:
        for shard, path in enumerate(paths):
            _read_shard(path, shard, index)
            advance(1)
    names = list(index.samples)
    places = _places(pattern, index)

    def source(row: int) -> BytesIO:
        shard, offset, length = places[row]
        with paths[shard].open("rb") as file:
            file.seek(offset)
            return BytesIO(file.read(length))

    pictures = Pictures(where=f"webdataset:{pattern}", names=names, source=source)
    channels, wanted = pictures.inspect(size)
    values = [sample.label for sample in index.samples.values()]
    labels, class_names = numbered(values, f"webdataset:{pattern}")
    return Images(
        name=f"webdataset:{pattern}",
        split=split,
        channels=channels,
        size=wanted.size,
        ids=np.array(names),
        labels=labels,
        class_names=class_names,
        read=pictures.reader(channels, wanted),
        stamp=files_stamp(paths),
    )


def shard_paths(pattern: str) -> list[Path]:
    """Files that a pattern with ranges such as `{000..012}` means, all of which must be there.

    >>> shard_paths("/nowhere/a-{00..02}.tar")
    Traceback (most recent call last):
    ...
    nemd_toolkit.errors.InputError: /nowhere/a-00.tar: expected a tar file, got none (3 of 3 \
missing); check the pattern, such as shard-{000..012}.tar
    """
    paths = [at_home(name) for name in _expanded(pattern)]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise InputError(
            f"{missing[0]}: expected a tar file, got none ({len(missing)} of {len(paths)} "
            "missing); check the pattern, such as shard-{000..012}.tar"
        )
    return paths


def _expanded(pattern: str) -> Iterator[str]:
    found = _RANGE.search(pattern)
    if found is None:
        yield pattern
        return
    first, last = int(found[1]), int(found[2])
    if not first <= last < first + _MOST:
        raise InputError(
            f"{pattern}: expected a range that rises, of at most {_MOST:,} shards, got {found[0]}; "
            "write for instance {000..012}"
        )
    for number in range(first, last + 1):
        name = f"{number:0{len(found[1])}}"
        yield from _expanded(pattern[: found.start()] + name + pattern[found.end() :])


def _read_shard(path: Path, shard: int, index: _Index) -> None:
    try:
        with tarfile.open(path, "r:") as archive:  # ":" refuses packed ones: no seeking in them
            for member in archive:
                if member.isreg() and not member.issparse():
                    _take(path, archive, member, shard, index)
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise InputError(
            f"{path}: expected an unpacked tar file, got a damaged or foreign one "
            f"({type(error).__name__}); copy it again, or unpack a .tar.gz to .tar"
        ) from None


def _take(
    path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo, shard: int, index: _Index
) -> None:
    folder, _, name = member.name.rpartition("/")
    base, _, ending = name.partition(".")  # WebDataset: the key ends at the first dot
    ending = ending.lower()
    if not base or not ending:
        return
    key = f"{folder}/{base}" if folder else base
    if member.offset_data + member.size > path.stat().st_size:
        raise InputError(
            f"{path}: expected {member.size:,} bytes of {member.name[:80]}, got fewer; the file "
            "was cut short, copy it again"
        )
    if f".{ending}" in suffixes():
        sample = index.sample(key, shard, path)
        if sample.place is not None:
            raise InputError(
                f"{path}: expected one picture for each sample, got several for {key}; keep one"
            )
        sample.place = member.offset_data, member.size
    elif ending in ("cls", "json"):
        sample = index.sample(key, shard, path)
        label = _label(path, archive, member, ending)
        sample.label = sample.label if label is None else label


def _label(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo, ending: str) -> Any:
    file = archive.extractfile(member) if member.size <= _LABEL else None
    try:
        text = file.read().decode("utf-8").strip() if file else ""
        if ending == "cls":
            return int(text) if re.fullmatch(r"-?\d{1,18}", text) else text or None
        about = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(
            f"{path}: expected UTF-8 text or JSON in {member.name[:80]}, got something else; "
            "write the label anew"
        ) from None
    if not isinstance(about, dict):
        return None
    return next((about[key] for key in _JSON_KEYS if key in about), None)


def _places(pattern: str, index: _Index) -> list[tuple[int, int, int]]:
    bare = [name for name, sample in index.samples.items() if sample.place is None]
    if bare or not index.samples:
        got = f"{len(bare):,} without one ({', '.join(bare[:3])})" if bare else "no samples"
        raise InputError(
            f"webdataset:{pattern}: expected a picture such as name.jpg in every sample, got "
            f"{got}; add them, or name other shards"
        )
    return [(s.shard, *s.place) for s in index.samples.values() if s.place is not None]
