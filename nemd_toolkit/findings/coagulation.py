"""NEMD002: the members of each prototype draw together while prototypes stay apart."""

from collections.abc import Sequence
from math import hypot

from nemd_toolkit.findings.finding import About, Finding, Status
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.measures.intervals import Interval
from nemd_toolkit.measures.summary import ClusteringMeasures, Measures

__all__ = ["ABOUT", "check"]

_Scored = tuple[ClusteringMeasures, Interval]

ABOUT = About(
    code="NEMD002",
    name="coagulation",
    kind="collapse",
    meaning="Samples have drawn together around their prototypes: what differs within a prototype "
    "is lost, while prototypes stay well separated. This is the prototype collapse that "
    "prototypical contrastive learning is prone to (PAUC poster).",
    fires="the NEMD score, 0 on the uniform sphere and 1 when every cloud is a point, lies above "
    "the threshold with its whole 95 % interval in at least one clustering; with fewer prototypes "
    "than groups the score is lower, because each cloud then holds several",
    remedy="Lower the weight of the prototype loss or start it later; raise its temperature (PCL's "
    "φ); use more prototypes; add PAUC's prototype terms or instance uniformity, and watch kNN "
    "beside NEMD. If labels are what you want to separate and nothing else, this may be harmless.",
)


def check(measures: Measures, limits: Thresholds) -> Finding:
    """Judge the clustering whose score is the most surely high.

    Fewer prototypes than groups lower the score, more hardly raise it, so that the others only
    dilute it. Issue when its whole interval lies above the threshold; warning by its value.
    """
    scored = [(c, c.nemd.score) for c in measures.clusterings if c.nemd and c.nemd.score]
    thresholds = {
        "score_issue": limits.coagulation_issue,
        "score_warning": limits.coagulation_warning,
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
    worst, score = max(scored, key=lambda entry: entry[1].low)
    status = _status(score, limits)
    told = {
        "issue": "samples have coagulated around their prototypes",
        "warning": "samples lie close to their prototypes",
        "passed": "members keep their diversity within prototypes",
    }
    return Finding(
        about=ABOUT,
        status=status,
        message=f"NEMD score {score.value:.2f} [{score.low:.2f}, {score.high:.2f}] "
        f"{_place(worst)}: {told[status]}{_dependence(scored, limits)}",
        measured={
            "score": score.value,
            "score_low": score.low,
            "score_high": score.high,
            "k": worst.k,
        },
        threshold=thresholds,
    )


def _dependence(scored: Sequence[_Scored], limits: Thresholds) -> str:
    """Warn where the score hangs on K: where clouds hold several groups it is too low."""
    found = sorted(((c.k, s) for c, s in scored if c.source == "k-means"), key=lambda e: e[0])
    if len(found) == len(scored) == 1 and found[0][1].low <= limits.coagulation_issue:
        return "; at one K only: with more groups than prototypes it would be too low"
    if len(found) < 2:
        return ""
    (least, few), (_, many) = found[0], found[-1]
    rise = many.value - few.value
    if rise <= max(limits.score_rise, hypot(many.value - many.low, few.high - few.value)):
        return ""
    return f"; it rises with K ({few.value:.2f} at K={least}): prototypes hold several groups each"


def _status(score: Interval, limits: Thresholds) -> Status:
    if score.low > limits.coagulation_issue:
        return "issue"
    return "warning" if score.value > limits.coagulation_warning else "passed"


def _place(clustering: ClusteringMeasures) -> str:
    by = {"k-means": "", "own": " of the model's own", "labels": ", by label"}
    return f"at K={clustering.k}{by[clustering.source]}"
