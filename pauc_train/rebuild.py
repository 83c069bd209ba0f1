"""From a checkpoint of ours to the method's networks, whatever the method."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch

from nemd_toolkit.checkpoints import shown
from nemd_toolkit.errors import InputError
from pauc_train.config import Config
from pauc_train.data import Pixels
from pauc_train.method import Setup, Training
from pauc_train.methods import method_named
from pauc_train.recipe import load_config
from pauc_train.saving import read_checkpoint, without_prefix

__all__ = ["Rebuilt", "rebuild"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rebuilt:
    """A trained model, with what it was trained on."""

    method: str
    config: Config
    data: str
    pixels: Pixels
    training: Training


def rebuild(path: Path) -> Rebuilt:
    """Read a checkpoint of pauc-train and build its method's networks with its weights.

    Raises InputError for checkpoints of other programs, and for entries that do not fit.
    """
    content = read_checkpoint(path)
    about = content["nemd"]
    try:
        method = method_named(about["method"])
        config = load_config(method.name, None, about["config"])
        pixels = _pixels(about["image"])
        # without memory: a stranger's settings may ask for any size, its tensors have theirs
        with torch.device("meta"):
            training: Training = method.start(
                Setup(
                    config=config,
                    count=int(about["images"]),
                    channels=pixels.channels,
                    size=pixels.size,
                    generator=torch.Generator(),
                    mean=pixels.mean,
                    std=pixels.std,
                )
            )
        training.load_state_dict(without_prefix(content["state_dict"]), assign=True)
        data = _text(about["data"], "data")
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        detail = re.sub(r"\s+", " ", shown(e)).strip()
        raise InputError(
            f"{path}: expected method, config, image, data and state_dict as pauc-train writes "
            f"them, got entries that do not fit ({detail}); give a checkpoint as it wrote it"
        ) from None
    return Rebuilt(
        method=method.name, config=config, data=data, pixels=pixels, training=training.float()
    )


def _text(value: object, name: str) -> str:
    if type(value) is not str:
        raise TypeError(f"{name} {shown(value)}")
    return value


def _pixels(image: Mapping[str, Any]) -> Pixels:
    """Read what `Pixels.plain` gave; raises all kinds of errors for anything else."""
    pixels = Pixels(
        channels=int(image["channels"]),
        size=(int(image["size"][0]), int(image["size"][1])),
        mean=tuple(float(value) for value in image["mean"]),
        std=tuple(float(value) for value in image["std"]),
    )
    if len(pixels.mean) != pixels.channels or len(pixels.std) != pixels.channels:
        raise ValueError(f"image of {pixels.channels} channels, {len(pixels.mean)} means")
    if not all(isfinite(value) for value in pixels.mean) or min(pixels.std) <= 0:
        raise ValueError("image with mean or std that is not finite or not above 0")
    return pixels
