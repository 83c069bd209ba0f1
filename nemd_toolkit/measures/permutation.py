"""Does the assignment know anything of the embeddings? A permutation test."""

import numpy as np
import torch
from jaxtyping import Int

from nemd_toolkit.prototypes import Prototypes
from nemd_toolkit.scratch import rows_at
from nemd_toolkit.sphere import chord

__all__ = ["permutation_p_value"]

ROWS = 1_000  # drawn at most: a matrix of their distances that stays in the cache
PERMUTATIONS = 199


def permutation_p_value(prototypes: Prototypes, *, seed: int = 0) -> float | None:
    """Share of shuffled assignments whose members lie as close together as the given ones.

    Statistic: the mean chord between members of one prototype, averaged over the prototypes (the
    within term of the energy test; Székely & Rizzo 2004). In [1/200, 1]; small means that
    prototypes hold samples that belong together. None for k-means, which finds close members in
    any cloud of points, and where no prototype holds two of the sampled rows.

    >>> from nemd_toolkit.embeddings import Embeddings
    >>> from nemd_toolkit.prototypes import prototypes_from_labels
    >>> points = [[1.0, 0.0]] * 20 + [[0.0, 1.0]] * 20
    >>> permutation_p_value(prototypes_from_labels(Embeddings(points, labels=[0] * 20 + [1] * 20)))
    0.005
    """
    if prototypes.source == "k-means":
        return None
    rng = np.random.default_rng(seed)
    count = len(prototypes.assignment)
    rows = np.sort(rng.permutation(count)[:ROWS])
    points = rows_at(prototypes.embeddings.vectors, torch.as_tensor(rows))
    distances = chord(points, points).numpy()
    order = np.argsort(prototypes.assignment.numpy()[rows], kind="stable")
    sizes = np.bincount(prototypes.assignment.numpy()[rows])
    groups = [g for g in np.split(order, np.cumsum(sizes)[:-1]) if len(g) > 1]
    if not groups:
        return None
    given = _within(distances, groups, np.arange(len(rows)))
    shuffled = [_within(distances, groups, rng.permutation(len(rows))) for _ in range(PERMUTATIONS)]
    # ties (equal rows) count as chance; rounding must not make them look smaller
    as_close = sum(value <= given * (1 + 1e-12) for value in shuffled)
    return (1 + as_close) / (PERMUTATIONS + 1)


def _within(
    distances: np.ndarray, groups: list[Int[np.ndarray, " _"]], places: Int[np.ndarray, " m"]
) -> float:
    means = []
    for group in groups:
        own = places[group]
        means.append(distances[np.ix_(own, own)].sum() / (len(own) * (len(own) - 1)))
    return float(np.mean(means))
