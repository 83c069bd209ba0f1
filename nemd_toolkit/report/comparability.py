"""What may be said of several runs side by side: are they alike, and do their scores differ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from nemd_toolkit.report.analysis import Analysis
from nemd_toolkit.report.wording import interval, shortened

__all__ = ["Difference", "Setting", "differences", "unlike", "warnings"]

Run = tuple[str, Analysis]

MOST_PAIRED = 6  # runs; more are compared with the first only
LONGEST_NAME = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What has to be alike for numbers of two runs to be comparable."""

    count: int
    dim: int
    clusterings: tuple[tuple[int, str], ...]  # K and source of each
    n: int | None  # points in a cloud
    data: str | None
    layer: str | None
    branch: str | None = None  # if another than the layout's default one


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
    settings = [_setting(analysis) for _, analysis in runs]
    return [
        f"Runs differ in {what} ({'; '.join(sorted(values))}): {spoils}"
        for what, read, spoils in (_POINTS, *_ALIKE)
        if len(values := {shortened(read(setting), 100) for setting in settings}) > 1
    ]


def unlike(first: Setting, second: Setting) -> list[tuple[str, str, str]]:
    """Say what differs between two runs, with both values; not n, which moves raw NEMD alone."""
    return [
        (what, read(first), read(second)) for what, read, _ in _ALIKE if read(first) != read(second)
    ]


def _setting(analysis: Analysis) -> Setting:
    m, provenance = analysis.measures, analysis.provenance
    return Setting(
        count=m.rows.count,
        dim=m.rows.dim,
        clusterings=tuple((c.k, c.source) for c in m.clusterings),
        n=m.nemd.n if m.nemd else None,
        data=provenance.data,
        layer=provenance.layer,
        branch=None if provenance.default_branch else provenance.branch,
    )


_RAW = "raw NEMD is not comparable, read the score."
_ALL = "no column is a fair comparison of encoders."
_Alike = tuple[str, Callable[[Setting], str], str]
_POINTS: _Alike = ("points per cloud, n", lambda s: str(s.n or "none"), _RAW)
_ALIKE: tuple[_Alike, ...] = (
    ("embeddings, N", lambda s: f"{s.count:,}", _RAW),
    ("dimension, d", lambda s: f"{s.dim:,}", _RAW),
    (
        "prototypes, K",
        lambda s: ", ".join(f"{k} {source}" for k, source in s.clusterings),
        "raw NEMD is not comparable, and the score is lower where a prototype holds several "
        "groups.",
    ),
    ("data", lambda s: s.data or "none", _ALL),
    ("layer", lambda s: s.layer or "none", _ALL),
    ("branch", lambda s: s.branch or "the default one", _ALL),
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
