"""How well neighbours and a linear probe tell the labels apart, within one set of embeddings.

A seeded, stratified fifth of the samples is held out. The encoder may have been trained on these
very images: accuracies are for comparing runs, not for what a new image would get.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.model_selection import train_test_split

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.measures.intervals import LEVEL, Interval
from nemd_toolkit.measures.quality import knn_accuracy, linear_probe_accuracy
from nemd_toolkit.scratch import rows_at

__all__ = [
    "LEAST",
    "NEIGHBOURS",
    "TEST_ROWS",
    "TEST_SHARE",
    "TRAIN_ROWS",
    "LabelQuality",
    "measure_label_quality",
]

TEST_SHARE = 0.2  # of the samples, held out
LEAST = 5  # samples of a class: with fewer, a fifth is less than one
TRAIN_ROWS = 20_000  # at most; these three bound the time to some seconds
TEST_ROWS = 5_000  # at most: an interval of ±1.4 points at its widest
_PROBE_WORK = 100_000_000  # rows x coordinates x classes of the probe's training, at most
NEIGHBOURS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelQuality:
    """Accuracies on held-out samples, in [0, 1], higher is better; None is explained in `missing`.

    Intervals are Wilson's 95 % for the held-out samples drawn; they leave out the luck of the
    split's training part and of the encoder's training.
    """

    knn: Interval | None  # k=20, cosine, votes exp(cosine / 0.07), see quality.knn_accuracy
    linear_probe: Interval | None  # logistic regression, see quality.linear_probe_accuracy
    chance: float | None  # what always answering the largest class scores
    classes: int  # with at least five samples
    small_classes: int  # with fewer, left out
    samples: int  # rows, or groups of views (their first rows), of these classes
    train_rows: int
    test_rows: int
    probe_train_rows: int  # of the training rows
    missing: str | None
    probe_missing: str | None


def measure_label_quality(embeddings: Embeddings, *, seed: int = 0) -> LabelQuality | None:
    """Measure kNN and linear-probe accuracy on held-out samples; None without labels.

    Views of one sample (rows of one group) would be each other's neighbours across the split, so
    only the first row of each group is used. Held out are 20 %, at most 5,000; trained on are at
    most 20,000 of the others, all stratified, and fewer for the probe where rows x d x classes
    would exceed 10⁸. Wilson 1927 (J. Am. Stat. Assoc. 22:209) for the interval.

    >>> e = Embeddings([[1.0, 0.1 * i] for i in range(9)] + [[-1.0, 0.1 * i] for i in range(9)],
    ...                labels=["a"] * 9 + ["b"] * 9)
    >>> found = measure_label_quality(e)
    >>> found.knn.value, found.linear_probe.value, found.chance, found.train_rows, found.test_rows
    (1.0, 1.0, 0.5, 14, 4)
    """
    if embeddings.labels is None:
        return None
    rows, classes, small = _samples(embeddings.labels, embeddings.groups)
    k = int(classes.max()) + 1 if len(classes) else 0
    if not 2 <= k <= TEST_ROWS:
        missing = f"needs 2 to {TEST_ROWS:,} classes of {LEAST} samples or more, got {k:,}"
        return _unmeasured(k, small, len(rows), missing)
    test_size = min(math.ceil(TEST_SHARE * len(rows)), TEST_ROWS)
    train, test, known, wanted = train_test_split(
        rows,
        classes,
        test_size=test_size,
        train_size=min(len(rows) - test_size, TRAIN_ROWS),
        stratify=classes,
        random_state=seed % 2**32,
    )
    points, tested = (rows_at(embeddings.vectors, torch.from_numpy(r)) for r in (train, test))
    near = knn_accuracy(points, known, tested, wanted, k=NEIGHBOURS)
    fitted = min(len(train), _PROBE_WORK // (k * embeddings.dim))  # the split comes shuffled
    reason, probe = _no_probe(known, fitted, k), None
    if reason is None:
        probe = linear_probe_accuracy(points[:fitted], known[:fitted], tested, wanted)
    return LabelQuality(
        knn=_wilson(near, len(test)),
        linear_probe=None if probe is None else _wilson(probe, len(test)),
        chance=float(np.bincount(wanted).max() / len(wanted)),
        classes=k,
        small_classes=small,
        samples=len(rows),
        train_rows=len(train),
        test_rows=len(test),
        probe_train_rows=fitted if reason is None else 0,
        missing=None,
        probe_missing=reason,
    )


def _samples(
    labels: NDArray[Any], groups: NDArray[Any] | None
) -> tuple[Int[np.ndarray, " s"], Int[np.ndarray, " s"], int]:
    """First row of each sample of the classes large enough, its class, and how many are not."""
    rows = np.arange(len(labels))
    if groups is not None:
        rows = np.sort(np.unique(groups, return_index=True)[1])
    names, which = np.unique(labels[rows], return_inverse=True)
    large = np.bincount(which) >= LEAST
    kept = large[which]
    return rows[kept], (np.cumsum(large) - 1)[which[kept]], len(names) - int(large.sum())


def _no_probe(known: Int[np.ndarray, " n"], fitted: int, k: int) -> str | None:
    if fitted < min(len(known), LEAST * k):
        return f"{k:,} classes leave the probe's limit of work less than {LEAST} rows for each"
    if known[:fitted].min() == known[:fitted].max():
        return "the training rows hold one class only"
    return None


def _wilson(share: float, n: int) -> Interval:
    found = binomtest(round(share * n), n).proportion_ci(LEVEL, method="wilson")
    return Interval(value=share, low=float(found.low), high=float(found.high))


def _unmeasured(classes: int, small: int, samples: int, reason: str) -> LabelQuality:
    return LabelQuality(
        knn=None,
        linear_probe=None,
        chance=None,
        classes=classes,
        small_classes=small,
        samples=samples,
        train_rows=0,
        test_rows=0,
        probe_train_rows=0,
        missing=reason,
        probe_missing=reason,
    )
