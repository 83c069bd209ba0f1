"""The zip archives that torch.save writes: entries are stored, never packed, never overlapping."""

import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

from nemd_toolkit.checkpoints.pickles import follow_pickle
from nemd_toolkit.checkpoints.wording import shown
from nemd_toolkit.errors import InputError, UnsafeFile

__all__ = ["GARBAGE", "check_archive", "check_entries"]

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


def check_archive(path: Path) -> None:
    """Check that the archive is whole and that its pickle asks for no more than it holds.

    Every entry's checksum is compared, so a flipped bit in a weight is found. Raises InputError
    for damage, UnsafeFile for what torch.save never writes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_entries(path, archive.infolist())
            broken = archive.testzip()
            names = {info.filename: info.file_size for info in archive.infolist()}
            top = _top_folder(path, list(names))
            program = BytesIO(archive.read(f"{top}/data.pkl"))
    except GARBAGE as error:
        raise InputError(
            f"{path}: expected a whole checkpoint, got a damaged archive ({shown(error)}); "
            "copy or download it again"
        ) from None
    if broken is not None:
        raise InputError(
            f"{path}: expected intact contents, got a wrong checksum for {shown(broken)}; "
            "copy or download it again"
        )
    _, claims = follow_pickle(program, path)
    for key, claim in claims.items():
        held = names.get(f"{top}/data/{key}", 0)
        if claim.size > held:
            raise UnsafeFile(
                f"{path}: expected {claim.size:,} bytes for storage {shown(key)}, got {held:,}; "
                "the file is damaged or hostile, download it again"
            )


def check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Refuse packed, encrypted, repeated and overlapping entries: torch writes none."""
    packed = [e.filename for e in entries if e.compress_type != zipfile.ZIP_STORED]
    if packed or any(e.flag_bits & 1 or e.file_size != e.compress_size for e in entries):
        raise UnsafeFile(
            f"{path}: expected stored entries as torch.save writes them, got packed or encrypted "
            f"ones ({shown((packed or ['?'])[0])}); unpack it and save it again with torch.save"
        )
    names = {e.filename.lower() for e in entries}  # torch looks names up regardless of case
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


def _top_folder(path: Path, names: list[str]) -> str:
    tops = {name.split("/", 1)[0] for name in names}
    top = next(iter(tops), "")
    if len(tops) != 1 or names.count(f"{top}/data.pkl") != 1:
        raise InputError(
            f"{path}: expected an archive written by torch.save, got another zip file without "
            "one data.pkl in one folder; give the checkpoint itself"
        )
    if f"{top}/constants.pkl" in names:
        raise InputError(
            f"{path}: expected a state dict, got a TorchScript program; save model.state_dict()"
        )
    return top
