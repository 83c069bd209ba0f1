"""Whose checkpoint is it? One function per layout; the first that knows the keys answers.

PCL and MoCo: github.com/salesforce/PCL, main_pcl.py. pauc-train writes the same keys and adds what
they leave out under `nemd`.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from nemd_toolkit.checkpoints.safe_reading import Content
from nemd_toolkit.checkpoints.training_log import TrainingLog, read_log
from nemd_toolkit.checkpoints.wording import shown
from nemd_toolkit.errors import InputError

__all__ = ["LAYOUTS", "ImageInfo", "OwnPrototypes", "Reading", "describe_contents"]

State = Mapping[str, Tensor]
_FORMAT = "pauc-train/1"
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_IMAGENET_SIZE = (224, 224)
_SMALL_STEM = 3  # kernel
_LARGEST_SIDE = 8192  # pixels; more would only fill the memory
_RESNET_KEY = re.compile(r"(conv1|bn1|layer\d+|fc)\.")
_WRAPPERS = ("state_dict", "model")
_RESNET_PREFIXES = tuple(
    f"{outer}{inner}" for outer in ("", "module.") for inner in ("", "backbone.", "encoder.")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """What an encoder expects of its input; pixels in [0, 1] before mean and std."""

    channels: int
    size: tuple[int, int] | None  # height, width; None: the file does not tell
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OwnPrototypes:
    """One clustering that a checkpoint carries along."""

    k: int
    centroids: Float[Tensor, "k d"]
    assignment: Int[Tensor, " n"]  # 0…k-1 for every training image
    phi: Float[Tensor, " k"]  # concentrations


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """What a layout function found; fields as in `Checkpoint`."""

    why: str
    image: ImageInfo
    branches: Mapping[str, State]
    default_branch: str
    arch: str | None = None
    epoch: int | None = None
    method: str | None = None
    data: str | None = None
    prototypes: tuple[OwnPrototypes, ...] = ()
    log: TrainingLog | None = None


def _pauc_train(content: Content) -> Reading | None:
    extra = content.data.get("nemd") if isinstance(content.data, Mapping) else None
    if not isinstance(extra, Mapping) or "format" not in extra:
        return None
    if extra["format"] != _FORMAT:
        raise InputError(
            f"{content.path}: expected a checkpoint of format {_FORMAT}, got "
            f"{shown(extra['format'])}; update nemd-toolkit"
        )
    branches = _momentum_branches(content)
    if not branches:
        return None
    try:
        return Reading(
            why=f"it says nemd.format = {_FORMAT}",
            arch=_text(content.data.get("arch")),
            epoch=_whole(content.data.get("epoch")),
            method=_text(extra.get("method")),
            data=_text(extra.get("data")),
            image=_image_info(extra["image"]),
            branches=branches,
            default_branch=_momentum_default(branches),
            prototypes=tuple(_own_prototypes(entry) for entry in extra.get("prototypes") or ()),
            log=read_log(extra, content.path),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{content.path}: expected image and prototypes under nemd as pauc-train writes them, "
            f"got an entry that does not fit ({shown(error)}); save the checkpoint again"
        ) from None


def _momentum_contrast(content: Content) -> Reading | None:
    branches = _momentum_branches(content)
    if not branches:
        return None
    default = _momentum_default(branches)
    return Reading(
        why=f"its keys begin with encoder_q. {'and encoder_k.' if default == 'key' else 'only'}",
        arch=_text(content.data.get("arch")),
        epoch=_whole(content.data.get("epoch")),
        image=_usual_image(branches[default]),
        branches=branches,
        default_branch=default,
    )


def _resnet(content: Content) -> Reading | None:
    state = _state_dict(content)
    for prefix in _RESNET_PREFIXES:
        if f"{prefix}conv1.weight" in state and f"{prefix}layer1.0.conv1.weight" in state:
            branch = {k: v for k, v in _below(state, prefix).items() if _RESNET_KEY.match(k)}
            left = len(state) - len(branch)
            beside = f"; {left} other entries are left out" if left else ""
            return Reading(
                why=f"it holds {prefix}conv1.weight and {prefix}layer1.0.conv1.weight{beside}",
                arch=_text(content.data.get("arch")),
                epoch=_whole(content.data.get("epoch")),
                image=_usual_image(branch),
                branches={"encoder": branch},
                default_branch="encoder",
            )
    return None


# In order: a layout that says its name comes before those that are guessed from keys.
LAYOUTS: dict[str, Callable[[Content], Reading | None]] = {
    _FORMAT: _pauc_train,
    "pcl/moco": _momentum_contrast,
    "resnet": _resnet,
}


def describe_contents(content: Content) -> str:
    """Say in a few words what a file holds, for messages.

    >>> import torch
    >>> from pathlib import Path
    >>> state = {"module.vit.norm": torch.ones(1), "module.vit.cls": torch.ones(1)}
    >>> describe_contents(Content(path=Path("a.pt"), data={"state_dict": state, "epoch": 3}))
    'the keys module.vit.* (2)'
    """
    if not isinstance(content.data, Mapping):
        return f"a {type(content.data).__name__}"
    keys = [str(key) for key in _state_dict(content) or content.data]
    if not keys:
        return "no keys"
    depth = 2 if all(key.startswith("module.") for key in keys) else 1
    families = Counter(shown(".".join(key.split(".")[:depth])) for key in keys)
    most = ", ".join(f"{name}.* ({count})" for name, count in families.most_common(6))
    return f"the keys {most}" + (" and others" if len(families) > 6 else "")


def _state_dict(content: Content) -> State:
    """Tensors by name, from the file itself or from one of its usual wrappers."""
    data = content.data
    if not isinstance(data, Mapping):
        return {}
    inside = next((data[name] for name in _WRAPPERS if isinstance(data.get(name), Mapping)), data)
    return {k: v for k, v in inside.items() if isinstance(k, str) and isinstance(v, Tensor)}


def _below(state: State, prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _momentum_branches(content: Content) -> dict[str, State]:
    state = _state_dict(content)
    state = _below(state, "module.") or state
    found = {"query": _below(state, "encoder_q."), "key": _below(state, "encoder_k.")}
    return {name: branch for name, branch in found.items() if branch}


def _momentum_default(branches: Mapping[str, State]) -> str:
    return "key" if "key" in branches else "query"  # PCL clusters what the key encoder gives


def _usual_image(branch: State) -> ImageInfo:
    """ImageNet's, as these files do not say; a 3x3 stem speaks for small images of unknown size."""
    stem = branch.get("conv1.weight")
    channels, kernel = (3, 7) if stem is None or stem.ndim != 4 else stem.shape[1:3]
    grey = channels != len(_IMAGENET_MEAN)
    mean, std = _IMAGENET_MEAN, _IMAGENET_STD
    return ImageInfo(
        channels=channels,
        size=None if kernel == _SMALL_STEM else _IMAGENET_SIZE,
        mean=(sum(mean) / 3,) * channels if grey else mean,
        std=(sum(std) / 3,) * channels if grey else std,
    )


def _image_info(entry: Mapping[str, Any]) -> ImageInfo:
    height, width = (int(length) for length in entry["size"])
    info = ImageInfo(
        channels=int(entry["channels"]),
        size=(height, width),
        mean=tuple(float(value) for value in entry["mean"]),
        std=tuple(float(value) for value in entry["std"]),
    )
    if not len(info.mean) == len(info.std) == info.channels:
        raise ValueError(f"mean {info.mean}, std {info.std} for {info.channels} channels")
    if not all(0 < std < inf for std in info.std) or not all(map(isfinite, info.mean)):
        raise ValueError(f"mean {info.mean}, std {info.std}")
    if not 1 <= min(height, width) <= max(height, width) <= _LARGEST_SIDE:
        raise ValueError(f"size {height}x{width}")
    return info


def _own_prototypes(entry: Mapping[str, Any]) -> OwnPrototypes:
    k, centroids = int(entry["k"]), entry["centroids"]
    assignment, phi = entry["assignment"], entry["phi"]
    if (
        centroids.ndim != 2
        or len(centroids) != k
        or tuple(phi.shape) != (k,)
        or assignment.ndim != 1
    ):
        raise ValueError(f"prototypes of shapes {tuple(centroids.shape)}, {tuple(phi.shape)}")
    if len(assignment) and not 0 <= int(assignment.min()) <= int(assignment.max()) < k:
        raise ValueError(f"assignments outside 0…{k - 1}")
    return OwnPrototypes(
        k=k, centroids=centroids.float(), assignment=assignment.long(), phi=phi.float()
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
