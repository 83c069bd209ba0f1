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
_CHUNK = 1 << 20


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Array of unsigned bytes with this many dimensions (3: images, 1: labels).

    Raises InputError for a wrong header or length, UnsafeFile for a claim above 4 GiB.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            shape = _shape(path, file.read(4 + 4 * dimensions), dimensions)
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
