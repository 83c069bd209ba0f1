"""The archives that torch.export.save writes: weights as plain bytes, described in JSON.

The program (models/*.json) and the pickled sample inputs beside them are never read.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nemd_toolkit.checkpoints.archives import GARBAGE, check_entries, check_sums
from nemd_toolkit.checkpoints.content import Content
from nemd_toolkit.checkpoints.wording import shown
from nemd_toolkit.errors import InputError, UnsafeFile

__all__ = ["is_exported", "read_exported"]

_FOLDER = "data/weights/"
_CONFIG = "_weights_config.json"
_STRIDED = 7  # torch._export.serde.schema.Layout
# torch._export.serde.schema.ScalarType
_DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
_MOST_DIMENSIONS = 16


def is_exported(path: Path) -> bool:
    """Whether a zip archive says that torch.export wrote it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(
                name.count("/") == 1 and name.endswith("/archive_format")
                for name in archive.namelist()
            )
    except GARBAGE:
        return False


def read_exported(path: Path) -> Content:
    """Read the state dict of an exported program; nothing else in the archive is looked at.

    Raises InputError for damage and for weights that torch.export pickled, UnsafeFile for
    tensors that claim more than the archive holds.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_entries(path, archive.infolist())
            check_sums(path, archive, archive.infolist())
            top = archive.namelist()[0].partition("/")[0]
            if archive.read(f"{top}/byteorder").strip() != b"little":
                raise InputError(
                    f"{path}: expected weights in little-endian order, got another; export it "
                    "again on a little-endian machine"
                )
            data = {"state_dict": _state_dict(path, archive, top)}
            return Content(path=path, data=data, container="torch.export")
    except (*GARBAGE, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: expected an archive written by torch.export.save, got one that does not fit "
            f"({type(error).__name__}: {shown(error)}); save model.state_dict() with torch.save"
        ) from None


def _state_dict(path: Path, archive: zipfile.ZipFile, top: str) -> dict[str, Tensor]:
    start = f"{top}/{_FOLDER}"
    configs = [
        name for name in archive.namelist() if name.startswith(start) and name.endswith(_CONFIG)
    ]
    if len(configs) != 1:
        raise InputError(
            f"{path}: expected the weights of one exported program, got those of {len(configs)}; "
            "save model.state_dict() with torch.save"
        )
    entries: Mapping[str, Any] = json.loads(archive.read(configs[0]))["config"]
    held: dict[str, bytearray] = {}
    found: dict[str, Tensor] = {}
    for name, entry in entries.items():
        if entry["use_pickle"]:
            raise InputError(
                f"{path}: expected weights as plain bytes, got {shown(name)} pickled; save "
                "model.state_dict() with torch.save"
            )
        file = entry["path_name"]
        if file not in held:
            held[file] = bytearray(archive.read(start + file))
        found[name] = _tensor(path, name, entry["tensor_meta"], held[file])
    return found


def _tensor(path: Path, name: str, meta: Mapping[str, Any], held: bytearray) -> Tensor:
    """View the bytes as the tensor that is described, within their bounds."""
    dtype = _DTYPES[meta["dtype"]]
    sizes = [_whole(size) for size in meta["sizes"]]
    strides = [_whole(stride) for stride in meta["strides"]]
    offset = _whole(meta["storage_offset"])
    if meta["layout"] != _STRIDED or len(sizes) != len(strides) or len(sizes) > _MOST_DIMENSIONS:
        raise ValueError(f"{name} of sizes {sizes} and strides {strides}")
    count = len(held) // dtype.itemsize
    numel, last = 1, offset
    for size, stride in zip(sizes, strides, strict=True):
        numel *= size
        last += max(size - 1, 0) * stride
    if numel == 0:
        return torch.empty(0, dtype=dtype).reshape(sizes)
    if numel > count or last >= count:
        raise UnsafeFile(
            f"{path}: expected {shown(name)} within its {count:,} numbers, got {numel:,} up to "
            f"number {last + 1:,}; the file is damaged or hostile, download it again"
        )
    storage = torch.frombuffer(held, dtype=dtype, count=count)
    return storage.as_strided(sizes, strides, offset)


def _whole(value: Any) -> int:
    number = value["as_int"]
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ValueError(f"a size or stride of {number}")
    return number
