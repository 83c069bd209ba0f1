"""Encoders of timm, by name, without its pretrained weights and without its classifier."""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any

from torch import nn

from nemd_toolkit.checkpoints import ImageInfo, State, shown, timm_image
from nemd_toolkit.encoder_choice.awaiting import Awaiting, Rows
from nemd_toolkit.encoder_choice.libraries import imported, quiet, unknown_name
from nemd_toolkit.encoder_choice.loading import LoadReport, load_into
from nemd_toolkit.errors import InputError

__all__ = ["timm_encoder"]


def timm_encoder(name: str, channels: int, state: State) -> Awaiting:
    """Build a model of timm for images of so many channels, or as its first layer in `state` has.

    Raises InputError for unknown names.
    """
    timm = imported("timm")
    # names such as hf-hub:… would be looked up on the network
    if set(name) & set(":/\\") or not timm.is_model(name):
        raise unknown_name("timm", name, get_close_matches(name, timm.list_models()))
    try:
        module = _built(timm, name, channels)
        told = _channels(module, state)
        module = module if told in (None, channels) else _built(timm, name, told)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise InputError(
            f"encoder: expected a model of timm that can be built for images of {channels} "
            f"channel(s), got timm:{name} ({shown(error)}); choose another"
        ) from None
    heads = module.pretrained_cfg.get("classifier") or ()
    ignored = [f"{head}." for head in ([heads] if isinstance(heads, str) else heads)]
    return Awaiting(
        described=f"timm:{name}",
        version=timm.__version__,
        module=module,
        load=partial(_load, module, ignored),
        image=partial(_image, module.pretrained_cfg),
    )


def _built(timm: Any, name: str, channels: int | None) -> Any:
    with quiet():
        return timm.create_model(name, pretrained=False, num_classes=0, in_chans=channels)


def _channels(module: nn.Module, state: State) -> int | None:
    """Channels that the first convolution takes in the state dict, where it has one."""
    first = next((name for name, value in module.named_parameters() if value.ndim == 4), None)
    found = [value for name, value in state.items() if f".{name}".endswith(f".{first}")]
    return int(found[0].shape[1]) if first and found and found[0].ndim == 4 else None


def _load(module: nn.Module, ignored: list[str], state: State) -> tuple[Rows, LoadReport]:
    return module, load_into(module, state, ignored=ignored)


def _image(config: Mapping[str, Any], usual: ImageInfo) -> ImageInfo:
    return timm_image(usual, config) if config.get("mean") else usual
