"""From what a user writes to images: `digits`, `fashion-mnist:DIR`, `folder:DIR`."""

from collections.abc import Callable

from nemd_toolkit.errors import InputError
from nemd_toolkit.images.collection import Images, require_split
from nemd_toolkit.images.digits import open_digits
from nemd_toolkit.images.fashion_mnist import open_fashion_mnist
from nemd_toolkit.images.folder import open_folder

__all__ = ["open_images"]

Size = tuple[int, int] | None
_WITHOUT_FOLDER: dict[str, Callable[[str, Size], Images]] = {
    "digits": open_digits,
}
_WITH_FOLDER: dict[str, Callable[[str, str, Size], Images]] = {
    "fashion-mnist": open_fashion_mnist,
    "folder": open_folder,
}
_KNOWN = ", ".join([*_WITHOUT_FOLDER, *(f"{name}:DIR" for name in _WITH_FOLDER)])


def open_images(spec: str, split: str = "train", *, size: tuple[int, int] | None = None) -> Images:
    """Open the images that `spec` names; `split` is train, test or all.

    `size` (height, width) scales and centre-crops; without it digits and Fashion-MNIST keep their
    own size, and folders take 224x224 unless all files share one size. Raises InputError for
    unknown names, and for missing or damaged files.

    >>> open_images("digits", "test").class_names[:3]
    ('0', '1', '2')
    >>> open_images("digitz")
    Traceback (most recent call last):
    ...
    nemd_toolkit.errors.InputError: data: expected one of digits, fashion-mnist:DIR, folder:DIR, \
got 'digitz'; write one of those
    """
    require_split(split)
    if size is not None and min(size) < 1:
        raise InputError(f"size: expected height and width of at least 1, got {size}; enlarge it")
    name, _, folder = spec.partition(":")
    if spec in _WITHOUT_FOLDER:
        return _WITHOUT_FOLDER[spec](split, size)
    if name in _WITH_FOLDER and folder:
        return _WITH_FOLDER[name](folder, split, size)
    raise InputError(f"data: expected one of {_KNOWN}, got {spec!r}; write one of those")
