"""From a checkpoint's branch, and perhaps an encoder that the user gives, to a network to embed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from nemd_toolkit.checkpoints import STATE_DICT, Branch, Checkpoint, ImageInfo, State, channelled
from nemd_toolkit.encoder_choice.awaiting import Awaiting, Encoder
from nemd_toolkit.encoder_choice.given import GivenEncoder, channels_of
from nemd_toolkit.encoder_choice.loading import LoadReport, prefixes_that_fit
from nemd_toolkit.encoder_choice.of_caller import callers_encoder, imported_encoder
from nemd_toolkit.encoder_choice.of_timm import timm_encoder
from nemd_toolkit.encoder_choice.of_torchvision import torchvision_encoder
from nemd_toolkit.encoder_choice.of_transformers import transformers_encoder
from nemd_toolkit.encoders import (
    Backbone,
    Embedder,
    backbone_from_state_dict,
    head_from_state_dict,
    names_left_out,
)
from nemd_toolkit.errors import InputError

__all__ = ["Chosen", "choose_encoder", "own_backbone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """An encoder with its weights, and what there is to say of it."""

    net: Embedder
    loaded: LoadReport
    image: ImageInfo  # what it expects
    branch: str
    encoder: str | None  # that the user gave, as a report names it
    version: str | None  # of the code behind that; None: nobody knows it


def choose_encoder(
    checkpoint: Checkpoint, layer: str, branch: str | None = None, encoder: Encoder | None = None
) -> Chosen:
    """Build what leads from images to the layer, of this branch.

    Without `encoder` it is the one that the checkpoint's names describe. One that is
    given takes the backbone's place and gets its weights; heads follow as the layer asks. Raises
    InputError for unknown branches and layers, and for weights that do not fit.
    """
    if encoder is None:
        found = _branch(checkpoint, branch, layer)
        return Chosen(
            net=_embedder(checkpoint, own_backbone(checkpoint, found), found, layer),
            loaded=_own_report(found, layer),
            image=checkpoint.image,
            branch=branch or checkpoint.default_branch,
            encoder=None,
            version="",
        )
    awaiting = _awaiting(encoder, checkpoint.image.channels, checkpoint.tensors)
    checkpoint = _split(checkpoint, awaiting, branch)
    found = _branch(checkpoint, branch, layer)
    try:
        rows, loaded = awaiting.load(_fitting(checkpoint, awaiting, found, layer, branch))
    except InputError as error:
        raise InputError(f"{checkpoint.path}: {error}") from error.__cause__
    image, channels = _input(checkpoint, awaiting)
    return Chosen(
        net=_embedder(checkpoint, GivenEncoder(rows, channels), found, layer),
        loaded=loaded,
        image=image,
        branch=branch or checkpoint.default_branch,
        encoder=awaiting.described,
        version=awaiting.version,
    )


def _branch(checkpoint: Checkpoint, branch: str | None, layer: str) -> Branch:
    found = checkpoint.branch(branch)
    if layer not in found.layers:
        raise InputError(
            f"{checkpoint.path}: expected one of the layers {', '.join(found.layers)}, got "
            f"{layer!r}; choose one of those"
        )
    return found


def own_backbone(checkpoint: Checkpoint, found: Branch) -> Backbone:
    """Build what the names of this branch, and the settings, describe; InputError for others."""
    number = checkpoint.settings.get("num_attention_heads")
    epsilon = checkpoint.settings.get("layer_norm_eps")
    try:
        return backbone_from_state_dict(
            found.backbone,
            number if isinstance(number, int) and number > 0 else None,
            found.positions,
            epsilon if isinstance(epsilon, float) and 0 < epsilon < 1 else None,
        )
    except InputError as error:
        raise InputError(f"{checkpoint.path}: {error}") from None


def _own_report(found: Branch, layer: str) -> LoadReport:
    """All of the backbone's own is loaded, or it was refused before."""
    way, useless = found.way_to(layer), set(names_left_out(found.backbone))
    heads = {head: [f"{head.layer}.{name}" for name in head.state] for head in found.heads}
    return LoadReport(
        matched=(
            *(name for name in found.backbone if name not in useless),
            *(name for head in way for name in heads[head]),
        ),
        ignored=(
            *(name for name in found.backbone if name in useless),
            *(name for head, names in heads.items() if head not in way for name in names),
        ),
    )


def _embedder(checkpoint: Checkpoint, backbone: Backbone, found: Branch, layer: str) -> Embedder:
    try:
        heads = [
            (head_from_state_dict(head.state, head.activation), head.normalised)
            for head in found.way_to(layer)
        ]
    except InputError as error:
        raise InputError(f"{checkpoint.path}: {error}") from None
    return Embedder(backbone, heads).eval()


def _awaiting(encoder: Encoder, channels: int, state: State) -> Awaiting:
    if not isinstance(encoder, str):
        return callers_encoder(encoder)
    library, _, name = encoder.partition(":")
    if not library or not name:
        raise InputError(
            "encoder: expected timm:NAME, torchvision:NAME, transformers:DIR or "
            f"package.module:function, got {encoder!r}; write one of those"
        )
    if library == "timm":
        return timm_encoder(name, channels, state)
    if library == "torchvision":
        return torchvision_encoder(name)
    if library == "transformers":
        return transformers_encoder(name, state)
    return imported_encoder(encoder)


def _split(checkpoint: Checkpoint, awaiting: Awaiting, branch: str | None) -> Checkpoint:
    """Find the encoders in a file of no known layout: beginnings behind which the names fit.

    Raises InputError if there are several and none of them is chosen.
    """
    if checkpoint.layout != STATE_DICT.name or awaiting.module is None:
        return checkpoint
    own = awaiting.module.state_dict()
    prefixes = prefixes_that_fit(own, checkpoint.tensors)
    states = {prefix: _below(checkpoint.tensors, prefix) for prefix in prefixes}
    if len(states) > 1 and _likely(own, states[prefixes[0]]):
        branches = {prefix.rstrip("."): Branch(backbone=state) for prefix, state in states.items()}
        if branch is None:
            raise InputError(
                f"{checkpoint.path}: expected the branch to embed with, since this encoder fits "
                f"{', '.join(branches)} alike, got none; choose one with --branch"
            )
        return replace(checkpoint, branches=branches, default_branch=next(iter(branches)))
    if not states:
        return checkpoint
    return replace(checkpoint, branches={"encoder": Branch(backbone=states[min(states, key=len)])})


def _likely(own: State, state: State) -> bool:
    """Whether half of an encoder is here; a few names such as norm.bias fit anywhere."""
    fitting = [k for k, value in own.items() if k in state and state[k].shape == value.shape]
    return 2 * len(fitting) >= len(own)


def _fitting(
    checkpoint: Checkpoint, awaiting: Awaiting, found: Branch, layer: str, branch: str | None
) -> State:
    """Choose the tensors whose names fit best: the branch's backbone, or with its head, or all.

    An encoder with its own head can only be meant where no head is to follow.
    """
    if awaiting.module is None:
        return {}
    own = awaiting.module.state_dict()
    states = [found.backbone] + ([found.state] if layer == "backbone" else [])
    candidates: list[State] = [
        _below(state, prefix) for state in states for prefix in prefixes_that_fit(own, state)[:1]
    ]
    if layer == "backbone" and branch is None:
        candidates.append(checkpoint.tensors)
    return max(candidates, key=lambda state: len(own.keys() & state.keys()), default=found.backbone)


def _input(checkpoint: Checkpoint, awaiting: Awaiting) -> tuple[ImageInfo, int | None]:
    """Say what images it takes, and of how many channels (None: whatever they have).

    The layout is believed, and the library where the layout knows only what is usual.
    """
    image, known = checkpoint.image, checkpoint.layout != STATE_DICT.name
    if awaiting.module is None:
        return image, image.channels if known else None
    channels = channels_of(awaiting.module, image.channels)
    if awaiting.image is not None and not image.normalised:
        told = channelled(awaiting.image(image), image.channels)
        if known and told.size != image.size:
            told = replace(told, size=image.size, resize=image.resize)
        image = told
    return image if known else channelled(image, channels), channels


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
