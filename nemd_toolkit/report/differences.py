"""By how much runs differ, with intervals, and which of them is the healthiest beyond noise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.measures import Interval, Measures
from nemd_toolkit.measures.paired import (
    Change,
    Column,
    change_of_nemd,
    change_of_rows,
    independent_change,
)
from nemd_toolkit.measures.row_influence import RowInfluence, row_influence
from nemd_toolkit.progress import bar
from nemd_toolkit.report.analysis import Analysis

__all__ = ["NUMBERS", "Difference", "SideBySide", "Standing"]

Run = tuple[str, Analysis]
NUMBERS = {  # what is compared: how it is called, and what more of it means
    "score": ("NEMD score", "more coagulated"),
    "excess": ("NEMD excess", "further apart than noise"),
    "raw": ("NEMD raw", "further apart; at equal n and d only"),
    "rank_share": ("effective rank share", "more directions in use, of those of uniform points"),
    "mean_share": ("mean share", "more of a cone"),
    "knn": ("kNN accuracy", "better"),
}
MOST_PAIRED = 6  # runs that are all compared with each other; of more, all with the healthiest
_STATES = ("healthy", "inconclusive", "collapsed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One number of the second run less that of the first."""

    first: str
    second: str
    number: str  # a key of NUMBERS
    change: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A run in the order of health: by state, then by score; what differs within noise is tied."""

    place: int  # from 1; equal for runs that are tied
    name: str
    analysis: Analysis


class SideBySide:
    """Runs side by side; each run's rows are read once, however many it is compared with."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = dict(runs)
        self._influences: dict[str, RowInfluence] = {}

    def change(self, first: str, second: str, number: str) -> Change | None:
        """Give `number` of the second less the first; None where one of them has none."""
        a, b = self._runs[first], self._runs[second]
        if number in ("score", "excess", "raw"):
            return _change_of_nemd(a, b, number)  # type: ignore[arg-type]  # one of the three
        if number == "knn":
            return _independent(*(_knn(run.measures) for run in (a, b)))
        return self._change_of_rows(first, second, number)

    def standings(self) -> list[Standing]:
        """All runs, the healthiest first."""
        ordered = sorted(self._runs.items(), key=_health)
        found: list[Standing] = []
        for name, analysis in ordered:
            leader = next((s for s in found if s.place == found[-1].place), None)
            tied = leader is not None and self._tied(leader, name)
            place = leader.place if leader is not None and tied else len(found) + 1
            found.append(Standing(place=place, name=name, analysis=analysis))
        return found

    def differences(self) -> list[Difference]:
        """Compare every two runs, or each with the healthiest where there are many."""
        names = list(self._runs)
        pairs = list(combinations(names, 2))
        if len(names) > MOST_PAIRED:
            best = self.standings()[0].name
            pairs = [(best, name) for name in names if name != best]
        found = []
        with bar("comparing runs", len(pairs)) as advance:
            for first, second in pairs:
                for number in NUMBERS:
                    change = self.change(first, second, number)
                    if change is not None:
                        found.append(
                            Difference(first=first, second=second, number=number, change=change)
                        )
                advance(1)
        return found

    def _tied(self, leader: Standing, name: str) -> bool:
        if leader.analysis.verdict.state != self._runs[name].verdict.state:
            return False
        change = self.change(leader.name, name, "score")
        return change is None or not change.beyond

    def _change_of_rows(self, first: str, second: str, number: str) -> Change:
        a, b = self._runs[first], self._runs[second]
        read: Callable[[Measures], float] = _ROWS[number]
        parts = [self._influence(name, number) for name in (first, second)]
        return change_of_rows(
            (read(a.measures), read(b.measures)),
            (parts[0], parts[1]),
            (self._influences[first].samples, self._influences[second].samples),
            same_rows=_same_rows(a, b),
        )

    def _influence(self, name: str, number: str) -> np.ndarray:
        if name not in self._influences:
            self._influences[name] = row_influence(_embeddings(self._runs[name]))
        if number == "mean_share":
            return self._influences[name].mean_share
        null = self._runs[name].measures.spectrum.null_effective_rank
        scaled: np.ndarray = self._influences[name].rank / (null or 1.0)
        return scaled


def _rank_share(m: Measures) -> float:
    null = m.spectrum.null_effective_rank
    return m.spectrum.effective_rank_centred / null if null else 0.0


_ROWS: dict[str, Callable[[Measures], float]] = {
    "rank_share": _rank_share,
    "mean_share": lambda m: m.instance.resultant**2,
}


def _health(run: Run) -> tuple[int, bool, float]:
    analysis = run[1]
    nemd = analysis.measures.nemd
    score = nemd.score if nemd else None
    return _STATES.index(analysis.verdict.state), score is None, score.value if score else 0.0


def _knn(m: Measures) -> Interval | None:
    return m.quality.knn if m.quality else None


def _embeddings(run: Analysis) -> Embeddings:
    return run.measures.clusterings[0].prototypes.embeddings


def _same_rows(a: Analysis, b: Analysis) -> bool:
    """Whether row i is the same sample in both, as far as ids, groups, labels and data tell.

    If it is not after all, nothing goes wrong: influences then show no covariance.
    """
    if a.measures.rows.count != b.measures.rows.count or a.provenance.data != b.provenance.data:
        return False
    one, other = (run.measures.clusterings[0].prototypes.embeddings for run in (a, b))
    for name in ("ids", "labels", "groups"):
        first, second = getattr(one, name), getattr(other, name)
        if first is not None and second is not None and not np.array_equal(first, second):
            return False
    return (one.groups is None) == (other.groups is None)


def _change_of_nemd(a: Analysis, b: Analysis, column: Column) -> Change | None:
    first, second = a.measures.nemd, b.measures.nemd
    if first is None or second is None:
        return None
    if column == "raw" and (first.n, a.measures.rows.dim) != (second.n, b.measures.rows.dim):
        return None
    kinds = [[(c.k, c.source) for c in run.measures.clusterings] for run in (a, b)]
    have = [
        [
            c.nemd is not None and getattr(c.nemd, column) is not None
            for c in run.measures.clusterings
        ]
        for run in (a, b)
    ]
    if kinds[0] != kinds[1] or have[0] != have[1] or a.measures.seed != b.measures.seed:
        return _independent(getattr(first, column), getattr(second, column))
    there = [
        [c.nemd for c, has in zip(run.measures.clusterings, have[0], strict=True) if has and c.nemd]
        for run in (a, b)
    ]
    return change_of_nemd(there[0], there[1], column, same_rows=_same_rows(a, b))


def _independent(first: Interval | None, second: Interval | None) -> Change | None:
    return None if first is None or second is None else independent_change(first, second)
