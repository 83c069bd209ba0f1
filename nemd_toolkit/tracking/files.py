"""Which files of a folder are checkpoints or embeddings to track."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nemd_toolkit.errors import InputError

__all__ = ["Candidate", "Found", "find_sources"]

_WEIGHTS = {".pt", ".pth", ".tar", ".ckpt", ".safetensors", ".bin", ".pt2"}
_MODEL_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in folders
_TABLES = {".npy", ".npz", ".parquet"}  # embeddings, which need no images


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A file, or a folder as Hugging Face saves them, and how it is called on the page."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What may be analysed, and how many other files stood beside it."""

    candidates: tuple[Candidate, ...]
    ignored: int


def find_sources(sources: Sequence[Path], *, images: bool) -> Found:
    """Look into folders (not into folders within them) and take named files as they are.

    In a folder, files count by their suffix: weights, and embeddings where no `images` are given to
    embed; a folder within it counts if it holds weights beside a config.json. Hidden files do not
    count at all. Raises InputError, in one sentence, where there is none, or a name is not there.
    """
    candidates: list[Candidate] = []
    ignored = 0
    for source in sources:
        if not source.exists():
            raise InputError(
                f"{source}: expected a folder of checkpoints, or checkpoints, got nothing there; "
                "check the path"
            )
        if source.is_dir() and not _is_model(source):
            taken, left = _inside(source, images)
            candidates += taken
            ignored += left
        else:
            candidates.append(Candidate(path=source, name=str(source)))
    if not candidates:
        raise InputError(_nothing(sources, ignored, images))
    return Found(candidates=tuple(_distinct(candidates)), ignored=ignored)


def _inside(folder: Path, images: bool) -> tuple[list[Candidate], int]:
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(
            f"{folder}: expected a folder that can be read, got {error.strerror}; check its "
            "permissions"
        ) from None
    suffixes = _WEIGHTS if images else _WEIGHTS | _TABLES
    taken = [
        Candidate(path=entry, name=entry.name)
        for entry in entries
        if (_is_model(entry) if entry.is_dir() else entry.suffix.lower() in suffixes)
    ]
    return taken, sum(not entry.is_dir() for entry in entries) - sum(
        not candidate.path.is_dir() for candidate in taken
    )


def _is_model(path: Path) -> bool:
    """Whether it is a folder with weights beside their configuration."""
    names = [f"{name}{end}" for name in _MODEL_WEIGHTS for end in ("", ".index.json")]
    return (path / "config.json").is_file() and any((path / name).is_file() for name in names)


def _distinct(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Leave out a path that is named twice."""
    return list({candidate.path.resolve(): candidate for candidate in candidates}.values())


def _nothing(sources: Sequence[Path], ignored: int, images: bool) -> str:
    kinds = ", ".join(sorted(_WEIGHTS if images else _WEIGHTS | _TABLES))
    others = f"{ignored} other file{'s' * (ignored != 1)}" if ignored else "no file"
    advice = "name the folder that holds them"
    if images and any(p.suffix.lower() in _TABLES for s in sources for p in s.iterdir()):
        advice = "leave --data out to track embeddings"
    named = ", ".join(map(str, sources))
    return f"{named}: expected checkpoints ({kinds}), got {others}; {advice}"
