"""From a checkpoint and images to embeddings: the one pass through an encoder."""

from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.checkpoints import Checkpoint, ImageInfo, read_checkpoint
from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.encoders import ResNet, resnet_from_state_dict
from nemd_toolkit.errors import InputError
from nemd_toolkit.images import Images, open_images, resize_and_crop
from nemd_toolkit.progress import bar

__all__ = ["device_named", "embed"]

Transform = Callable[[Tensor], Tensor]
_LAYERS = ("backbone", "projector")
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
) -> Embeddings:
    """Embed images with a checkpoint's encoder, in the order of the images, labels and ids kept.

    `layer` is backbone (pooled features) or projector (what the head makes of them). `transform`
    is layout (size, mean and std as the checkpoint's training had them), none (pixels in [0, 1])
    or a function of a batch of such pixels. `data` is a spec for `open_images`, with its `split`,
    or images already open. `branch` is one of the checkpoint's, by default the one that its
    prototypes are made from. Grey images are repeated for an encoder of three channels.

    Raises InputError for unreadable files, unknown names, channels that do not fit, a missing
    head, and embeddings that are not finite.
    """
    _require(layer, _LAYERS, "layer")
    if isinstance(transform, str):
        _require(transform, _TRANSFORMS, "transform")
    if batch < 1:
        raise InputError(f"batch: expected at least 1, got {batch}; choose for instance 256")
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = read_checkpoint(checkpoint)
    net = _encoder(checkpoint, branch, layer, device)
    images = _open(data, split, checkpoint.image if transform == "layout" else None)
    prepare = _preparation(checkpoint, net, images, transform)
    vectors = _pass(net, images, prepare, layer=layer, batch=batch, device=device)
    return Embeddings(vectors, labels=images.labels, ids=images.ids)


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


def _encoder(checkpoint: Checkpoint, branch: str | None, layer: str, device: str) -> ResNet:
    try:
        net = resnet_from_state_dict(checkpoint.branch(branch).state)
    except InputError as error:
        raise InputError(f"{checkpoint.path}: {error}") from None
    if layer == "projector" and net.shape.head == "none":
        raise InputError(
            f"{checkpoint.path}: expected an encoder with a head for layer 'projector', got one "
            "without; use layer 'backbone'"
        )
    return net.eval().to(device_named(device))


def _open(data: Images | str, split: str, info: ImageInfo | None) -> Images:
    if isinstance(data, Images):
        return data
    return open_images(data, split, size=info.size if info else None)


def _preparation(
    checkpoint: Checkpoint, net: ResNet, images: Images, transform: str | Transform
) -> Transform:
    """Give the function from pixels in [0, 1] to what the encoder sees."""
    channels = net.shape.channels
    if images.channels not in (1, channels):
        raise InputError(
            f"{images.name}: expected images of {channels} channel(s) for the encoder in "
            f"{checkpoint.path}, got {images.channels}; convert the images, or use another encoder"
        )
    repeat = channels // images.channels

    if transform == "layout":
        adapt = _layout_transform(checkpoint, channels)
    elif callable(transform):
        adapt = transform
    else:
        return lambda pixels: pixels.repeat(1, repeat, 1, 1)
    return lambda pixels: adapt(pixels.repeat(1, repeat, 1, 1))


def _layout_transform(checkpoint: Checkpoint, channels: int) -> Transform:
    info = checkpoint.image
    if info.channels != channels:
        raise InputError(
            f"{checkpoint.path}: expected an encoder of {info.channels} channel(s) as its image "
            f"entry says, got one of {channels}; give a transform of your own"
        )
    mean = torch.tensor(info.mean).view(1, channels, 1, 1)
    std = torch.tensor(info.std).view(1, channels, 1, 1)

    def adapt(pixels: Tensor) -> Tensor:
        sized = pixels if info.size is None else resize_and_crop(pixels, info.size)
        return (sized - mean) / std

    return adapt


def _pass(
    net: ResNet,
    images: Images,
    prepare: Transform,
    *,
    layer: str,
    batch: int,
    device: str,
) -> Float[Tensor, "n d"]:
    forward = net.features if layer == "backbone" else net
    rows = []
    with bar("embedding", images.count) as advance:
        for indices in torch.arange(images.count).split(batch):
            seen = prepare(images.batch(indices))
            if seen.shape[:2] != (len(indices), net.shape.channels) or seen.ndim != 4:
                raise InputError(
                    f"transform: expected a batch of {len(indices)} images of "
                    f"{net.shape.channels} channel(s) back, got shape {tuple(seen.shape)}; "
                    "return a (b, c, h, w) tensor"
                )
            with torch.inference_mode():
                rows.append(forward(seen.to(device)).cpu())
            advance(len(indices))
    return torch.cat(rows)
