"""Prototypes of embeddings: found by k-means, given by labels, or brought by a model.

A prototype is its members (the cloud), their mean direction, and its learned vector if it has one.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from nemd_toolkit.checkpoints import Checkpoint, OwnPrototypes
from nemd_toolkit.clustering import kmeans
from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.errors import InputError
from nemd_toolkit.placing import nearest_directions
from nemd_toolkit.scratch import blocks
from nemd_toolkit.sphere import directions_of, mean_rows, to_sphere

__all__ = [
    "Prototypes",
    "Source",
    "default_counts",
    "fit_prototypes",
    "prototypes_from_checkpoint",
    "prototypes_from_labels",
    "prototypes_from_vectors",
]

_BLOCK = 16_777_216  # cosines at a time: 64 MB
_EQUAL = 1e-5  # lengths of prototypes that differ by less, relative, make no other order
_LEAST = 5  # prototypes: with fewer, an interval hardly says anything
Source = Literal["k-means", "labels", "own"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Prototypes:
    """One clustering of embeddings: which prototype each row belongs to, and their directions."""

    embeddings: Embeddings
    assignment: Int[Tensor, " n"]
    vectors: Float[Tensor, "k d"]  # unit rows; centroid, learned vector or class mean
    names: tuple[str, ...]
    source: Source
    fitted_rows: int | None = None  # that k-means fitted to; fewer than all mean a sample

    @property
    def k(self) -> int:
        """Number of prototypes asked for, with or without members."""
        return len(self.vectors)

    @cached_property
    def sizes(self) -> Int[Tensor, " k"]:
        """Number of members of each prototype."""
        return torch.bincount(self.assignment, minlength=self.k)

    @cached_property
    def used(self) -> Int[Tensor, " u"]:
        """Indices of the prototypes that have members."""
        return self.sizes.nonzero().squeeze(1)

    def used_assignment(self) -> Int[Tensor, " n"]:
        """Give the assignment numbered over the used prototypes alone, in the order of `used`."""
        place = torch.full((self.k,), -1)
        place[self.used] = torch.arange(len(self.used))
        return place[self.assignment]

    def members(self) -> list[Int[Tensor, " _"]]:
        """Rows of each prototype, in order; empty for a prototype without members."""
        order = self.assignment.argsort(stable=True)
        return list(order.split(self.sizes.tolist()))

    @cached_property
    def mean_rows(self) -> Float[Tensor, "u d"]:
        """Mean of each used prototype's members, float64."""
        return mean_rows(self.embeddings.vectors, self.used_assignment(), len(self.used))

    def mean_directions(self) -> Float[Tensor, "u d"]:
        """Mean direction of each used prototype's members, float64."""
        return directions_of(self.mean_rows, self.embeddings.vectors, self.used_assignment())


def default_counts(n: int) -> tuple[int, ...]:
    """Numbers of prototypes to try for n samples: n/50, half and a quarter of it, at most 400.

    Fifty samples a prototype leave two disjoint halves of a dozen or more in most clusters; more
    than one number because the true number of groups is not known (PCL clusters thrice as well).
    Fewer than five prototypes are tried only where there are too few samples for more.

    >>> default_counts(2000), default_counts(60_000), default_counts(600), default_counts(30)
    ((40, 20, 10), (400, 200, 100), (12, 6), (2,))
    >>> default_counts(1)
    (1,)
    """
    most = min(400, n // 50)
    several = {k for k in (most, most // 2, most // 4) if k >= _LEAST}
    return tuple(sorted(several or {min(n, max(2, most))}, reverse=True))


def fit_prototypes(embeddings: Embeddings, k: int = 100, seed: int = 0) -> Prototypes:
    """Find k prototypes by spherical k-means.

    Raises InputError if there are fewer samples than prototypes. Fewer distinct samples than
    prototypes leave some unused, see `Prototypes.used`.

    >>> e = Embeddings([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [-1.0, 0.1]])
    >>> fit_prototypes(e, k=2).sizes
    tensor([2, 2])
    """
    found = kmeans(embeddings.vectors, k, seed=seed)
    return Prototypes(
        embeddings=embeddings,
        assignment=found.assignment,
        vectors=F.normalize(found.centroids, dim=1),
        names=tuple(str(p) for p in range(k)),
        source="k-means",
        fitted_rows=found.fitted_rows,
    )


def prototypes_from_labels(embeddings: Embeddings) -> Prototypes:
    """Take each label as a prototype. Raises InputError without labels or with a single class.

    >>> e = Embeddings([[1.0, 0.0], [0.0, 1.0]], labels=["cat", "dog"])
    >>> prototypes_from_labels(e).names
    ('cat', 'dog')
    """
    if embeddings.labels is None:
        raise InputError("labels: expected one per row, got none; give them with --labels")
    classes, assignment = np.unique(embeddings.labels, return_inverse=True)
    if len(classes) < 2:
        raise InputError(
            f"labels: expected at least 2 classes, got one ({str(classes[0])!r}); "
            "use --prototypes with numbers for k-means instead"
        )
    found = Prototypes(
        embeddings=embeddings,
        assignment=torch.as_tensor(assignment),
        vectors=torch.empty(len(classes), embeddings.dim),
        names=tuple(str(c) for c in classes),
        source="labels",
    )
    return replace(found, vectors=found.mean_directions().float())


def prototypes_from_vectors(embeddings: Embeddings, vectors: Float[Tensor, "k d"]) -> Prototypes:
    """Assign each row to the model's own prototype of highest cosine.

    Raises InputError if the dimensions differ.

    >>> e = Embeddings([[1.0, 0.0], [0.0, 1.0]])
    >>> prototypes_from_vectors(e, torch.tensor([[0.0, 2.0], [3.0, 0.0]])).assignment
    tensor([1, 0])
    """
    if vectors.shape[1] != embeddings.dim:
        raise InputError(
            f"prototypes: expected vectors of dimension {embeddings.dim} as the embeddings, got "
            f"{vectors.shape[1]}; analyse the layer that the prototypes live in (--layer projector)"
        )
    unit = to_sphere(vectors.float(), name="prototypes")
    return Prototypes(
        embeddings=embeddings,
        assignment=nearest_directions(embeddings.vectors, unit),
        vectors=unit,
        names=tuple(str(p) for p in range(len(unit))),
        source="own",
    )


def prototypes_from_checkpoint(
    checkpoint: Checkpoint, embeddings: Embeddings, branch: str | None = None
) -> tuple[Prototypes, ...]:
    """Take the checkpoint's own prototypes, one clustering for each set that it holds.

    They are those of the branch that gave the embeddings, by default the checkpoint's default one.
    Rows go to the prototype of the highest logit, as the method computes it: dot product with the
    vector as it is, plus bias where there is one, of unit rows or of rows as they came. (Softmax
    keeps that order; Sinkhorn's balancing belongs to a training batch, and is left out.) Raises
    InputError if the branch holds none, or of another dimension than the embeddings.
    """
    found = checkpoint.branch(branch).prototypes
    if not found:
        others = [name for name, other in checkpoint.branches.items() if other.prototypes]
        where = f"its branch {branch or checkpoint.default_branch}" if others else "it"
        raise InputError(
            f"{checkpoint.path}: expected prototypes of its own, got none in {where}; "
            + (f"take the branch {others[0]}, or " if others else "")
            + "give numbers for k-means"
        )
    return tuple(_own(own, embeddings) for own in found)


def _own(own: OwnPrototypes, embeddings: Embeddings) -> Prototypes:
    found = prototypes_from_vectors(embeddings, own.vectors)
    lengths = own.vectors.norm(dim=1)
    equal = bool((lengths.max() - lengths.min()) <= _EQUAL * lengths.max())
    if own.bias is None and equal:
        return found  # the highest cosine is the highest logit
    bias = torch.zeros(own.k) if own.bias is None else own.bias
    most = max(1, _BLOCK // own.k)
    rows = zip(blocks(embeddings.vectors, most), embeddings.lengths.split(most), strict=True)
    assigned = [
        ((unit if own.unit else unit * length[:, None].float()) @ own.vectors.T + bias).argmax(1)
        for unit, length in rows
    ]
    return replace(found, assignment=torch.cat(assigned))
