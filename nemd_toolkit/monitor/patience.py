"""When an issue counts: it lasts, does not get better, and is not just how the training began.

Random networks often look collapsed (their outputs share a large mean), and healthy trainings
leave that behind. So an issue has to be there in several checks in a row without getting better,
and has to be worse than the best check so far: what was never better counts after a warm-up only.
"""

from collections.abc import Sequence

from nemd_toolkit.findings.finding import Finding
from nemd_toolkit.monitor.judging import Judged

__all__ = ["MARGIN", "Patience"]

# In units of badness: a tenth of the variance, the rank, or what else is lost. Ours; windows of a
# healthy training that has settled, 20 steps apart, differed by .03 at most.
MARGIN = 0.1


class Patience:
    """Count consecutive checks for each finding.

    >>> Patience(3).update([], warm=True)
    ()
    """

    def __init__(self, checks: int) -> None:
        self._checks = checks
        self._best: dict[str, float] = {}
        self._run: dict[str, list[float]] = {}  # badness in the latest checks that were all issues

    def begin(self, found: Sequence[Judged]) -> None:
        """Take the state that the training began with, to compare with; it counts as no check."""
        for each in found:
            self._remember(each)

    def update(self, found: Sequence[Judged], *, warm: bool) -> tuple[Finding, ...]:
        """Give the issues that count now; `warm`: the warm-up is over."""
        lasting = []
        for code in self._run.keys() - {each.code for each in found}:
            self._run[code].clear()  # not judged this time
        for each in found:
            run = self._run.setdefault(each.code, [])
            if each.finding.status != "issue":
                run.clear()
            else:
                run.append(each.badness)
                if len(run) >= self._checks and self._counts(each, run, warm):
                    lasting.append(each.finding)
            self._remember(each)
        return tuple(lasting)

    def _remember(self, each: Judged) -> None:
        if each.finding.status != "not_applicable":  # which says nothing of how bad it is
            self._best[each.code] = min(self._best.get(each.code, each.badness), each.badness)

    def _counts(self, each: Judged, run: Sequence[float], warm: bool) -> bool:
        better = each.badness < run[-self._checks] - MARGIN
        worse_than_once = each.badness > self._best.get(each.code, each.badness) + MARGIN
        return not better and (warm or worse_than_once)
