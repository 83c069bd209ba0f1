"""scikit-learn's 1,797 handwritten digits, 8x8: no download, always there."""

import numpy as np
import torch

from nemd_toolkit.images.collection import Images, images_in_memory
from nemd_toolkit.images.resizing import Sizing

__all__ = ["open_digits"]

_BRIGHTEST = 16  # load_digits counts inked pixels in 4x4 blocks: 0…16
_TEST_SHARE = 0.25  # ours: scikit-learn ships no split
_SPLIT_SEED = 0


def open_digits(split: str, size: Sizing | None) -> Images:
    """Open the digits: 1,347 for training and 450 for testing, stratified, always the same.

    >>> len(open_digits("train", None)), len(open_digits("all", None))
    (1347, 1797)
    """
    # imported here: scikit-learn takes a second, which other data need not wait for
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    source = load_digits()
    rows = np.arange(len(source.target))
    train, test = train_test_split(
        rows, test_size=_TEST_SHARE, stratify=source.target, random_state=_SPLIT_SEED
    )
    # dataset order within a split, so that ids rise
    chosen = {"train": np.sort(train), "test": np.sort(test), "all": rows}[split]
    pixels = torch.from_numpy(source.images[chosen].astype(np.uint8))[:, None]  # (n, 1, 8, 8)
    return images_in_memory(
        pixels,
        source.target[chosen].astype(np.int64),
        chosen.astype(np.int64),
        name="digits",
        split=split,
        brightest=_BRIGHTEST,
        class_names=tuple(str(name) for name in source.target_names),
        size=size,
    )
