"""NEMD002: the members of each prototype draw together while prototypes stay apart."""

from collections.abc import Sequence
from math import hypot
from typing import NamedTuple

from nemd_toolkit.findings.finding import About, Finding, Status
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.measures.intervals import Interval
from nemd_toolkit.measures.nemd import Nemd
from nemd_toolkit.measures.summary import ClusteringMeasures, Measures

__all__ = ["ABOUT", "check", "status_of"]

_STATUSES: tuple[Status, ...] = ("passed", "warning", "issue")


class _Scored(NamedTuple):
    clustering: ClusteringMeasures
    nemd: Nemd
    score: Interval
    rise: float  # since the next smaller K of k-means, at the largest K; else 0


ABOUT = About(
    code="NEMD002",
    name="coagulation",
    kind="collapse",
    meaning="Samples have drawn together around their prototypes: what differs within a prototype "
    "is lost, while prototypes stay well separated. This is the prototype collapse that "
    "prototypical contrastive learning is prone to (PAUC poster).",
    fires="the NEMD score, 0 on the uniform sphere and 1 when every cloud is a point, lies above "
    "0.75, and its whole 95 % interval above 0.70, in at least one clustering; or above 0.70 where "
    "it is too low since prototypes hold several groups each: tight clumps within them, or a rise "
    "with K. Above 0.75 with a wider interval: a warning, and an inconclusive verdict. Only a "
    "warning, too, where few axes bring it there: where the excess is less than 0.65 of the way "
    "from points with the same axes and no groups to collapse",
    remedy="Lower the weight of the prototype loss or start it later; raise its temperature (PCL's "
    "φ); use more prototypes; add PAUC's prototype terms or instance uniformity, and watch kNN "
    "beside NEMD. If labels are what you want to separate and nothing else, this may be harmless.",
)


def check(measures: Measures, limits: Thresholds) -> Finding:
    """Judge the clustering that shows it the most, and of those the one that is the most sure.

    Fewer prototypes than groups lower the score, more hardly raise it, so that the others only
    dilute it. Tight clumps within prototypes tell that there are fewer, as does a score that still
    rises steeply from the second largest K to the largest.
    """
    scored = _scored(measures)
    thresholds = {
        "score_issue": limits.coagulation_issue,
        "score_warning": limits.coagulation_warning,
        "clumping": limits.clumping,
        "steep_rise": limits.steep_rise,
        "beyond_axes": limits.beyond_axes,
    }
    if not scored:
        reason = measures.nemd.score_missing if measures.nemd else measures.nemd_missing
        return Finding(
            about=ABOUT,
            status="not_applicable",
            message=f"no NEMD score: {reason}",
            measured={"score": None},
            threshold=thresholds,
        )
    worst = max(scored, key=lambda s: _rank(s, limits))
    score, status = worst.score, _status(worst, limits)
    return Finding(
        about=ABOUT,
        status=status,
        undecided=status == "warning"
        and score.value > limits.coagulation_issue
        and not _by_axes(worst, limits),
        message=f"NEMD score {score.value:.2f} [{score.low:.2f}, {score.high:.2f}] "
        f"{_place(worst.clustering)}: {_told(worst, limits)}{_dependence(scored, worst, limits)}"
        f"{_crowding(worst, measures.rows.dim, limits)}",
        measured={
            "score": score.value,
            "score_low": score.low,
            "score_high": score.high,
            "clumping": worst.nemd.clumping,
            "rise": worst.rise,
            "beyond_axes": worst.nemd.beyond_axes,
            "k": worst.clustering.k,
        },
        threshold=thresholds,
    )


def _scored(measures: Measures) -> list[_Scored]:
    found = [(c, c.nemd) for c in measures.clusterings if c.nemd is not None]
    scored = [_Scored(c, nemd, nemd.score, 0.0) for c, nemd in found if nemd.score is not None]
    by_k = sorted((s for s in scored if s.clustering.source == "k-means"), key=_number)
    if len(by_k) < 2:
        return scored
    rise = by_k[-1].score.value - by_k[-2].score.value
    return [s._replace(rise=rise) if s is by_k[-1] else s for s in scored]


def _status(scored: _Scored, limits: Thresholds) -> Status:
    status = status_of(scored.score.value, scored.score.low, limits)
    if status == "passed":
        return "warning" if _clumped(scored, limits) else "passed"
    if _clumped(scored, limits):
        return "issue"
    if scored.rise > limits.steep_rise:
        status = "issue"
    return "warning" if _by_axes(scored, limits) else status


def _clumped(scored: _Scored, limits: Thresholds) -> bool:
    """Whether prototypes hold several tight clumps each."""
    return scored.nemd.clumping < limits.clumping


def _by_axes(scored: _Scored, limits: Thresholds) -> bool:
    """Whether few axes, without any group, would bring the excess most of its way."""
    beyond = scored.nemd.beyond_axes
    return beyond is not None and beyond < limits.beyond_axes


def status_of(score: float, low: float, limits: Thresholds) -> Status:
    """Status by the score alone and the low end of its interval: an issue is surely a warning."""
    if score > limits.coagulation_issue and low > limits.coagulation_warning:
        return "issue"
    return "warning" if score > limits.coagulation_warning else "passed"


def _rank(scored: _Scored, limits: Thresholds) -> tuple[int, bool, float]:
    """By status; a score beyond the limit that is not surely so comes before other warnings."""
    beyond = scored.score.value > limits.coagulation_issue
    return _STATUSES.index(_status(scored, limits)), beyond, scored.score.low


def _told(scored: _Scored, limits: Thresholds) -> str:
    if _status(scored, limits) == "passed":
        return "members keep their diversity within prototypes"
    if not _clumped(scored, limits) and _by_axes(scored, limits):
        place = round(scored.nemd.beyond_axes or 0.0, 2) + 0.0  # no -0.00
        return (
            f"few axes bring it there: from points with these axes and no groups it is {place:.2f} "
            f"of the way to collapse ({limits.beyond_axes:.2f} would be an issue)"
        )
    if status_of(scored.score.value, scored.score.low, limits) == "issue":
        return "samples have coagulated around their prototypes"
    if _clumped(scored, limits):
        told = f"nearest members at {scored.nemd.clumping:.2f} of their mean distance"
        return f"prototypes hold several tight clumps each ({told}); ask for more prototypes"
    if _status(scored, limits) == "issue":
        return "samples have coagulated around more points than there are prototypes"
    if scored.score.value > limits.coagulation_issue:
        limit = f"{limits.coagulation_warning:.2f}"
        return f"not surely above {limit}; ask for more prototypes, or give more rows, to tell"
    return "samples lie close to their prototypes"


def _dependence(scored: Sequence[_Scored], worst: _Scored, limits: Thresholds) -> str:
    """Warn where the score hangs on K: where clouds hold several groups it is too low.

    Where few axes bring it up it rises with K without any group.
    """
    if _status(worst, limits) == "warning" and _by_axes(worst, limits):
        return ""
    found = sorted((s for s in scored if s.clustering.source == "k-means"), key=_number)
    if len(found) == len(scored) == 1 and _status(found[0], limits) != "issue":
        return "; at one K only: with more groups than prototypes it would be too low"
    if len(found) < 2:
        return ""
    few, many = found[0].score, found[-1].score
    rise = many.value - few.value
    if rise <= max(limits.score_rise, hypot(many.value - many.low, few.high - few.value)):
        return ""
    least = f"{few.value:.2f} at K={_number(found[0])}"
    return f"; it rises with K ({least}): fewer prototypes hold several groups each"


def _crowding(worst: _Scored, dim: int, limits: Thresholds) -> str:
    """Warn where prototypes are many for the dimensions, so that wide groups overlap."""
    k = worst.clustering.k
    if k <= limits.crowded * dim or worst.score.value > limits.crowded_score:
        return ""
    return f"; {k} prototypes crowd {dim} dimensions, where wide groups score up to 0.08 lower"


def _number(scored: _Scored) -> int:
    return scored.clustering.k


def _place(clustering: ClusteringMeasures) -> str:
    by = {"k-means": "", "own": " of the model's own", "labels": ", by label"}
    return f"at K={clustering.k}{by[clustering.source]}"
