"""Labels as files write them beside each image, whole numbers or text, brought to one kind."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemd_toolkit.errors import InputError

__all__ = ["numbered"]


def numbered(
    values: Sequence[Any], where: str
) -> tuple[NDArray[np.int64] | None, tuple[str, ...] | None]:
    """Labels and class names; None where no image has a label.

    Whole numbers stay, without names; text is numbered in its sorted order. Raises InputError
    where some images have none, or where numbers and text are mixed.

    >>> numbered(["dog", "cat", "dog"], "photos.tar")
    (array([1, 0, 1]), ('cat', 'dog'))
    >>> numbered([7, 3], "photos.tar")
    (array([7, 3]), None)
    """
    missing = sum(value is None for value in values)
    if missing == len(values):
        return None, None
    if missing:
        raise InputError(
            f"{where}: expected a label for every image or for none, got {missing:,} without one "
            f"among {len(values):,}; add or remove them"
        )
    kinds = {type(value) for value in values}
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in values):
        return np.array(values, dtype=np.int64), None
    if kinds != {str}:
        raise InputError(
            f"{where}: expected whole numbers or text as labels, got "
            f"{', '.join(sorted(kind.__name__ for kind in kinds))}; write one kind"
        )
    names, positions = np.unique(np.array(values), return_inverse=True)
    return positions.astype(np.int64), tuple(str(name) for name in names)
