"""The input that an encoder expects, as far as its first layer tells it."""

from dataclasses import replace
from math import inf, isfinite, isqrt

from torch import Tensor

from nemd_toolkit.checkpoints.layouts.parts import ImageInfo, State

__all__ = [
    "CIFAR",
    "DINO_INPUT",
    "OLDER_CIFAR",
    "VIT_INPUT",
    "channelled",
    "checked_image",
    "fitted",
]

_LARGEST_SIDE = 8192  # pixels; more would only fill the memory

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# facebookresearch/dino eval_knn.py and dinov2 data/transforms.py: the same
DINO_INPUT = ImageInfo(
    channels=3, size=(224, 224), mean=_MEAN, std=_STD, resize=256, interpolation="bicubic"
)
# timm trains some ViTs with these and some with 0.5: the file alone does not tell
VIT_INPUT = replace(DINO_INPUT, normalised=False)
CIFAR = ImageInfo(
    channels=3, size=(32, 32), mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.243, 0.261)
)
# of lemniscate.pytorch, CLD and DCL: the deviations of single images, on the average
OLDER_CIFAR = replace(CIFAR, std=(0.2023, 0.1994, 0.2010))

_SMALL_STEM = 3  # kernel
_PREFIX_TOKENS = (1, 2, 0)  # of pos_embed: class, class and distillation, none
# Names of the first convolution and of the positions: DINO and timm, transformers.
_PATCHES = ("patch_embed.proj.weight", "embeddings.patch_embeddings.projection.weight")
_POSITIONS = ("pos_embed", "embeddings.position_embeddings")
_STEMS = ("conv1.weight", "embedder.embedder.convolution.weight")


def fitted(
    usual: ImageInfo, backbone: State, *, small: ImageInfo | None = None, any_size: bool = False
) -> ImageInfo:
    """Fit a layout's usual input to the first layer: grey images, small ones, a ViT's grid.

    `small` is the input with a 3x3 stem, where known; `any_size` leaves a ViT's size as usual.
    """
    patches = _first(backbone, _PATCHES)
    if patches is not None and patches.ndim == 4:
        size = usual.size if any_size else _grid_size(backbone, int(patches.shape[-1]))
        if size is not None and size != usual.size:
            usual = replace(usual, size=size, resize=None)
        return channelled(usual, int(patches.shape[1]))
    stem = _first(backbone, _STEMS)
    if stem is None or stem.ndim != 4:
        return usual
    if int(stem.shape[2]) == _SMALL_STEM:
        usual = small or replace(usual, size=None, resize=None)
    return channelled(usual, int(stem.shape[1]))


def _first(backbone: State, names: tuple[str, ...]) -> Tensor | None:
    return next((backbone[name] for name in names if name in backbone), None)


def channelled(usual: ImageInfo, channels: int) -> ImageInfo:
    """Fit mean and std to another number of channels: each is then their mean.

    >>> channelled(CIFAR, 1).std
    (0.250,)
    """
    if channels == usual.channels or usual.space != "rgb":
        return usual
    count = len(usual.mean)
    return replace(
        usual,
        channels=channels,
        mean=(sum(usual.mean) / count,) * channels,
        std=(sum(usual.std) / count,) * channels,
    )


def _grid_size(backbone: State, patch: int) -> tuple[int, int] | None:
    """Side of the square image that the learned positions are for."""
    positions = _first(backbone, _POSITIONS)
    if positions is None or positions.ndim != 3:
        return None
    for tokens in _PREFIX_TOKENS:
        count = int(positions.shape[1]) - tokens
        if count > 0 and isqrt(count) ** 2 == count:
            side = isqrt(count) * patch
            return side, side
    return None


def checked_image(image: ImageInfo) -> ImageInfo:
    """Give back what a file states of its images; ValueError for what cannot be."""
    if not len(image.mean) == len(image.std) == image.channels:
        raise ValueError(f"mean {image.mean}, std {image.std} for {image.channels} channels")
    if not all(0 < std < inf for std in image.std) or not all(map(isfinite, image.mean)):
        raise ValueError(f"mean {image.mean}, std {image.std}")
    sides = [*(image.size or ()), *([image.resize] if image.resize else [])]
    if not all(1 <= side <= _LARGEST_SIDE for side in sides):
        raise ValueError(f"size {image.size}, resize {image.resize}")
    return image
