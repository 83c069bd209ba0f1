"""From a checkpoint and images to embeddings: the one pass through an encoder."""

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from nemd_toolkit import ranks, stages
from nemd_toolkit.checkpoints import (
    STATE_DICT,
    Checkpoint,
    Content,
    ImageInfo,
    channelled,
    checkpoint_from,
    embedding_columns,
    read_content,
)
from nemd_toolkit.embedding_cache import cache_folder, cached_rows, keep_rows, pass_key
from nemd_toolkit.embedding_run import embedded_rows
from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.encoder_choice import Chosen, Encoder, choose_encoder
from nemd_toolkit.encoding_pass import (
    PRECISIONS,
    EncodingPass,
    default_precision,
    default_workers,
)
from nemd_toolkit.errors import InputError, PartlyLoaded, UnknownLayout
from nemd_toolkit.image_transforms import (
    Transform,
    describe_transform,
    layout_sizing,
    layout_transform,
)
from nemd_toolkit.images import Images, open_images
from nemd_toolkit.scratch import empty_rows

__all__ = ["checkpoint_for", "device_named", "embed", "embed_pass", "prepare_pass"]

_TRANSFORMS = ("layout", "none")


def embed(
    checkpoint: Checkpoint | Path | str,
    data: Images | str,
    layer: str = "backbone",
    transform: str | Transform = "layout",
    *,
    split: str = "train",
    layout: str | None = None,
    branch: str | None = None,
    encoder: Encoder | None = None,
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

    `layout` is the one to read a file as, instead of recognising it. `encoder` takes the place of
    the backbone and gets the branch's weights, by name: "timm:NAME", "torchvision:NAME",
    "transformers:DIR" (config.json in it), a module (a copy of which is filled), or
    "package.module:function", which imports that module and calls the function: **code of yours is
    run**, so name none that you do not trust. Any other function of images (b, c, h, w) to rows
    (b, d) is used as it is, without the checkpoint's weights. With an encoder, files of unknown
    layouts can be read. Where weights find no place, PartlyLoaded is warned, and the embeddings'
    `notes` say so.

    `precision` is float32 or bfloat16 (autocast), by default bfloat16 on CUDA alone. `workers`
    threads decode ahead, which changes no row. `cache`, or the environment's NEMD_CACHE, is a
    folder of rows to take from and to add to; not with a function as the transform or encoder.

    Raises InputError for unreadable files, unknown names, channels that do not fit, a missing
    head, weights of which none fit or one has another shape, and embeddings that are not finite.
    """
    ready = prepare_pass(
        checkpoint,
        data,
        layer,
        transform,
        split=split,
        layout=layout,
        branch=branch,
        encoder=encoder,
        batch=batch,
        device=device,
        precision=precision,
        workers=workers,
    )
    return embed_pass(ready, cache)


def embed_pass(ready: EncodingPass, cache: Path | str | None = None) -> Embeddings:
    """Do what `prepare_pass` prepared. Raises as `embed`.

    Inside `stages.keeping` a run that was killed goes on where it stopped.
    """
    folder, place = cache_folder(cache), stages.folder()
    if place is not None and (ready.key is not None or ranks.workers() > 1):
        rows = embedded_rows(ready, place, folder)
    else:
        rows = _cached_or_new(ready, folder)
    images = ready.images
    return Embeddings(rows, labels=images.labels, ids=images.ids, notes=ready.notes)


def prepare_pass(
    checkpoint: Checkpoint | Path | str,
    data: Images | str,
    layer: str = "backbone",
    transform: str | Transform = "layout",
    *,
    split: str = "train",
    layout: str | None = None,
    branch: str | None = None,
    encoder: Encoder | None = None,
    batch: int = 256,
    device: str = "cpu",
    precision: str | None = None,
    workers: int | None = None,
) -> EncodingPass:
    """Read and check all that `embed` needs, and embed nothing yet. Raises as `embed`."""
    _check_options(transform, precision, batch, workers)
    checkpoint = checkpoint_for(checkpoint, layout, encoder)
    where, memory = device_named(device), _memory_format(encoder)
    chosen = choose_encoder(checkpoint, layer, branch, encoder)
    _warn(checkpoint, chosen)
    images = _open(data, split, chosen.image if transform == "layout" else None)
    channels, image = _channels(chosen, images)
    precision = precision or default_precision(where)
    described = _described(image, transform)
    key = pass_key(
        checkpoint,
        images,
        layout=checkpoint.layout,
        layer=layer,
        branch=chosen.branch,
        encoder=f"{chosen.encoder} {chosen.version}",
        transform=described,
        batch=batch,
        precision=precision,
        device=where.type,
    )
    decoded = _decoded(checkpoint, channels, image, images, transform, sized=isinstance(data, str))
    known = isinstance(transform, str) and chosen.version is not None
    return EncodingPass(
        images=images,
        forward=chosen.net.to(where).to(memory_format=memory),  # type: ignore[call-overload]
        channels=channels,
        decoded=decoded,
        adapted=transform if callable(transform) else _as_it_is,
        described=described,
        loaded=chosen.loaded,
        branch=chosen.branch,
        encoder=chosen.encoder,
        key=key if known else None,
        memory=memory,
        batch=batch,
        device=where,
        precision=precision,
        workers=default_workers(where) if workers is None else workers,
    )


def checkpoint_for(
    source: Checkpoint | Content | Path | str,
    layout: str | None = None,
    encoder: Encoder | None = None,
) -> Checkpoint:
    """Read a checkpoint as this layout; one of no known layout too, where an encoder is given.

    Raises InputError as `read_checkpoint`, and for a layout of a checkpoint that was read before.
    """
    if isinstance(source, Checkpoint):
        if layout is not None and layout != source.layout:
            raise InputError(
                f"layout: expected a file to read as {layout}, got a checkpoint read as "
                f"{source.layout}; give the layout to read_checkpoint"
            )
        return source
    content = source if isinstance(source, Content) else read_content(source)
    try:
        return checkpoint_from(content, layout)
    except UnknownLayout:
        if encoder is None or layout is not None or embedding_columns(content) is not None:
            raise
        return checkpoint_from(content, STATE_DICT.name)


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


def _check_options(
    transform: str | Transform, precision: str | None, batch: int, workers: int | None
) -> None:
    _require(precision or "float32", PRECISIONS, "precision")
    if isinstance(transform, str):
        _require(transform, _TRANSFORMS, "transform")
    if batch < 1:
        raise InputError(f"batch: expected at least 1, got {batch}; choose for instance 256")
    if workers is not None and not 0 <= workers <= 256:
        raise InputError(f"workers: expected 0…256, got {workers}; choose for instance 4")


def _memory_format(encoder: Encoder | None) -> torch.memory_format:
    """Give the faster one for convolutions; a module of others may rely on the usual one."""
    return torch.channels_last if encoder is None else torch.contiguous_format


def _warn(checkpoint: Checkpoint, chosen: Chosen) -> None:
    """Say aloud what does not fit: random weights make numbers that look like any others."""
    if not chosen.loaded.complete:
        message = f"{checkpoint.path}: {chosen.loaded.sentence()}"
        warnings.warn(message, PartlyLoaded, stacklevel=3)


def _require(got: str, known: tuple[str, ...], name: str) -> None:
    if got not in known:
        raise InputError(
            f"{name}: expected one of {', '.join(known)}, got {got!r}; choose one of those"
        )


def _open(data: Images | str, split: str, info: ImageInfo | None) -> Images:
    if isinstance(data, Images):
        return data
    return open_images(data, split, size=layout_sizing(info) if info else None)


def _channels(chosen: Chosen, images: Images) -> tuple[int, ImageInfo]:
    """Channels that the encoder takes, and its input for them."""
    channels = chosen.net.channels
    if channels is not None:
        return channels, chosen.image
    return images.channels, channelled(chosen.image, images.channels)


def _described(info: ImageInfo, transform: str | Transform) -> str:
    if transform == "layout":
        return describe_transform(info)
    return "a function of the caller's" if callable(transform) else "pixels in [0, 1]"


def _decoded(
    checkpoint: Checkpoint,
    channels: int,
    image: ImageInfo,
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
    if image.channels != channels:
        raise InputError(
            f"{checkpoint.path}: expected an encoder of {image.channels} channel(s) as its "
            f"image entry says, got one of {channels}; give a transform of your own"
        )
    adapt = layout_transform(image, sized=sized)
    return lambda pixels: adapt(pixels.repeat(1, repeat, 1, 1))


def _as_it_is(pixels: Tensor) -> Tensor:
    return pixels


def _cached_or_new(ready: EncodingPass, folder: Path | None) -> Tensor:
    rows = cached_rows(folder, ready.key, ready.images.count)
    if rows is None:
        rows = _all_rows(ready)
        keep_rows(folder, ready.key, [rows], *rows.shape)
    return rows


def _all_rows(ready: EncodingPass) -> Tensor:
    found: Tensor | None = None
    start = 0
    for rows in ready.rows():
        if found is None:  # not twice in memory, as from a list
            found = empty_rows(ready.images.count, rows.shape[1])
        found[start : start + len(rows)] = rows
        start += len(rows)
    assert found is not None  # collections have at least one image
    return found
