"""From a state dict with torchvision's names to the ResNet it belongs to."""

import re
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from nemd_toolkit.encoders.resnet import Bottleneck, ResNet, ResNetShape
from nemd_toolkit.errors import InputError

__all__ = ["resnet_from_state_dict"]

_KEYS_PER_BLOCK = 6  # at least: a basic block's two convolutions and norms have more
_STEMS: dict[tuple[int, ...], Literal["imagenet", "small"]] = {(7, 7): "imagenet", (3, 3): "small"}


def resnet_from_state_dict(state_dict: Mapping[str, Tensor]) -> ResNet:
    """Build the ResNet that these names and shapes describe, and load them, leaving none out.

    Block kind, blocks per stage, width, channels, stem and head are inferred. A 3x3 stem is taken
    to come without max-pool, as is usual for small images: shapes do not tell. Raises InputError
    if a key is missing, left over, or of another shape (ResNets of other stems are such cases).

    >>> net = ResNet(ResNetShape(blocks=(1, 2), width=4, head="mlp", dim=3, stem="small"))
    >>> resnet_from_state_dict(net.state_dict()).shape == net.shape
    True
    """
    shape = _shape(state_dict)
    with torch.device("meta"):  # shapes only: a false width in a stranger's file takes no memory
        net = ResNet(shape)
    try:
        net.load_state_dict(dict(state_dict), strict=True, assign=True)
    except RuntimeError as error:
        detail = re.sub(r"\s+", " ", str(error)).strip()
        raise InputError(
            "ResNet: expected torchvision's names and shapes, got a state dict that does not fit "
            f"({detail[:300]}); pass the encoder's own keys, without prefix"
        ) from None
    return net.float()


def _shape(state: Mapping[str, Tensor]) -> ResNetShape:
    stem = state.get("conv1.weight")
    if stem is None or stem.ndim != 4 or "layer1.0.conv1.weight" not in state:
        some = ", ".join(list(state)[:3]) or "no keys"
        raise InputError(
            "ResNet: expected keys such as conv1.weight and layer1.0.conv1.weight, "
            f"got {some}; pass the encoder's own keys, without prefix"
        )
    kernel = tuple(stem.shape[2:])
    if kernel not in _STEMS:
        raise InputError(
            f"ResNet: expected a stem of 7x7 or 3x3, got {kernel[0]}x{kernel[1]}; "
            "this variant is not supported"
        )
    head, dim = _head(state)
    width = _width(state) or stem.shape[0]
    return ResNetShape(
        block="bottleneck" if "layer1.0.conv3.weight" in state else "basic",
        blocks=_blocks(state),
        width=width,
        stem_width=stem.shape[0] if stem.shape[0] != width else None,
        **_inner(state, width),
        channels=stem.shape[1],
        stem=_STEMS[kernel],
        head=head,
        dim=dim,
    )


def _width(state: Mapping[str, Tensor]) -> int | None:
    """Width of the first stage: what its last convolution gives, over the block's expansion."""
    last = state.get("layer1.0.conv3.weight")
    if last is not None:
        return last.shape[0] // Bottleneck.expansion
    last = state.get("layer1.0.conv2.weight")
    return None if last is None else last.shape[0]


def _inner(state: Mapping[str, Tensor], width: int) -> dict[str, int]:
    """Inner width and groups, where they are not the usual ones (wide ResNets, ResNeXt)."""
    conv = state.get("layer1.0.conv2.weight")
    if "layer1.0.conv3.weight" not in state or conv is None or conv.ndim != 4 or not conv.shape[1]:
        return {}
    inner, groups = int(conv.shape[0]), int(conv.shape[0] // conv.shape[1])
    return {} if (inner, groups) == (width, 1) else {"inner": inner, "groups": max(1, groups)}


def _blocks(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """How many blocks each of the consecutive stages holds, none left out."""
    found: dict[int, set[int]] = {}
    for key in state:
        match = re.match(r"layer(\d{1,6})\.(\d{1,6})\.", key)
        if match:
            found.setdefault(int(match[1]), set()).add(int(match[2]))
    counts = [len(found.get(stage + 1, ())) for stage in range(len(found))]
    gaps = any(max(blocks) >= len(blocks) for blocks in found.values())
    if gaps or 0 in counts or sum(counts) * _KEYS_PER_BLOCK > len(state):
        raise InputError(
            f"ResNet: expected consecutive stages of consecutive blocks, each of at least "
            f"{_KEYS_PER_BLOCK} keys, got {len(state)} keys that number stages up to {max(found)} "
            f"and blocks up to {max(map(max, found.values()))}; this is no ResNet"
        )
    return tuple(counts)


def _head(state: Mapping[str, Tensor]) -> tuple[Literal["linear", "mlp", "none"], int]:
    if "fc.2.weight" in state:
        return "mlp", state["fc.2.weight"].shape[0]
    if "fc.weight" in state:
        return "linear", state["fc.weight"].shape[0]
    return "none", ResNetShape().dim  # not used
