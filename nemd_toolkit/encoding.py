"""From a checkpoint and images to embeddings: the one pass through an encoder."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from nemd_toolkit.checkpoints import Checkpoint, ImageInfo, read_checkpoint
from nemd_toolkit.embedding_cache import cache_folder, cached_rows, keep_rows, pass_key
from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.encoders import Embedder, backbone_from_state_dict, head_from_state_dict
from nemd_toolkit.encoding_pass import (
    PRECISIONS,
    EncodingPass,
    default_precision,
    default_workers,
)
from nemd_toolkit.errors import InputError
from nemd_toolkit.image_transforms import (
    Transform,
    describe_transform,
    layout_sizing,
    layout_transform,
)
from nemd_toolkit.images import Images, open_images

__all__ = ["device_named", "embed", "prepare_pass"]

_TRANSFORMS = ("layout", "none")


def embed(
    checkpoint: Checkpoint | Path | str,
    data: Images | str,
    layer: str = "backbone",
    transform: str | Transform = "layout",
    *,
    split: str = "train",
    branch: str | None = None,
    batch: int = 256,
    device: str = "cpu",
    precision: str | None = None,
    workers: int | None = None,
    cache: Path | str | None = None,
) -> Embeddings:
    """Embed images with a checkpoint's encoder, in the order of the images, labels and ids kept.

    `layer` is backbone (pooled features) or one of the checkpoint's heads, such as projector.
    `transform` is layout (size, mean and std as the checkpoint's training had them;
    `describe_transform` says it in a sentence), none (pixels in [0, 1]) or a function of a batch of
    such pixels. `data` is a spec for `open_images`, with its `split`, or images
    already open. `branch` is one of the checkpoint's, by default the one that its prototypes are
    made from. Grey images are repeated for an encoder of three channels.

    `precision` is float32 or bfloat16 (autocast), by default bfloat16 on CUDA alone. `workers`
    threads decode ahead, which changes no row. `cache`, or the environment's NEMD_CACHE, is a
    folder of rows to take from and to add to; not with a function as the transform.

    Raises InputError for unreadable files, unknown names, channels that do not fit, a missing
    head, and embeddings that are not finite.
    """
    folder = cache_folder(cache)
    ready = prepare_pass(
        checkpoint,
        data,
        layer,
        transform,
        split=split,
        branch=branch,
        batch=batch,
        device=device,
        precision=precision,
        workers=workers,
    )
    rows = cached_rows(folder, ready.key, ready.images.count)
    if rows is None:
        rows = _all_rows(ready)
        keep_rows(folder, ready.key, [rows], *rows.shape)
    return Embeddings(rows, labels=ready.images.labels, ids=ready.images.ids)


def prepare_pass(
    checkpoint: Checkpoint | Path | str,
    data: Images | str,
    layer: str = "backbone",
    transform: str | Transform = "layout",
    *,
    split: str = "train",
    branch: str | None = None,
    batch: int = 256,
    device: str = "cpu",
    precision: str | None = None,
    workers: int | None = None,
) -> EncodingPass:
    """Read and check all that `embed` needs, and embed nothing yet. Raises as `embed`."""
    _require(precision or "float32", PRECISIONS, "precision")
    if isinstance(transform, str):
        _require(transform, _TRANSFORMS, "transform")
    if batch < 1:
        raise InputError(f"batch: expected at least 1, got {batch}; choose for instance 256")
    if workers is not None and not 0 <= workers <= 256:
        raise InputError(f"workers: expected 0…256, got {workers}; choose for instance 4")
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = read_checkpoint(checkpoint)
    where = device_named(device)
    net = _encoder(checkpoint, branch, layer).to(where)
    images = _open(data, split, checkpoint.image if transform == "layout" else None)
    precision = precision or default_precision(where)
    described = _described(checkpoint.image, transform)
    key = pass_key(
        checkpoint,
        images,
        layer=layer,
        branch=branch or checkpoint.default_branch,
        transform=described,
        batch=batch,
        precision=precision,
        device=where.type,
    )
    return EncodingPass(
        images=images,
        forward=net,
        channels=net.channels,
        decoded=_decoded(checkpoint, net.channels, images, transform, sized=isinstance(data, str)),
        adapted=transform if callable(transform) else _as_it_is,
        described=described,
        key=None if callable(transform) else key,
        batch=batch,
        device=where,
        precision=precision,
        workers=default_workers(where) if workers is None else workers,
    )


def device_named(name: str) -> torch.device:
    """Find a device that can compute and give back what it computed; InputError for others."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()  # "meta" makes tensors, but computes nothing
    # AssertionError: torch without CUDA; RuntimeError holds NotImplementedError
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"device: expected one that torch can use here, got {name!r} ({reason[:120]}); try cpu"
        ) from None
    return device


def _require(got: str, known: tuple[str, ...], name: str) -> None:
    if got not in known:
        raise InputError(
            f"{name}: expected one of {', '.join(known)}, got {got!r}; choose one of those"
        )


def _encoder(checkpoint: Checkpoint, branch: str | None, layer: str) -> Embedder:
    """Build what leads from images to the layer, of this branch."""
    found = checkpoint.branch(branch)
    if layer not in found.layers:
        raise InputError(
            f"{checkpoint.path}: expected one of the layers {', '.join(found.layers)}, got "
            f"{layer!r}; choose one of those"
        )
    number = checkpoint.settings.get("num_attention_heads")
    try:
        backbone = backbone_from_state_dict(
            found.backbone,
            number if isinstance(number, int) and number > 0 else None,
            found.positions,
        )
        heads = [
            (head_from_state_dict(head.state, head.activation), head.normalised)
            for head in found.way_to(layer)
        ]
    except InputError as error:
        raise InputError(f"{checkpoint.path}: {error}") from None
    return Embedder(backbone, heads).eval()


def _open(data: Images | str, split: str, info: ImageInfo | None) -> Images:
    if isinstance(data, Images):
        return data
    return open_images(data, split, size=layout_sizing(info) if info else None)


def _described(info: ImageInfo, transform: str | Transform) -> str:
    if transform == "layout":
        return describe_transform(info)
    return "a function of the caller's" if callable(transform) else "pixels in [0, 1]"


def _decoded(
    checkpoint: Checkpoint,
    channels: int,
    images: Images,
    transform: str | Transform,
    *,
    sized: bool,
) -> Callable[[Tensor], Tensor]:
    """Give the function from pixels in [0, 1] to what the encoder or the caller sees."""
    if images.channels not in (1, channels):
        raise InputError(
            f"{images.name}: expected images of {channels} channel(s) for the encoder in "
            f"{checkpoint.path}, got {images.channels}; convert the images, or use another encoder"
        )
    repeat = channels // images.channels
    if transform != "layout":
        return lambda pixels: pixels.repeat(1, repeat, 1, 1)
    if checkpoint.image.channels != channels:
        raise InputError(
            f"{checkpoint.path}: expected an encoder of {checkpoint.image.channels} channel(s) as "
            f"its image entry says, got one of {channels}; give a transform of your own"
        )
    adapt = layout_transform(checkpoint.image, sized=sized)
    return lambda pixels: adapt(pixels.repeat(1, repeat, 1, 1))


def _as_it_is(pixels: Tensor) -> Tensor:
    return pixels


def _all_rows(ready: EncodingPass) -> Tensor:
    found: Tensor | None = None
    start = 0
    for rows in ready.rows():
        if found is None:  # not twice in memory, as from a list
            found = torch.empty(ready.images.count, rows.shape[1])
        found[start : start + len(rows)] = rows
        start += len(rows)
    assert found is not None  # collections have at least one image
    return found
