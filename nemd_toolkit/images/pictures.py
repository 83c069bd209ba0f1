"""Encoded pictures (PNG, JPEG …) through Pillow, wherever their bytes are kept.

Only formats that Pillow decodes itself are opened; damaged pictures are named and counted.
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nemd_toolkit.errors import InputError
from nemd_toolkit.images.resizing import Sizing, resized_part
from nemd_toolkit.progress import bar

__all__ = ["FORMATS", "DamagedPictures", "Pictures", "suffixes"]

# Pillow's own list has formats that start other programs, such as Ghostscript for EPS.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000", "TGA")
_USUAL_SIZE = (224, 224)  # what ImageNet encoders are trained on
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_UNBOUNDED = ("I", "F")  # 32-bit pixels: nobody says which value is white
_LOOKING = 16  # threads that read headers
_EACH = 32  # headers asked of a thread at a time
_NAMED = 5  # damaged pictures named in an error; the others are counted
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


class DamagedPictures(InputError):
    """Some pictures cannot be decoded; `names` are theirs, of `looked_at` in all.

    >>> str(DamagedPictures("photos", ["a.png"], 3))
    'photos: expected pictures of 8 or 16 bits that Pillow can read, got 1 of 3 damaged or foreign \
(a.png); replace or remove them'
    """

    def __init__(self, where: str, names: Sequence[str], looked_at: int) -> None:
        self.where, self.names, self.looked_at = where, tuple(names), looked_at
        first = ", ".join(self.names[:_NAMED]) + (", …" if len(self.names) > _NAMED else "")
        super().__init__(
            f"{where}: expected pictures of 8 or 16 bits that Pillow can read, got "
            f"{len(self.names):,} of {looked_at:,} damaged or foreign ({first}); "
            "replace or remove them"
        )


class _Header(NamedTuple):
    size: tuple[int, int]  # height, width
    mode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Encoded pictures, numbered 0…len(names)-1.

    `source(i)` gives the file or the bytes of the i-th, in any thread. `where` and `names` say in
    an error which ones are damaged.
    """

    where: str
    names: Sequence[str]
    source: Callable[[int], Path | BytesIO]

    def inspect(self, size: Sizing | None) -> tuple[int, Sizing]:
        """Channels (1 if all are grey, else 3) and the size to read them in.

        That is `size`, or the one size of all, or 224x224. Reads headers only, of all of them.
        Raises DamagedPictures.
        """
        sizes: set[tuple[int, int]] = set()
        damaged, grey = [], True
        with bar("looking at pictures", len(self.names)) as advance:
            for name, header in zip(self.names, self._headers(), strict=True):
                if header is None:
                    damaged.append(name)
                else:
                    sizes.add(header.size)
                    grey = grey and header.mode == "L"
                advance(1)
        if damaged:
            raise DamagedPictures(self.where, damaged, len(self.names))
        usual = sizes.pop() if len(sizes) == 1 else _USUAL_SIZE
        return (1 if grey else 3), size or Sizing(size=usual)

    def _headers(self) -> Iterator[_Header | None]:
        """Headers in the pictures' order, None for damaged ones.

        By threads, for on network storage a header is a round trip.
        """
        rows = range(len(self.names))
        with ThreadPoolExecutor(_LOOKING) as threads:
            for start in rows[:: _LOOKING * _EACH]:
                queued = rows[start : start + _LOOKING * _EACH]
                parts = (queued[first : first + _EACH] for first in range(0, len(queued), _EACH))
                for headers in threads.map(lambda part: [*map(self._header, part)], parts):
                    yield from headers

    def _header(self, row: int) -> _Header | None:
        try:
            with Image.open(self.source(row), formats=FORMATS) as picture:
                _require_bounded(picture)
                return _Header((picture.height, picture.width), picture.mode)
        except _UNREADABLE:
            return None

    def reader(self, channels: int, sizing: Sizing) -> Callable[[Tensor], Tensor]:
        """Give the function from numbers (b,) to float32 pixels (b, c, h, w) in [0, 1].

        It raises DamagedPictures, naming all of the batch that are.
        """

        def read(indices: Tensor) -> Tensor:
            pixels = np.empty((len(indices), *sizing.size, channels), dtype=np.uint8)
            damaged = []
            for place, row in enumerate(indices.tolist()):
                try:
                    with Image.open(self.source(row), formats=FORMATS) as picture:
                        # (h, w) or (h, w, 3) -> (h, w, c)
                        fitted = np.asarray(_fitted(picture, channels, sizing))
                        pixels[place] = fitted.reshape(*sizing.size, channels)
                except _UNREADABLE:
                    damaged.append(self.names[row])
            if damaged:
                raise DamagedPictures(self.where, damaged, len(indices))
            return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255

        return read


def suffixes() -> set[str]:
    """Give the suffixes of the formats that are read, in lower case.

    >>> {".png", ".jpg", ".webp"} <= suffixes(), ".eps" in suffixes()
    (True, False)
    """
    return {s for s, kind in Image.registered_extensions().items() if kind in FORMATS}


def _require_bounded(picture: Image.Image) -> None:
    if picture.mode in _UNBOUNDED:
        raise ValueError(picture.mode)


def _fitted(picture: Image.Image, channels: int, sizing: Sizing) -> Image.Image:
    _require_bounded(picture)
    if picture.mode in _SIXTEEN_BITS:  # Pillow would clip at 255 instead of scaling
        picture = Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))
    if picture.mode == "P":
        picture = picture.convert("RGBA")  # a palette may mark transparency as bytes
    return resized_part(picture.convert("L" if channels == 1 else "RGB"), sizing)
