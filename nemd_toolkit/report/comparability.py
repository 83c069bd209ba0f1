"""What may be said of several runs side by side: are they alike, and do their scores differ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from nemd_toolkit.report.analysis import Analysis
from nemd_toolkit.report.wording import interval, shortened

__all__ = ["Difference", "differences", "warnings"]

Run = tuple[str, Analysis]

MOST_PAIRED = 6  # runs; more are compared with the first only
LONGEST_NAME = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Whether the scores of two runs differ by more than their intervals."""

    first: str
    first_score: str
    second: str
    second_score: str
    beyond: bool  # the 95 % intervals do not overlap


def warnings(runs: Sequence[Run]) -> list[str]:
    """One sentence for each thing that makes runs unlike, and what that spoils."""
    return [
        f"Runs differ in {what} ({'; '.join(sorted(values))}): {spoils}"
        for what, read, spoils in _ALIKE
        if len(values := {shortened(read(analysis), 100) for _, analysis in runs}) > 1
    ]


_RAW = "raw NEMD is not comparable, read the score."
_ALL = "no column is a fair comparison of encoders."
_ALIKE: tuple[tuple[str, Callable[[Analysis], str], str], ...] = (
    ("points per cloud, n", lambda a: str(a.measures.nemd.n if a.measures.nemd else "none"), _RAW),
    ("embeddings, N", lambda a: f"{a.measures.rows.count:,}", _RAW),
    ("dimension, d", lambda a: f"{a.measures.rows.dim:,}", _RAW),
    (
        "prototypes, K",
        lambda a: ", ".join(f"{c.k} {c.source}" for c in a.measures.clusterings),
        "raw NEMD is not comparable, and the score is lower where a prototype holds several "
        "groups.",
    ),
    ("data", lambda a: a.provenance.data or "none", _ALL),
    ("layer", lambda a: a.provenance.layer or "none", _ALL),
)


def differences(runs: Sequence[Run]) -> list[Difference]:
    """Compare the scores of every two runs, or of each with the first where there are many."""
    scored = [run for run in runs if run[1].measures.nemd and run[1].measures.nemd.score]
    if len(scored) <= MOST_PAIRED:
        return [_difference(a, b) for a, b in combinations(scored, 2)]
    return [_difference(scored[0], other) for other in scored[1:]]


def _difference(first: Run, second: Run) -> Difference:
    a, b = (run[1].measures.nemd for run in (first, second))
    assert a is not None
    assert b is not None
    assert a.score is not None
    assert b.score is not None
    beyond = a.score.low > b.score.high or b.score.low > a.score.high
    return Difference(
        first=shortened(first[0], LONGEST_NAME),
        first_score=interval(a.score),
        second=shortened(second[0], LONGEST_NAME),
        second_score=interval(b.score),
        beyond=beyond,
    )
