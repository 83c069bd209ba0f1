"""From what a user writes to images: `digits`, `cifar10:DIR`, `folder:DIR`, and others."""

from collections.abc import Callable

from nemd_toolkit.errors import InputError
from nemd_toolkit.images.arrays import open_arrays
from nemd_toolkit.images.arrow_folder import open_arrow_folder
from nemd_toolkit.images.cifar import open_cifar10, open_cifar100
from nemd_toolkit.images.collection import Images, require_split
from nemd_toolkit.images.digits import open_digits
from nemd_toolkit.images.fashion_mnist import open_fashion_mnist
from nemd_toolkit.images.folder import open_folder
from nemd_toolkit.images.resizing import Sizing
from nemd_toolkit.images.tar_shards import open_webdataset

__all__ = ["KNOWN", "open_images"]

Size = Sizing | None
_WITHOUT_PLACE: dict[str, Callable[[str, Size], Images]] = {
    "digits": open_digits,
}
_WITH_PLACE: dict[str, tuple[str, Callable[[str, str, Size], Images]]] = {
    "fashion-mnist": ("DIR", open_fashion_mnist),
    "cifar10": ("DIR", open_cifar10),
    "cifar100": ("DIR", open_cifar100),
    "folder": ("DIR", open_folder),
    "arrays": ("FILE", open_arrays),
    "webdataset": ("PATTERN", open_webdataset),
    "hf": ("DIR", open_arrow_folder),
}
KNOWN = ", ".join(
    [*_WITHOUT_PLACE, *(f"{name}:{place}" for name, (place, _) in _WITH_PLACE.items())]
)


def open_images(
    spec: str, split: str = "train", *, size: tuple[int, int] | Sizing | None = None
) -> Images:
    """Open the images that `spec` names; `split` is train, test or all.

    `size` (height, width; or a `Sizing`) scales and centre-crops; without it images of one size
    keep it, and pictures of several sizes come as 224x224. Raises InputError for unknown names, and
    for missing or damaged files.

    >>> open_images("digits", "test").class_names[:3]
    ('0', '1', '2')
    >>> open_images("digitz")
    Traceback (most recent call last):
    ...
    nemd_toolkit.errors.InputError: data: expected one of digits, fashion-mnist:DIR, cifar10:DIR, \
cifar100:DIR, folder:DIR, arrays:FILE, webdataset:PATTERN, hf:DIR, got 'digitz'; write one of those
    """
    require_split(split)
    sizing = Sizing(size=size) if isinstance(size, tuple) else size
    if sizing is not None and min(sizing.size) < 1:
        raise InputError(
            f"size: expected height and width of at least 1, got {sizing.size}; enlarge it"
        )
    name, _, place = spec.partition(":")
    if spec in _WITHOUT_PLACE:
        return _WITHOUT_PLACE[spec](split, sizing)
    if name in _WITH_PLACE and place:
        return _WITH_PLACE[name][1](place, split, sizing)
    raise InputError(f"data: expected one of {KNOWN}, got {spec!r}; write one of those")
