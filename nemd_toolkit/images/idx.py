"""The IDX format of MNIST and its relatives, plain or gzipped.

The header says how many bytes follow; nothing is allocated or unpacked beyond that number.
"""

import gzip
import math
import struct
import zlib
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nemd_toolkit.errors import InputError, UnsafeFile

__all__ = ["read_idx"]

_BYTES = 0x08  # the type code of unsigned bytes, the only one in use for images and labels
_LARGEST = 4 << 30  # bytes; the largest relative, EMNIST by class, has 0.6 GB
_UNPACKED = 64 << 20  # bytes from which a gzipped file must not shrink…
_RATIO = 100  # …to less than one part in this many: real images never do
_CHUNK = 1 << 20


def read_idx(path: Path, entry: tuple[int, ...]) -> NDArray[np.uint8]:
    """Array (n, *entry) of unsigned bytes: entry is (28, 28) for images, () for labels.

    Raises InputError for a wrong header or length, UnsafeFile for claims above 4 GiB or out of all
    proportion to the file.
    """
    dimensions = 1 + len(entry)
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            shape = _shape(path, file.read(4 + 4 * dimensions), dimensions)
            _require(path, shape, entry)
            body = _exactly(path, file, math.prod(shape))
    except (OSError, EOFError, zlib.error) as error:  # BadGzipFile is an OSError
        raise InputError(
            f"{path}: expected a readable IDX file, got {error}; copy or download it again"
        ) from None
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def _shape(path: Path, header: bytes, dimensions: int) -> tuple[int, ...]:
    magic = bytes((0, 0, _BYTES, dimensions))
    if len(header) < 4 + 4 * dimensions or header[:4] != magic:
        raise InputError(
            f"{path}: expected an IDX file of bytes in {dimensions} dimension(s) "
            f"(magic {magic.hex()}), got {header[:4].hex() or 'an empty file'}; "
            "check that images and labels are not swapped, or download it again"
        )
    shape = struct.unpack(f">{dimensions}I", header[4:])
    if math.prod(shape) > _LARGEST:
        raise UnsafeFile(
            f"{path}: expected at most 4 GiB, got a header that claims "
            f"{' x '.join(map(str, shape))} bytes; the file is damaged or hostile, "
            "download it again"
        )
    if 0 in shape:
        raise InputError(
            f"{path}: expected at least one entry, got a header that says "
            f"{' x '.join(map(str, shape))}; download it again"
        )
    return shape


def _require(path: Path, shape: tuple[int, ...], entry: tuple[int, ...]) -> None:
    if shape[1:] != entry:
        raise InputError(
            f"{path}: expected entries of {' x '.join(map(str, entry))}, got "
            f"{' x '.join(map(str, shape[1:]))}; the file is another data set's"
        )
    size = path.stat().st_size
    if path.suffix == ".gz" and math.prod(shape) > max(_UNPACKED, _RATIO * size):
        raise UnsafeFile(
            f"{path}: expected at most {_RATIO} times its {size:,} bytes after the header, got a "
            f"header that claims {math.prod(shape):,}; the file is damaged or hostile, "
            "download it again"
        )


def _exactly(path: Path, file: BufferedIOBase, claimed: int) -> bytearray:
    body = bytearray()  # grows with what really arrives, not with what the header claims
    while len(body) <= claimed:
        chunk = file.read(min(_CHUNK, claimed + 1 - len(body)))
        if not chunk:
            break
        body += chunk
    if len(body) != claimed:
        got = "more" if len(body) > claimed else f"{len(body):,}"
        raise InputError(
            f"{path}: expected {claimed:,} bytes after the header, got {got}; "
            "the file is damaged, download it again"
        )
    return body
