"""The input as config.json (timm) or preprocessor_config.json (transformers) states it."""

from collections.abc import Mapping
from dataclasses import replace
from math import floor
from typing import Any, Literal

from nemd_toolkit.checkpoints.content import Content
from nemd_toolkit.checkpoints.layouts.inputs import checked_image
from nemd_toolkit.checkpoints.layouts.parts import ImageInfo
from nemd_toolkit.checkpoints.wording import shown
from nemd_toolkit.errors import InputError

__all__ = ["configured", "timm_image"]

_BICUBIC = 3  # PIL.Image.Resampling
_WARPED = 384  # ConvNextImageProcessor squeezes images to this size and larger ones, uncropped


def configured(image: ImageInfo, content: Content) -> ImageInfo:
    """Replace what is usual by what the folder states.

    Raises InputError where it states what cannot be.
    """
    data = content.data
    timm = data["config"].get("pretrained_cfg", data["config"])
    try:
        if data["preprocessor"]:
            return checked_image(_transformers(image, data["preprocessor"], data["config"]))
        if isinstance(timm, Mapping) and "mean" in timm and "std" in timm:
            return timm_image(image, timm)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(
            f"{content.path}: expected mean, std and size of images as timm and transformers write "
            f"them into config.json or preprocessor_config.json, got others ({shown(error)}); "
            "download the folder again"
        ) from None
    return image


def timm_image(image: ImageInfo, config: Mapping[str, Any]) -> ImageInfo:
    """Replace what is usual by what timm's configuration of a model states.

    >>> usual = ImageInfo(channels=3, size=None, mean=(0.0,) * 3, std=(1.0,) * 3)
    >>> config = {"input_size": (3, 8, 8), "mean": (0.5,) * 3, "std": (0.5,) * 3, "crop_pct": 0.9}
    >>> timm_image(usual, config).size, timm_image(usual, config).resize
    ((8, 8), 8)
    """
    channels, height, width = (int(length) for length in config["input_size"])
    shown_part = float(config.get("crop_pct") or 0.875)
    found = replace(
        image,
        channels=channels,
        size=(height, width),
        mean=tuple(float(value) for value in config["mean"]),
        std=tuple(float(value) for value in config["std"]),
        resize=floor(min(height, width) / shown_part),
        interpolation=_interpolation(bicubic=config.get("interpolation") == "bicubic"),
        squeezed=config.get("crop_mode") == "squash" and shown_part == 1.0,
        normalised=True,
    )
    return checked_image(found)


def _transformers(
    image: ImageInfo, entry: Mapping[str, Any], config: Mapping[str, Any]
) -> ImageInfo:
    """Read what ViT's, ConvNeXT's (for ResNets) and BiT's (for DINOv2) image processors keep."""
    size, resize, squeezed = _sides(entry)
    mean, std = entry.get("image_mean"), entry.get("image_std")
    if entry.get("do_normalize") is False:
        mean, std = [0.0] * image.channels, [1.0] * image.channels
    told = mean is not None and std is not None
    return replace(
        image,
        channels=int(config.get("num_channels", image.channels)),
        size=size or image.size,
        resize=resize if size else image.resize,
        squeezed=squeezed,
        mean=tuple(float(value) for value in mean) if mean is not None else image.mean,
        std=tuple(float(value) for value in std) if std is not None else image.std,
        interpolation=_interpolation(bicubic=entry.get("resample", _BICUBIC) == _BICUBIC),
        normalised=image.normalised or told,
    )


def _sides(entry: Mapping[str, Any]) -> tuple[tuple[int, int] | None, int | None, bool]:
    """Size that is cut out, that of the shorter side before, and whether nothing is cut off."""
    size, crop = entry.get("size"), entry.get("crop_size")
    edge = size.get("shortest_edge") if isinstance(size, Mapping) else size
    if crop is not None and entry.get("do_center_crop", True):
        cut = _pair(crop)
        return cut, int(edge) if edge is not None else min(_pair(size)) if size else None, False
    if "crop_pct" in entry and edge is not None:
        side = int(edge)
        part = entry["crop_pct"] or 0.875
        squeezed = side >= _WARPED
        return (side, side), side if squeezed else floor(side / part), squeezed
    if size is None:
        return None, None, False
    return _pair(size), None, not isinstance(size, Mapping) or "height" in size


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, Mapping):
        edge = size.get("shortest_edge")
        return (int(size.get("height", edge)), int(size.get("width", edge)))
    return (int(size), int(size))


def _interpolation(*, bicubic: bool) -> Literal["bilinear", "bicubic"]:
    return "bicubic" if bicubic else "bilinear"
