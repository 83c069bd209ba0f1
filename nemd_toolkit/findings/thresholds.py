"""Every number a finding compares with, and why it is that number.

First thresholds, ours: set from the ladder of known worlds (tests/worlds.py) and from the rounding
of float16; their error rates are not measured yet.
"""

from dataclasses import dataclass

__all__ = ["Thresholds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Limits of all findings; issue and warning levels apart."""

    # NEMD001: variance around the mean. A constant row stored in float16 keeps about 1e-7.
    total_variance_issue: float = 1e-6
    total_variance_warning: float = 1e-3  # mean cosine 0.999
    # NEMD002: score. 0.75 is a within-prototype noise of a quarter of the distance between
    # prototypes (resultant 0.97); 0.6 is 0.45 of it (0.91).
    coagulation_issue: float = 0.75
    coagulation_warning: float = 0.60
    # NEMD003: cosine distance of distinct prototypes (2410.14060, from memory), share repeated.
    duplicate_epsilon: float = 0.025
    duplicate_share: float = 0.10
    # NEMD006: centred effective rank as a share of what uniform points of the same N and d have.
    # Below 3 the cloud is flat or a line, unless d itself is so small that 3 is half of it.
    rank_issue: float = 3.0
    rank_share_small: float = 0.50
    rank_share_issue: float = 0.05
    rank_share_warning: float = 0.15
    # NEMD007: share of squared length in the mean row. Structureless noise has 1/π = 0.32 after a
    # ReLU and 2/π = 0.64 as absolute values, so (nearly) non-negative rows are judged leniently.
    cone_issue: float = 0.50
    cone_warning: float = 0.30
    cone_negative_share: float = 0.05  # of the squared length: ReLU gives 0, SiLU and GELU little
    cone_issue_nonnegative: float = 0.90
    cone_warning_nonnegative: float = 0.75
    # NEMD009: with fewer than 5 prototypes the intervals are too wide to mean much; with fewer than
    # half of them compared, the number speaks of the large prototypes only.
    least_prototypes: int = 5
    least_compared: float = 0.5
    # NEMD010: share of rows that repeat another row exactly.
    duplicate_rows_issue: float = 0.50
    duplicate_rows_warning: float = 0.01
