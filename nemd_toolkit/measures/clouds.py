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
from nemd_toolkit.sphere import mean_direction
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

    first: Float[Tensor, "u n d"]
    second: Float[Tensor, "u n d"]
    directions: Float[Tensor, "u d"]
    which: Int[np.ndarray, " u"]  # index of each prototype in its clustering
    skipped: int  # prototypes with members, but fewer than 2n

    @property
    def n(self) -> int:
        """Points in each half."""
        return int(self.first.shape[1])


def common_size(runs: Sequence[Members]) -> int:
    """One n for all: what nine in ten prototypes of every run afford, within 6…64.

    Where that would be below 6, n stays 6 and the small prototypes are skipped, and counted.
    """
    tenths = [np.quantile(run.sizes, 0.1, method="lower") // 2 for run in runs]
    return int(np.clip(min(tenths, default=LEAST), LEAST, MOST))


def draw_clouds(members: Members, n: int, *, seed: int) -> Clouds:
    """Draw the halves. Raises TooFewSamples if fewer than three prototypes hold 2n members."""
    generator = torch.Generator().manual_seed(seed)
    points = members.points
    first, second, directions, which = [], [], [], []
    with one_thread():
        for p, rows in enumerate(members.rows):
            drawn = rows[torch.randperm(len(rows), generator=generator)]
            if len(rows) >= 2 * n:
                first.append(points[drawn[:n]])
                second.append(points[drawn[n : 2 * n]])
                directions.append(mean_direction(points[rows]))
                which.append(p)
    used = len(members.sizes)
    if len(which) < LEAST_PROTOTYPES:
        advice = (
            "all samples fall on one prototype: look at the variance of the embeddings first"
            if used == 1 and len(points) > 1
            else "give more samples or ask for fewer prototypes"
        )
        raise TooFewSamples(
            f"NEMD: expected at least {LEAST_PROTOTYPES} prototypes with {2 * n} members, got "
            f"{len(which)} ({used} of {len(members.rows)} prototypes have members at all); {advice}"
        )
    return Clouds(
        first=torch.stack(first),
        second=torch.stack(second),
        directions=torch.stack(directions),
        which=np.array(which),
        skipped=used - len(which),
    )
