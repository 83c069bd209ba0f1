"""Clouds for the transport benchmark: von Mises–Fisher by Wood's sampler, digits, Fashion-MNIST.

Every function gives a list of float64 arrays (n_i, d) of unit rows; same seed, same clouds.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nemd_toolkit.clustering import kmeans
from nemd_toolkit.errors import InputError
from nemd_toolkit.images import Images, open_images
from nemd_toolkit.sphere import to_sphere

__all__ = ["Clouds", "digit_classes", "digit_clusters", "fashion_clusters", "von_mises_fisher"]

Clouds = list[NDArray[np.float64]]


def von_mises_fisher(
    seed: int, *, count: int, sizes: tuple[int, int], dim: int, resultant: float
) -> Clouds:
    """Draw `count` clouds around random directions, sizes uniform in sizes[0]…sizes[1].

    `resultant` in (0, 1) is the length of the law's mean; the concentration that gives it is
    approximated as r(d − r²)/(1 − r²) (Banerjee et al. 2005). Sampler: Wood 1994. scipy's own
    gives the same law (tests hold it against that) but takes 16 s for 6,000 points at d=2048.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.integers(sizes[0], sizes[1] + 1, count)
    cosines = _cosines(rng, int(lengths.sum()), dim, resultant)
    clouds = []
    for cosine in np.split(cosines, np.cumsum(lengths)[:-1]):
        mean = _unit(rng.standard_normal((1, dim)))
        noise = rng.standard_normal((len(cosine), dim))
        tangent = _unit(noise - (noise @ mean.T) * mean)  # uniform among those at right angles
        clouds.append(_unit(cosine[:, None] * mean + np.sqrt(1 - cosine**2)[:, None] * tangent))
    return clouds


def _cosines(
    rng: np.random.Generator, count: int, dim: int, resultant: float
) -> NDArray[np.float64]:
    """Cosines to the mean direction, (count,): rejection from a transformed Beta."""
    kappa = resultant * (dim - resultant**2) / (1 - resultant**2)
    b = (dim - 1) / (2 * kappa + np.sqrt(4 * kappa**2 + (dim - 1) ** 2))
    centre = (1 - b) / (1 + b)
    floor = kappa * centre + (dim - 1) * np.log1p(-(centre**2))
    found = np.empty(0)
    while len(found) < count:
        beta = rng.beta((dim - 1) / 2, (dim - 1) / 2, count)
        cosine = (1 - (1 + b) * beta) / (1 - (1 - b) * beta)
        height = kappa * cosine + (dim - 1) * np.log1p(-centre * cosine) - floor
        found = np.concatenate([found, cosine[height >= np.log(1 - rng.random(count))]])
    return found[:count]


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def digit_classes(seed: int) -> Clouds:
    """Ten classes of scikit-learn's digits; `seed` leaves out a tenth of the images."""
    images = open_images("digits", "all")
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.permutation(images.count)[: images.count * 9 // 10])
    if images.labels is None:
        raise InputError("digits: expected labels, got none; reinstall scikit-learn")
    return _groups(_pixels(images, kept), images.labels[kept])


def digit_clusters(seed: int, *, k: int) -> Clouds:
    """Spherical k-means clusters of all 1,797 digits, from seeds drawn by `seed`."""
    images = open_images("digits", "all")
    return _clusters(_pixels(images, np.arange(images.count)), k, seed)


def fashion_clusters(seed: int, *, folder: str | None, k: int, count: int) -> Clouds:
    """Spherical k-means clusters of `count` random training images of Fashion-MNIST.

    Raises InputError without a folder that holds its IDX files.
    """
    if folder is None:
        raise InputError(
            "Fashion-MNIST: expected the folder of its IDX files, got none; "
            "give --fashion-mnist DIR"
        )
    images = open_images(f"fashion-mnist:{folder}", "train")
    chosen = np.random.default_rng(seed).choice(images.count, count, replace=False)
    return _clusters(_pixels(images, np.sort(chosen)), k, seed)


def _pixels(images: Images, chosen: NDArray[np.int64]) -> torch.Tensor:
    batch = images.batch(torch.from_numpy(chosen)).flatten(1)  # (n, c, h, w) -> (n, d)
    return to_sphere(batch.double(), name=images.name)


def _clusters(points: torch.Tensor, k: int, seed: int) -> Clouds:
    # float32 only to find the clusters: their points stay float64
    return _groups(points, kmeans(points.float(), k, seed=seed).assignment.numpy())


def _groups(points: torch.Tensor, groups: Sequence[int] | NDArray[np.int64]) -> Clouds:
    rows, names = points.numpy(), np.asarray(groups)
    return [np.ascontiguousarray(rows[names == name]) for name in np.unique(names)]
