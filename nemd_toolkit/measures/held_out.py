"""Members of prototypes that were found without them.

k-means puts centroids where its rows happen to lie close, so the clouds of the very rows that it
was fitted to lie further apart than those of fresh rows, the more so the fewer rows a prototype
has. So rows are split in two, k-means is fitted to either half, and clouds are drawn from the other
(cross-fitting). It takes most of the dependence on the number of rows out of excess and score.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nemd_toolkit.clustering import kmeans, rows_to_fit
from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.errors import InputError
from nemd_toolkit.placing import nearest_directions, some_of
from nemd_toolkit.prototypes import Prototypes
from nemd_toolkit.scratch import rows_at
from nemd_toolkit.sphere import mean_directions

__all__ = ["Members", "TooFewSamples", "cross_fitted", "members_of"]

_STRIDE = 104_729  # between the seeds of splits; any will do


class TooFewSamples(InputError):
    """Not enough prototypes with enough members for a transport distance between them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Members:
    """Rows by prototype: what clouds are drawn from."""

    points: Float[Tensor, "n d"]
    rows: tuple[Int[Tensor, " _"], ...]  # of each prototype; empty where it has none
    directions: Float[Tensor, "k d"] | None = None  # of their means, where they are known already

    @property
    def sizes(self) -> Int[np.ndarray, " u"]:
        """Number of members of those prototypes that have any."""
        sizes = np.array([len(rows) for rows in self.rows])
        return sizes[sizes > 0]

    def owners(self) -> Int[Tensor, " n"]:
        """Give the prototype of each row, −1 for rows that are no members."""
        found = torch.full((len(self.points),), -1)
        found[torch.cat(self.rows)] = torch.repeat_interleave(
            torch.tensor([len(rows) for rows in self.rows])
        )
        return found

    def mean_directions(self) -> Float[Tensor, "k d"]:
        """Mean direction of each prototype's members, in float64; zeros where it has none."""
        if self.directions is not None:
            return self.directions
        return mean_directions(self.points, self.owners(), len(self.rows))


def members_of(prototypes: Prototypes) -> Members:
    """Take all members of prototypes, as they are."""
    return Members(points=prototypes.embeddings.vectors, rows=tuple(prototypes.members()))


def cross_fitted(
    embeddings: Embeddings, k: int, *, seed: int, splits: int = 1, thinned: bool = False
) -> tuple[Members, ...]:
    """Give the held-out members under k-means of the other half, both ways, for each split.

    Views of one sample stay in one half, and k-means of a half is fitted to half of the rows that
    it is fitted to for the whole. `thinned`: k-means of every second row of that half, chosen at
    random; the members stay the same rows. Raises TooFewSamples where k-means has fewer than k.

    >>> e = Embeddings([[1.0, 0.0], [0.0, 1.0]] * 8)
    >>> [[len(rows) for rows in run.rows] for run in cross_fitted(e, 2, seed=0)]
    [[5, 3], [5, 3]]
    """
    runs = []
    for split in range(splits):
        halves = _halves(embeddings, seed + _STRIDE * split)
        for half, other in (halves, halves[::-1]):
            own = _thinned(half, seed + _STRIDE * split) if thinned else half
            if len(own) < k:
                raise TooFewSamples(
                    f"NEMD: expected at least {2 * k} rows for {k} prototypes, to find them in one "
                    f"half and measure them in the other, got {len(embeddings)}; give more "
                    "samples or ask for fewer prototypes"
                )
            share = 4 if thinned else 2
            most = max(k, -(-rows_to_fit(len(embeddings), k) // share))
            runs.append(_held_out(embeddings.vectors, own, other, k, most, seed + _STRIDE * split))
    return tuple(runs)


def _halves(embeddings: Embeddings, seed: int) -> tuple[Tensor, Tensor]:
    """Two halves of the rows, in order; of the samples where rows are views of them."""
    generator = torch.Generator().manual_seed(seed)
    samples = torch.arange(len(embeddings))
    if embeddings.groups is not None:
        samples = torch.as_tensor(np.unique(embeddings.groups, return_inverse=True)[1])
    place = torch.randperm(int(samples.max()) + 1, generator=generator)[samples]
    first = place < (int(samples.max()) + 2) // 2
    return first.nonzero().squeeze(1), (~first).nonzero().squeeze(1)


def _thinned(rows: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(rows), generator=generator)[: len(rows) // 2]
    return rows[chosen.sort().values]


def _held_out(points: Tensor, own: Tensor, other: Tensor, k: int, most: int, seed: int) -> Members:
    centroids = kmeans(_sample(points, own, most, seed), k, seed=seed, most_rows=most).centroids
    assignment = nearest_directions(points, centroids, other)
    order = assignment.argsort(stable=True)
    sizes = torch.bincount(assignment, minlength=k).tolist()
    return Members(points=points, rows=tuple(other[order].split(sizes)))


def _sample(points: Tensor, rows: Tensor, most: int, seed: int) -> Tensor:
    """Copy what k-means of these rows is fitted to, as it would draw it: not the others."""
    places = some_of(len(rows), most, seed)
    return rows_at(points, rows if places is None else rows[places])
