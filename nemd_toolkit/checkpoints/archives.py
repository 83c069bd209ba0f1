"""The zip archives that torch.save and torch.jit.save write: whole, stored, never overlapping."""

import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import torch

from nemd_toolkit.checkpoints.calls import Claim
from nemd_toolkit.checkpoints.content import Container, Content
from nemd_toolkit.checkpoints.pickles import read_pickle
from nemd_toolkit.checkpoints.storages import mapped
from nemd_toolkit.checkpoints.wording import shown
from nemd_toolkit.errors import InputError, UnsafeFile

__all__ = ["GARBAGE", "check_entries", "check_sums", "read_archive"]

_CHUNK = 1 << 22
_LOCAL_HEADER = 30  # bytes before a name in a zip file
_NAME_LENGTHS = slice(26, 30)
# What zipfile raises on damage.
GARBAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    OverflowError,
    RuntimeError,  # NotImplementedError, too: a zip version unknown to Python
    MemoryError,
)


def read_archive(path: Path) -> Content:
    """Read an archive, its tensors mapped from the file.

    Checksums of what is read are compared, so a flipped bit in a weight is found. A TorchScript
    program gives the attributes of its modules; its code is not looked at. Raises InputError for
    damage, UnsafeFile for what torch never writes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            top, container = _top_folder(path, archive.namelist())
            entries = [e for e in archive.infolist() if _of_tensors(e.filename, top)]
            check_entries(path, entries)
            check_sums(path, archive, entries)
            program = BytesIO(archive.read(f"{top}/data.pkl"))
            _check_byte_order(path, archive, f"{top}/byteorder")
            places = {e.filename: (_start(path, e), e.file_size) for e in entries}
    except GARBAGE as error:
        raise InputError(
            f"{path}: expected a whole checkpoint, got a damaged archive ({shown(error)}); "
            "copy or download it again"
        ) from None
    whole = mapped(path)

    def storages(claim: Claim) -> torch.UntypedStorage:
        start, held = places.get(f"{top}/data/{claim.key}", (0, 0))
        if claim.size > held:
            raise UnsafeFile(
                f"{path}: expected {claim.size:,} bytes for storage {shown(claim.key)}, got "
                f"{held:,}; the file is damaged or hostile, download it again"
            )
        return whole(start, claim.size)

    read = read_pickle(program, path, storages)
    return Content(path=path, data=read.value, container=container, stubs=read.stubs)


def _of_tensors(name: str, top: str) -> bool:
    """Whether an entry is read; a TorchScript program has code and constants beside these."""
    return name.startswith(f"{top}/data/") or name in (f"{top}/data.pkl", f"{top}/byteorder")


def check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Refuse packed, encrypted, repeated and overlapping entries: torch writes none."""
    packed = [e.filename for e in entries if e.compress_type != zipfile.ZIP_STORED]
    if packed or any(e.flag_bits & 1 or e.file_size != e.compress_size for e in entries):
        raise UnsafeFile(
            f"{path}: expected stored entries as torch.save writes them, got packed or encrypted "
            f"ones ({shown((packed or ['?'])[0])}); unpack it and save it again with torch.save"
        )
    names = {e.filename for e in entries}
    if len(names) < len(entries):
        raise UnsafeFile(
            f"{path}: expected every entry once, got {len(entries)} entries under {len(names)} "
            "names; the file is hostile, download it again"
        )
    total, size = sum(e.file_size for e in entries), path.stat().st_size
    if total > size:
        raise UnsafeFile(
            f"{path}: expected entries within the file's {size:,} bytes, got {total:,}; the file "
            "is damaged or hostile, download it again"
        )


def check_sums(path: Path, archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> None:
    """Read entries to their end, where zipfile compares checksums; InputError for a wrong one."""
    for entry in entries:
        try:
            with archive.open(entry) as file:
                while file.read(_CHUNK):
                    pass
        except zipfile.BadZipFile as error:
            if "CRC" not in str(error):
                raise
            raise InputError(
                f"{path}: expected intact contents, got a wrong checksum for "
                f"{shown(entry.filename)}; copy or download it again"
            ) from None


def _check_byte_order(path: Path, archive: zipfile.ZipFile, name: str) -> None:
    order = archive.read(name) if name in archive.namelist() else b"little"
    if order != b"little":
        raise InputError(
            f"{path}: expected numbers with the lowest byte first, got the order {shown(order)}; "
            "load and save it again on a usual machine"
        )


def _start(path: Path, entry: zipfile.ZipInfo) -> int:
    """Where an entry's bytes begin: its own header may be longer than the directory says."""
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        name, extra = struct.unpack("<HH", file.read(_LOCAL_HEADER)[_NAME_LENGTHS])
    return int(entry.header_offset + _LOCAL_HEADER + name + extra)


def _top_folder(path: Path, names: list[str]) -> tuple[str, Container]:
    tops = {name.split("/", 1)[0] for name in names}
    top = next(iter(tops), "")
    if len(tops) != 1 or names.count(f"{top}/data.pkl") != 1:
        raise InputError(
            f"{path}: expected an archive written by torch.save, got another zip file without "
            "one data.pkl in one folder; give the checkpoint itself"
        )
    return top, "torchscript" if f"{top}/constants.pkl" in names else "zip"
