"""NEMD002: the members of each prototype draw together while prototypes stay apart."""

from nemd_toolkit.findings.finding import About, Finding, Status
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.measures.summary import Measures

__all__ = ["ABOUT", "check"]

ABOUT = About(
    code="NEMD002",
    name="coagulation",
    kind="collapse",
    meaning="Samples have drawn together around their prototypes: what differs within a prototype "
    "is lost, while prototypes stay well separated. This is the prototype collapse that "
    "prototypical contrastive learning is prone to (PAUC poster).",
    fires="the NEMD score, 0 on the uniform sphere and 1 when every cloud is a point, lies above "
    "the threshold with its whole 95 % interval; with fewer prototypes than groups the score is "
    "lower, because each cloud then holds several",
    remedy="Lower the weight of the prototype loss or start it later; raise its temperature (PCL's "
    "φ); use more prototypes; add PAUC's prototype terms or instance uniformity, and watch kNN "
    "beside NEMD. If labels are what you want to separate and nothing else, this may be harmless.",
)


def check(measures: Measures, limits: Thresholds) -> Finding:
    """Issue when the whole interval lies above the threshold; warning from the lower one on."""
    summary = measures.nemd
    score = summary.score if summary else None
    thresholds = {
        "score_issue": limits.coagulation_issue,
        "score_warning": limits.coagulation_warning,
    }
    if summary is None or score is None:
        reason = measures.nemd_missing if summary is None else summary.score_missing
        return Finding(
            about=ABOUT,
            status="not_applicable",
            message=f"no NEMD score: {reason}",
            measured={"score": None},
            threshold=thresholds,
        )
    interval = f"NEMD score {score.value:.2f} [{score.low:.2f}, {score.high:.2f}]"
    status: Status = "passed"
    counts = ", ".join(str(c.k) for c in measures.clusterings)
    message = f"{interval}: members keep their diversity within prototypes (K={counts})"
    if score.low > limits.coagulation_issue:
        status = "issue"
        message = f"{interval}: samples have coagulated around their prototypes"
    elif score.value > limits.coagulation_warning:
        status = "warning"
        message = f"{interval}: samples lie close to their prototypes"
    return Finding(
        about=ABOUT,
        status=status,
        message=message,
        measured={"score": score.value, "score_low": score.low, "score_high": score.high},
        threshold=thresholds,
    )
