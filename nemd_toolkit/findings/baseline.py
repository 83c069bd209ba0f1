"""Judging against a reference run instead of absolute limits.

For the numbers where a change means something, an issue is a change for the worse: beyond the
combined 95 % intervals where there are any, else beyond a stated tolerance. As the reference has
the same data and the same prototypes, a change of k-means' duplicates or of its balance is the
encoder's doing, and an issue as well. NEMD001, 004, 009, 010 and 011 stay absolute: a
constant encoder, too few samples or a dead loss are no better for having been so before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import hypot

from nemd_toolkit.findings.finding import Finding
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.measures.intervals import Interval

__all__ = ["Baseline", "Numbers", "judge_against"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What is compared; None where it was not measured."""

    score: Interval | None  # NEMD: higher is worse, as in all below but where it is said
    excess: Interval | None  # read where one of the two has no score
    rank_share: float  # centred effective rank over that of uniform points; lower is worse
    mean_share: float  # of the squared length in the mean row, in [0, 1]
    duplicates: tuple[float, ...]  # share of prototypes that repeat another, by clustering
    entropy: tuple[float, ...]  # of the usage over ln K, by clustering; lower is worse
    knn: Interval | float | None  # accuracy; lower is worse


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A reference run, as its report.json tells it."""

    file: str
    sha256: str
    source: str  # what it had analysed
    state: str  # its verdict
    numbers: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    what: str
    ours: Interval | float
    theirs: Interval | float
    worse: float  # positive for the worse
    allowed: float

    @property
    def beyond(self) -> float:
        return self.worse - self.allowed

    def message(self) -> str:
        by_interval = isinstance(self.ours, Interval) and isinstance(self.theirs, Interval)
        limit = "the combined 95 % intervals" if by_interval else "the tolerance"
        change = f"worse by {self.worse:.3f}, beyond" if self.beyond > 0 else "not worse beyond"
        both = f"{self.what} {_told(self.ours)}, baseline {_told(self.theirs)}"
        return f"{both}: {change} {limit} ({self.allowed:.3f})"


def judge_against(
    findings: Sequence[Finding], ours: Numbers, theirs: Numbers, limits: Thresholds
) -> tuple[Finding, ...]:
    """Judge anew, by what changed from `theirs` to `ours`, each finding where that means something.

    What could not tell because of the run itself, such as a rank where all rows are one point,
    still cannot. NEMD008 stays absolute, and fires as well where kNN accuracy fell.
    """
    changes = list(_changes(ours, theirs, limits))
    return tuple(
        _against(f, [change for code, change in changes if code == f.about.code]) for f in findings
    )


def _against(finding: Finding, changes: Sequence[_Change]) -> Finding:
    code = finding.about.code
    # without a score there may still be an excess
    blind = finding.status == "not_applicable" and code not in ("NEMD002", "NEMD008")
    if not changes or blind:
        return finding
    worst = max(changes, key=lambda change: change.beyond)
    if code == "NEMD008" and (finding.status == "issue" or worst.beyond <= 0):
        return finding
    return replace(
        finding,
        status="issue" if worst.beyond > 0 else "passed",
        message=worst.message(),
        measured={
            "value": _value(worst.ours),
            "baseline": _value(worst.theirs),
            "worse_by": worst.worse,
        },
        threshold={"worse_by": worst.allowed},
        relative=True,
        undecided=False,
    )


def _changes(ours: Numbers, theirs: Numbers, t: Thresholds) -> Iterator[tuple[str, _Change]]:
    if ours.score and theirs.score:
        yield "NEMD002", _change("NEMD score", ours.score, theirs.score)
    elif ours.excess and theirs.excess:
        yield "NEMD002", _change("NEMD excess", ours.excess, theirs.excess)
    for a, b in zip(ours.duplicates, theirs.duplicates, strict=True):
        yield "NEMD003", _change("share of repeated prototypes", a, b, t.baseline_duplicates)
    for a, b in zip(ours.entropy, theirs.entropy, strict=True):
        yield "NEMD005", _change("usage entropy", a, b, t.baseline_entropy, sign=-1)
    a, b = ours.rank_share, theirs.rank_share
    tolerance = t.baseline_rank_share * b
    yield "NEMD006", _change("effective rank over uniform points'", a, b, tolerance, sign=-1)
    a, b = ours.mean_share, theirs.mean_share
    yield "NEMD007", _change("share of squared length in the mean row", a, b, t.baseline_mean_share)
    if ours.knn is not None and theirs.knn is not None:
        yield "NEMD008", _change("kNN accuracy", ours.knn, theirs.knn, t.baseline_knn, sign=-1)


def _change(
    what: str,
    ours: Interval | float,
    theirs: Interval | float,
    tolerance: float = 0.0,
    *,
    sign: int = 1,
) -> _Change:
    """Compare; with intervals the sides that face each other add in squares, as errors do."""
    allowed = tolerance
    if isinstance(ours, Interval) and isinstance(theirs, Interval):
        near = ours.value - ours.low if sign > 0 else ours.high - ours.value
        far = theirs.high - theirs.value if sign > 0 else theirs.value - theirs.low
        allowed = hypot(near, far)
    worse = sign * (_value(ours) - _value(theirs))
    return _Change(what=what, ours=ours, theirs=theirs, worse=worse, allowed=allowed)


def _value(number: Interval | float) -> float:
    return number.value if isinstance(number, Interval) else number


def _told(number: Interval | float) -> str:
    if isinstance(number, Interval):
        return f"{number.value:z.3f} [{number.low:z.3f}, {number.high:z.3f}]"
    return f"{number:z.3f}"
