"""What each pair of prototypes adds to NEMD, kept so that two encoders can be compared.

Two encoders that see the same rows share the luck of which rows and which groups there are. Where a
prototype of one holds the members of a prototype of the other, that luck cancels in the difference
of what the two add, pair by pair (paired.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from nemd_toolkit.measures.errors_of_runs import alike_pairs, averaged, common_pairs
from nemd_toolkit.measures.held_out import Members
from nemd_toolkit.measures.intervals import Interval
from nemd_toolkit.measures.pair_table import PairTable

__all__ = ["Contributions", "contributions_of"]

_SMALL = 1 << 15  # prototypes: their numbers fit 16 bits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contributions:
    """One clustering's values before the mean over pairs, and which rows its prototypes hold."""

    pairs: Int[np.ndarray, "c 2"]  # that all runs measured
    raw: Float[np.ndarray, " c"]  # means over the runs
    excess: Float[np.ndarray, " c"]
    score: Float[np.ndarray, " c"] | None  # of first order, less a constant; None without a score
    alike: Bool[np.ndarray, " c"] | None  # pairs that are pieces of one group
    anchor_pairs: Int[np.ndarray, "a 2"] | None  # of the uniform null
    anchor: Float[np.ndarray, " a"] | None  # what they add to the score
    members: Int[np.ndarray, "r n"]  # the prototype of each row in each run; −1: not in that run


def contributions_of(
    runs: Sequence[Members],
    tables: Sequence[PairTable],
    uniform: Sequence[PairTable],
    score: Interval | None,
    anchors: tuple[float, float],
) -> Contributions | None:
    """Keep what runs numbered alike measured; None where they have hardly a pair in common.

    anchors: the excess at a score of 0 and of 1.
    """
    pairs = common_pairs(tables)
    if pairs is None:
        return None
    low, high = anchors
    linear, anchor = None, None
    anchor_pairs = common_pairs(uniform)
    if score is not None:
        columns = [(t.excess - score.value * t.chord) / (high - low) for t in tables]
        linear = averaged(columns, tables, pairs)
        if anchor_pairs is not None:
            parts = [(1 - score.value) * t.excess / (high - low) for t in uniform]
            anchor = averaged(parts, uniform, anchor_pairs)
    return Contributions(
        pairs=pairs,
        raw=averaged([t.raw for t in tables], tables, pairs),
        excess=averaged([t.excess for t in tables], tables, pairs),
        score=linear,
        alike=alike_pairs(tables, pairs),
        anchor_pairs=anchor_pairs,
        anchor=anchor,
        members=np.stack([_prototype_of_rows(run) for run in runs]),
    )


def _prototype_of_rows(run: Members) -> Int[np.ndarray, " n"]:
    found: Int[np.ndarray, " n"] = run.owners().numpy()
    return found.astype(np.int16 if len(run.rows) < _SMALL else np.int32)
