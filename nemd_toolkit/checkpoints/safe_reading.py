"""Reading .pt, .pth, .tar, .ckpt and .safetensors files without running anything of theirs.

The kind of file is taken from its first bytes, not from its name. torch files are followed on
stand-ins first (`pickles`), then read by torch's own restricted reader; two locks, not one.
"""

import argparse
import hashlib
import pickle
import struct
import warnings
from collections.abc import Callable
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from nemd_toolkit.checkpoints.archives import check_archive
from nemd_toolkit.checkpoints.content import Container, Content
from nemd_toolkit.checkpoints.exported import is_exported, read_exported
from nemd_toolkit.checkpoints.folders import read_folder, weight_files
from nemd_toolkit.checkpoints.pickles import follow_pickle
from nemd_toolkit.checkpoints.wording import shown
from nemd_toolkit.errors import InputError, UnsafeFile

__all__ = ["read_content", "sha256"]

_ZIP = b"PK\x03\x04"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first object in files of torch < 1.6
_CHUNK = 1 << 22
# What torch and pickle raise on damaged files.
_GARBAGE = (
    pickle.UnpicklingError,
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
    """Read a torch or safetensors file, or a folder of Hugging Face or timm, onto the CPU.

    Raises InputError for missing, empty, foreign or damaged files, and UnsafeFile (an InputError)
    for files that ask for code or claim more than they hold; nothing of those is run.
    """
    path = Path(path)
    if path.is_dir():
        return read_folder(path, read_content)
    read, container = _reader(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pickletools and torch remark on damaged bytes
            return Content(path=path, data=read(path), container=container)
    except _GARBAGE as error:
        said = str(error).rpartition("WeightsUnpickler error:")[2]  # torch puts advice around it
        raise InputError(
            f"{path}: expected a readable checkpoint, got a damaged one "
            f"({type(error).__name__}: {shown(said)}); copy or download it again"
        ) from None


def sha256(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file, or of the weights in a folder, read in pieces.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as empty:
    ...     sha256(empty.name)[:8]
    'e3b0c442'
    """
    path = Path(path)
    digest = hashlib.sha256()
    for each in weight_files(path) if path.is_dir() else [path]:
        with each.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _reader(path: Path) -> tuple[Callable[[Path], Any], Container]:
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
        return (read_exported, "torch.export") if is_exported(path) else (_read_zip, "zip")
    if len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        return _read_safetensors, "safetensors"
    return _read_legacy, "legacy"


def _read_zip(path: Path) -> Any:
    check_archive(path)
    return _torch_load(path, mapped=True)


def _read_safetensors(path: Path) -> Any:
    return safetensors.torch.load_file(path, device="cpu")


def _read_legacy(path: Path) -> Any:
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as stream:
        # magic number, protocol version, system, object, keys; storages follow as plain bytes
        first, _ = follow_pickle(stream, path)
        if first != _LEGACY_MAGIC:
            raise InputError(
                f"{path}: expected a checkpoint saved by torch.save or safetensors, got a plain "
                "pickle; save it with torch.save"
            )
        follow_pickle(stream, path)
        follow_pickle(stream, path)
        _, claims = follow_pickle(stream, path)
        follow_pickle(stream, path)
        claimed, left = sum(claim.size for claim in claims.values()), len(stream) - stream.tell()
    if claimed > left:
        raise UnsafeFile(
            f"{path}: expected {claimed:,} bytes of tensors, got {left:,}; the file is damaged or "
            "hostile, download it again"
        )
    return _torch_load(path, mapped=False)


def _torch_load(path: Path, *, mapped: bool) -> Any:
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(str(path), map_location="cpu", weights_only=True, mmap=mapped)
