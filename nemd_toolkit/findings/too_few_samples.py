"""NEMD009: too little data to tell."""

from nemd_toolkit.findings.finding import About, Finding, Status
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.measures.summary import Measures

__all__ = ["ABOUT", "check"]

ABOUT = About(
    code="NEMD009",
    name="too-few-samples",
    kind="doubt",
    meaning="Too few samples in each prototype, or too few prototypes, for the intervals to hold "
    "what they promise. The verdict is then never 'healthy'.",
    fires="no clustering has 5 prototypes that can be compared (with members for two halves of at "
    "least 8), or fewer than half of those in use can",
    remedy="Give more samples (about 50 for each prototype), or ask for fewer prototypes, but at "
    "least 5.",
)

_OUTCOME = {
    "passed": "",
    "issue": ": too few to tell",
    "not_applicable": ": all are one point, see NEMD001, and more would not help",
}


def check(measures: Measures, limits: Thresholds) -> Finding:
    """Judge the clustering in which the most prototypes can be compared."""
    best = max(measures.clusterings, key=lambda c: c.nemd.prototypes if c.nemd else 0)
    compared, used = best.nemd.prototypes if best.nemd else 0, best.usage.used
    share = compared / used
    enough = compared >= limits.least_prototypes and share >= limits.least_compared
    status: Status = "passed" if enough else "issue"
    if (
        not enough
        and measures.rows.count > 1
        and measures.spectrum.variance <= limits.rounding_variance
    ):
        status = "not_applicable"
    size = f" (n={best.nemd.n} per half)" if best.nemd else ""
    return Finding(
        about=ABOUT,
        status=status,
        message=f"{compared} of {used} prototypes in use can be compared{size}, from "
        f"{measures.rows.count:,} samples" + _OUTCOME[status],
        measured={"prototypes": compared, "share": share, "count": measures.rows.count},
        threshold={"prototypes": limits.least_prototypes, "share": limits.least_compared},
    )
