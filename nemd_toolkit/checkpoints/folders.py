"""Folders as Hugging Face and timm save them: weights beside config.json."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nemd_toolkit.checkpoints.content import Content
from nemd_toolkit.checkpoints.layouts.names import tensors
from nemd_toolkit.checkpoints.wording import shown
from nemd_toolkit.errors import InputError

__all__ = ["read_folder", "weight_files"]

# The first that a folder holds; those with an index name the files that hold the weights.
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_LARGEST_JSON = 1 << 26  # bytes; an index of many thousand tensors has some megabytes


def read_folder(path: Path, read: Callable[[Path], Content]) -> Content:
    """Read a folder: tensors below `state_dict`, config.json and preprocessor_config.json parsed.

    `read` reads one file. Raises InputError for folders without weights and for damaged files.
    """
    files = weight_files(path)
    contents = [read(file) for file in files]
    state: dict[str, Any] = {}
    for content in contents:
        state |= tensors(content.data)
    missing = [name for name in _named_in_index(path) if name not in state]
    if missing:
        raise InputError(
            f"{path}: expected {shown(missing[0])} and all other tensors of the index, got files "
            f"without {len(missing)} of them; copy or download the folder again"
        )
    config = _object(path / "config.json")
    arch = config.get("architecture")  # timm's; transformers' is in the settings
    return Content(
        path=path,
        data={
            "state_dict": state,
            "config": config,
            "preprocessor": _object(path / "preprocessor_config.json"),
            **({"arch": arch} if isinstance(arch, str) else {}),
        },
        container="folder",
        stubs=tuple(stub for content in contents for stub in content.stubs),
    )


def weight_files(path: Path) -> list[Path]:
    """Give the files of a folder that hold its weights.

    Raises InputError if there are none, or if an index names a file outside or a missing one.
    """
    first = _weights(path)
    if first.suffix != ".json":
        return [first]
    names = sorted(set(_weight_map(first).values()))
    for name in names:
        if Path(name).name != name or not (path / name).is_file():
            raise InputError(
                f"{first}: expected names of files in the same folder, got {shown(name)}, which is "
                "not there; copy or download the whole folder"
            )
    return [path / name for name in names]


def _weights(path: Path) -> Path:
    found = next((path / name for name in _WEIGHTS if (path / name).is_file()), None)
    if found is None:
        raise InputError(
            f"{path}: expected a file, or a folder that holds model.safetensors or "
            "pytorch_model.bin, got a folder without them; give the checkpoint itself"
        )
    return found


def _named_in_index(path: Path) -> list[str]:
    first = _weights(path)
    return list(_weight_map(first)) if first.suffix == ".json" else []


def _weight_map(index: Path) -> dict[str, str]:
    found = _object(index).get("weight_map")
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
        raise InputError(
            f"{index}: expected file names under weight_map, got none; copy or download it again"
        )
    return found


def _object(path: Path) -> dict[str, Any]:
    """Parse a JSON file; a missing one is empty."""
    try:
        if not path.is_file():
            return {}
        size = path.stat().st_size
        found = json.loads(path.read_bytes() if size <= _LARGEST_JSON else b"")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: expected JSON, got what is none ({shown(error)}); copy or download it again"
        ) from None
    if not isinstance(found, dict):
        raise InputError(
            f"{path}: expected a JSON object, got a {type(found).__name__}; copy or download it "
            "again"
        )
    return found
