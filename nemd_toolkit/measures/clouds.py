"""Two disjoint samples of equal size from each prototype: what NEMD is computed on.

Raw W1 depends on the sample size, so one size n holds for all clouds of a comparison. Prototypes
with fewer than 2n members are left out, and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nemd_toolkit.measures.held_out import Members, TooFewSamples
from nemd_toolkit.measures.intervals import LEAST as LEAST_PROTOTYPES
from nemd_toolkit.scratch import block_rows, empty_rows, release, rows_at
from nemd_toolkit.threads import one_thread

__all__ = [
    "LEAST",
    "MOST",
    "Clouds",
    "common_size",
    "draw_clouds",
]

LEAST = 6  # points per half cloud; at 5 the score is .006 lower than at 16, at 8 .002 to .008
MOST = 64  # points per half cloud: the excess is stable from a dozen on, and time grows as n^2…n^3


@dataclass(frozen=True, slots=True, kw_only=True)
class Clouds:
    """Disjoint halves of n members for each prototype that has 2n, and its mean direction."""

    points: Float[Tensor, "m d"]  # all rows, of which the halves are some
    first_rows: Int[Tensor, "u n"]
    second_rows: Int[Tensor, "u n"]
    directions: Float[Tensor, "u d"]
    which: Int[np.ndarray, " u"]  # index of each prototype in its clustering
    skipped: int  # prototypes with members, but fewer than 2n

    @property
    def n(self) -> int:
        """Points in each half."""
        return int(self.first_rows.shape[1])

    @property
    def first(self) -> Float[Tensor, "u n d"]:
        """Copy the first halves."""
        return self.both_halves()[:, : self.n]

    @property
    def second(self) -> Float[Tensor, "u n d"]:
        """Copy the second halves."""
        return self.both_halves()[:, self.n :]

    def both_halves(self, some: Int[Tensor, " c"] | None = None) -> Float[Tensor, "c s d"]:
        """Copy the members of some of the prototypes, by place, the first half before the second.

        Beyond the memory limit they lie in a file as all rows do, side by side.
        """
        rows = torch.cat([self.first_rows, self.second_rows], dim=1)
        rows = rows if some is None else rows[some]
        dim, places = self.points.shape[1], rows.flatten()
        found = empty_rows(len(places), dim)
        step = block_rows(dim)
        for part, out in zip(places.split(step), found.split(step), strict=True):
            out.copy_(rows_at(self.points, part))
            release(out)
        return found.view(*rows.shape, dim)


def common_size(runs: Sequence[Members]) -> int:
    """One n for all: what nine in ten prototypes of every run afford, within 6…64.

    Where that would be below 6, n stays 6 and the small prototypes are skipped, and counted.
    """
    tenths = [np.quantile(run.sizes, 0.1, method="lower") // 2 for run in runs]
    return int(np.clip(min(tenths, default=LEAST), LEAST, MOST))


def draw_clouds(members: Members, n: int, *, seed: int) -> Clouds:
    """Draw the halves. Raises TooFewSamples if fewer than three prototypes hold 2n members."""
    generator = torch.Generator().manual_seed(seed)
    first, second, which = [], [], []
    with one_thread():
        for p, rows in enumerate(members.rows):
            drawn = rows[torch.randperm(len(rows), generator=generator)]
            if len(rows) >= 2 * n:
                first.append(drawn[:n])
                second.append(drawn[n : 2 * n])
                which.append(p)
    used = len(members.sizes)
    if len(which) < LEAST_PROTOTYPES:
        advice = (
            "all samples fall on one prototype: look at the variance of the embeddings first"
            if used == 1 and len(members.points) > 1
            else "give more samples or ask for fewer prototypes"
        )
        raise TooFewSamples(
            f"NEMD: expected at least {LEAST_PROTOTYPES} prototypes with {2 * n} members, got "
            f"{len(which)} ({used} of {len(members.rows)} prototypes have members at all); {advice}"
        )
    return Clouds(
        points=members.points,
        first_rows=torch.stack(first),
        second_rows=torch.stack(second),
        directions=members.mean_directions()[which],
        which=np.array(which),
        skipped=used - len(which),
    )
