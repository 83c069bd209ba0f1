"""Seeds of k-means: greedy k-means++ (Arthur & Vassilvitskii 2007), one at a time or several."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.threads import one_thread

__all__ = ["plus_plus", "plus_plus_ahead"]

_BLOCK = 16_777_216  # entries of one block of distances: 64 MB in float32
_AHEAD = 1 / 64  # share of very many seeds that are drawn at a time, at most


def plus_plus(
    points: Float[Tensor, "n d"], k: int, generator: torch.Generator
) -> Float[Tensor, "k d"]:
    """Choose k rows as seeds.

    A few candidates are drawn with probability proportional to the squared distance to the seeds
    before, and the one that lowers the total most is kept.
    """
    trials = 2 + int(math.log(k))
    chosen = [int(torch.randint(len(points), (1,), generator=generator))]
    squares = points.square().sum(1)
    closest = _to_candidates(points, squares, torch.tensor(chosen, device=points.device))[:, 0]
    with one_thread():
        for draws in torch.rand(k - 1, trials, generator=generator, dtype=torch.float64):
            candidates = _drawn(closest, draws)
            away = _to_candidates(points, squares, candidates)  # (n, trials)
            shared = torch.minimum(closest[:, None], away)
            best = int(shared.double().sum(0).argmin())
            chosen.append(int(candidates[best]))
            closest = shared[:, best]
    return points[chosen].clone()


def plus_plus_ahead(
    points: Float[Tensor, "n d"], k: int, generator: torch.Generator
) -> Float[Tensor, "k d"]:
    """`plus_plus` with candidates for several seeds at a time, as many as fit a block.

    They are drawn from the distances as these were before the block, so that one product serves
    all; the choice among them is by the distances as they are. Several times faster.
    """
    n, trials = len(points), 2 + int(math.log(k))
    chosen = [int(torch.randint(n, (1,), generator=generator))]
    squares = points.square().sum(1)
    closest = _to_candidates(points, squares, torch.tensor(chosen, device=points.device))[:, 0]
    draws = torch.rand(k - 1, trials, generator=generator, dtype=torch.float64)
    ahead = max(1, min(int(_AHEAD * k), _BLOCK // (n * trials)))
    block = points.new_empty(ahead * trials, n)  # one for all: fresh memory takes as long again
    for several in draws.split(ahead):
        candidates = _drawn(closest, several)  # (seeds, trials)
        rows = candidates.flatten()
        away = torch.add(squares, squares[rows, None], out=block[: len(rows)])
        away.addmm_(points[rows], points.T, alpha=-2.0).clamp_min_(0.0)
        away[torch.arange(len(rows)), rows] = 0.0
        with one_thread():
            for own, distances in zip(candidates, away.split(trials), strict=True):
                shared = torch.minimum(closest, distances)
                best = int(shared.double().sum(1).argmin())
                chosen.append(int(own[best]))
                closest = shared[best]
    return points[chosen].clone()


def _drawn(closest: Tensor, draws: Tensor) -> Tensor:
    """Rows drawn in proportion to `closest`, by uniform numbers of any shape."""
    mass = closest.double().cpu().cumsum(0)  # on CUDA cumsum has no deterministic kernel
    places = torch.searchsorted(mass, draws * mass[-1], right=True)
    return places.clamp_max(len(closest) - 1).to(closest.device)


def _to_candidates(points: Tensor, squares: Tensor, candidates: Tensor) -> Tensor:
    """Squared distances of all rows to some of them; exactly 0 from a row to itself."""
    away = squares[:, None] + squares[candidates] - 2.0 * (points @ points[candidates].T)
    away = away.clamp_min(0.0)
    away[candidates, torch.arange(len(candidates))] = 0.0
    return away
