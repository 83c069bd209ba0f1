"""One numbering of prototypes for several runs of k-means.

Runs find the same groups in another order. Numbered alike, what one prototype does to a value can
be followed through all runs: prototypes are resampled once for all of them (errors_of_runs.py).
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from nemd_toolkit.measures.held_out import Members

__all__ = ["MOST_MATCHED", "matched"]

MOST_MATCHED = 2_000  # prototypes: an assignment takes a second here, and grows with the cube


def matched(runs: Sequence[Members], least: int = 1) -> tuple[Members, ...]:
    """Renumber the prototypes of every run after the first: those with like directions are one.

    Directions are means of members; the sum of cosines is the largest that one-to-one pairs have
    (an assignment problem), after as many as possible of those with `least` members have found each
    other. More than 2,000 prototypes are left as they are.

    >>> points = torch.eye(2)
    >>> rows = (torch.tensor([0]), torch.tensor([1]))
    >>> runs = [Members(points=points, rows=rows), Members(points=points, rows=rows[::-1])]
    >>> first, second = matched(runs)
    >>> [int(found[0]) for found in second.rows]
    [0, 1]
    """
    if len(runs) < 2 or len(runs[0].rows) > MOST_MATCHED:
        return tuple(runs)
    wanted, enough = runs[0].mean_directions(), _holds(runs[0], least)
    first = 2.0 * len(wanted) + 1  # more than all cosines together can win
    found = [replace(runs[0], directions=wanted)]
    for run in runs[1:]:
        both = enough[:, None] & _holds(run, least)
        directions = run.mean_directions()
        likeness = wanted @ directions.T + first * both
        _, place = linear_sum_assignment(likeness.numpy(), maximize=True)
        rows = tuple(run.rows[p] for p in place)
        found.append(replace(run, rows=rows, directions=directions[place]))
    return tuple(found)


def _holds(run: Members, least: int) -> Bool[Tensor, " k"]:
    return torch.tensor([len(rows) >= least for rows in run.rows])
