"""Reading .pt, .pth, .tar, .ckpt and .safetensors files without running anything of theirs.

The kind of file is taken from its first bytes, not from its name. Pickles are read by
a machine of ours that imports and calls nothing (`pickles`); tensors are mapped from the file.
"""

import hashlib
import struct
import warnings
from collections.abc import Callable, Mapping, Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError

from nemd_toolkit.checkpoints.archives import read_archive
from nemd_toolkit.checkpoints.calls import Claim
from nemd_toolkit.checkpoints.content import Content
from nemd_toolkit.checkpoints.exported import is_exported, read_exported
from nemd_toolkit.checkpoints.folders import read_folder, weight_files
from nemd_toolkit.checkpoints.pickles import read_pickle
from nemd_toolkit.checkpoints.storages import mapped
from nemd_toolkit.checkpoints.wording import shown
from nemd_toolkit.errors import InputError, UnsafeFile

__all__ = ["read_content", "sha256"]

_ZIP = b"PK\x03\x04"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first object in files of torch < 1.6
_CHUNK = 1 << 22
# What torch and pickle raise on damaged files.
_GARBAGE = (
    SafetensorError,
    OSError,
    EOFError,
    RuntimeError,  # RecursionError and NotImplementedError, too
    ValueError,  # UnicodeDecodeError, too
    KeyError,
    IndexError,
    AttributeError,
    TypeError,
    AssertionError,
    OverflowError,
    MemoryError,
    struct.error,
)


def read_content(path: Path | str) -> Content:
    """Read a torch or safetensors file onto the CPU.

    Raises InputError for missing, empty, foreign or damaged files, and UnsafeFile (an InputError)
    for files that ask for code or claim more than they hold; nothing of those is run.
    """
    path = Path(path)
    if path.is_dir():
        return read_folder(path, read_content)
    read = _reader(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pickletools remarks on damaged bytes
            return read(path)
    except _GARBAGE as error:
        raise InputError(
            f"{path}: expected a readable checkpoint, got a damaged one "
            f"({type(error).__name__}: {shown(error)}); copy or download it again"
        ) from None


def sha256(path: Path | str, files: Sequence[Path] | None = None) -> str:
    """Hexadecimal SHA-256 of a file, or of the weights or given files in a folder, in pieces.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as empty:
    ...     sha256(empty.name)[:8]
    'e3b0c442'
    """
    path = Path(path)
    digest = hashlib.sha256()
    for each in files or (weight_files(path) if path.is_dir() else [path]):
        with each.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _reader(path: Path) -> Callable[[Path], Content]:
    try:
        if not path.is_file():
            raise InputError(f"{path}: expected a file, got no file; check the path")
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise InputError(
            f"{path}: expected a readable file, got {error.strerror}; check its permissions"
        ) from None
    if not size:
        raise InputError(f"{path}: expected a checkpoint, got an empty file; copy it again")
    if head.startswith(_ZIP):
        return read_exported if is_exported(path) else read_archive
    if len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        return _read_safetensors
    return _read_legacy


def _read_safetensors(path: Path) -> Content:
    data = safetensors.torch.load_file(path, device="cpu")
    return Content(path=path, data=data, container="safetensors")


def _read_legacy(path: Path) -> Content:
    """Read a file of torch < 1.6: magic number, protocol, system, object, keys, then storages."""
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as stream:
        if read_pickle(stream, path).value != _LEGACY_MAGIC:
            raise InputError(
                f"{path}: expected a checkpoint saved by torch.save or safetensors, got a plain "
                "pickle, which is not executed; load it where you trust it, and save the "
                "network's state dict with torch.save (Haiku's BYOL needs a converter to PyTorch)"
            )
        read_pickle(stream, path)
        system = read_pickle(stream, path).value
        if isinstance(system, dict) and system.get("little_endian") is False:
            raise InputError(
                f"{path}: expected numbers with the lowest byte first, got the highest first; "
                "load and save it again on a usual machine"
            )
        start = stream.tell()
        claims = read_pickle(stream, path).claims
        keys = read_pickle(stream, path).value
        places = _places(stream, path, keys, claims)
        whole = mapped(path)
        stream.seek(start)
        read = read_pickle(stream, path, lambda claim: whole(*places[claim.key]))
    return Content(path=path, data=read.value, container="legacy", stubs=read.stubs)


def _places(
    stream: mmap, path: Path, keys: Any, claims: Mapping[str | int, Claim]
) -> dict[str | int, tuple[int, int]]:
    """Find where each storage's bytes are, behind a count of its elements."""
    claimed, left = sum(claim.size for claim in claims.values()), len(stream) - stream.tell()
    if claimed > left:
        raise UnsafeFile(
            f"{path}: expected {claimed:,} bytes of tensors, got {left:,}; the file is damaged or "
            "hostile, download it again"
        )
    found, place = {}, stream.tell()
    for key in keys:
        claim = claims[key]
        if int.from_bytes(stream[place : place + 8], "little") != claim.count:
            raise UnsafeFile(
                f"{path}: expected {claim.count:,} elements in storage {shown(key)}, got another "
                "number; the file is damaged, download it again"
            )
        found[key] = (place + 8, claim.size)
        place += 8 + claim.size
    return found
