"""NEMD009: too little data to tell."""

from nemd_toolkit.findings.finding import About, Finding, Status
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.measures.summary import ClusteringMeasures, Measures

__all__ = ["ABOUT", "check"]

ABOUT = About(
    code="NEMD009",
    name="too-few-samples",
    kind="doubt",
    meaning="Too few samples in each prototype, or too few prototypes, for the intervals to hold "
    "what they promise. The verdict is then never 'healthy'.",
    fires="no clustering has 4 prototypes, and two fifths of those in use, that can be compared: "
    "with two disjoint halves of at least 6 members, which k-means must not have seen",
    remedy="Give more samples (about 50 for each prototype), or ask for fewer prototypes, but at "
    "least 4.",
)

_OUTCOME = {
    "passed": "",
    "issue": ": too few to tell",
    "not_applicable": ": all are one point, see NEMD001, and more would not help",
}


def check(measures: Measures, limits: Thresholds) -> Finding:
    """Judge the clustering that is compared the most: one that is compared enough will do."""
    best = max(measures.clusterings, key=lambda c: (_enough(c, limits), _compared(c)))
    compared, used = _compared(best), best.usage.used
    status: Status = "passed" if _enough(best, limits) else "issue"
    one_point = measures.spectrum.variance <= limits.rounding_variance
    if status == "issue" and measures.rows.count > 1 and one_point:
        status = "not_applicable"
    size = f" (n={best.nemd.n} per half)" if best.nemd else ""
    return Finding(
        about=ABOUT,
        status=status,
        message=f"{compared} of {used} prototypes in use can be compared{size}, from "
        f"{measures.rows.count:,} samples" + _OUTCOME[status],
        measured={
            "prototypes": compared,
            "share": compared / used,
            "k": best.k,
            "count": measures.rows.count,
        },
        threshold={"prototypes": limits.least_prototypes, "share": limits.least_compared},
    )


def _compared(clustering: ClusteringMeasures) -> int:
    return clustering.nemd.prototypes if clustering.nemd else 0


def _enough(clustering: ClusteringMeasures, limits: Thresholds) -> bool:
    compared = _compared(clustering)
    return (
        compared >= limits.least_prototypes
        and compared >= limits.least_compared * clustering.usage.used
    )
