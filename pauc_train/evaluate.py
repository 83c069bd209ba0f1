"""What a trained encoder is worth: kNN and linear probe on frozen features, held-out images."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nemd_toolkit.encoding import device_named
from nemd_toolkit.errors import InputError
from nemd_toolkit.images import Images
from nemd_toolkit.measures.quality import knn_accuracy, linear_probe_accuracy
from nemd_toolkit.sphere import require_finite
from pauc_train.data import Pixels, apply, open_split
from pauc_train.rebuild import rebuild

__all__ = ["Evaluation", "evaluate"]

_SHOTS = (1, 5, 10)
_DRAWS = 5
_FEWEST_FOR_TOP5 = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Accuracies on held-out images, in [0, 1]; `pixels_knn` is what no training at all gives."""

    knn: float  # k=20, weights exp(cosine / 0.07)
    linear_probe: float  # logistic regression on all training images
    linear_probe_top5: float | None  # None with fewer than ten classes
    few_shot: Mapping[int, float]  # images per class: linear probe, mean of five draws
    pixels_knn: float
    train_count: int
    test_count: int
    layer: str

    def plain(self) -> dict[str, Any]:
        """Give the numbers as JSON does."""
        return asdict(self)


def evaluate(checkpoint: Path | str, data: str | None = None, *, device: str = "cpu") -> Evaluation:
    """Evaluate the trained encoder's backbone on the held-out part of `data`.

    Without `data` the images it was trained on. Raises InputError for checkpoints of other
    programs and damaged ones, images without labels or held-out part, and images of another shape.
    """
    place = device_named(device)
    path = Path(checkpoint)
    rebuilt = rebuild(path)
    rebuilt.training.to(place).eval()
    spec = data or rebuilt.data
    train, test = (
        open_split(spec, split, rebuilt.config.image_size) for split in ("train", "test")
    )
    known, wanted = _labels(train, rebuilt.pixels), _labels(test, rebuilt.pixels)
    seen, held = (
        apply(part, rebuilt.pixels, rebuilt.training.features, place).cpu()
        for part in (train, test)
    )
    for features in (seen, held):
        require_finite(features, name=f"{path}: features")
    return Evaluation(
        knn=knn_accuracy(seen, known, held, wanted),
        linear_probe=linear_probe_accuracy(seen, known, held, wanted),
        linear_probe_top5=(
            linear_probe_accuracy(seen, known, held, wanted, top=5)
            if len(np.unique(known)) >= _FEWEST_FOR_TOP5
            else None
        ),
        few_shot={shots: _few_shot(seen, known, held, wanted, shots) for shots in _SHOTS},
        pixels_knn=knn_accuracy(_raw(train), known, _raw(test), wanted),
        train_count=train.count,
        test_count=test.count,
        layer="backbone",
    )


def _few_shot(
    train: Tensor, known: NDArray[np.int64], test: Tensor, wanted: NDArray[np.int64], shots: int
) -> float:
    """Mean accuracy of linear probes on `shots` images of each class, drawn five times."""
    found = []
    for draw in range(_DRAWS):
        rng = np.random.default_rng([draw, shots])
        order = rng.permutation(len(known))
        chosen = np.concatenate([order[known[order] == c][:shots] for c in np.unique(known)])
        found.append(linear_probe_accuracy(train[chosen], known[chosen], test, wanted))
    return float(np.mean(found))


def _labels(images: Images, pixels: Pixels) -> NDArray[np.int64]:
    if images.labels is None:
        raise InputError(
            f"evaluate: expected labelled images, got none with labels in {images.name}; "
            "use data with classes, such as a folder with one subfolder for each class"
        )
    if (images.channels, images.size) != (pixels.channels, pixels.size):
        raise InputError(
            f"evaluate: expected images of {pixels.channels} channels and {pixels.size} pixels as "
            f"in training, got {images.channels} and {images.size}; give the training's data"
        )
    return images.labels


def _raw(images: Images) -> Tensor:
    """Pixels in [0, 1], one image a row."""
    parts = [images.batch(part).flatten(1) for part in torch.arange(images.count).split(512)]
    return torch.cat(parts)
