"""NEMD003: several prototypes are one."""

from nemd_toolkit.findings.finding import About, Finding, Status
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.measures.summary import ClusteringMeasures, Measures

__all__ = ["ABOUT", "check"]

ABOUT = About(
    code="NEMD003",
    name="duplicated-prototypes",
    kind="collapse",
    meaning="Distinct prototypes point the same way, so fewer are in effect than were asked for "
    "(partial prototype collapse). NEMD is low for such pairs and hides it. For prototypes found "
    "by k-means it only says that K exceeds the number of groups, and is a warning.",
    fires="more than a tenth of the used prototypes repeat another within cosine distance 0.025; "
    "the report gives the curve over ε",
    remedy="Ask for fewer prototypes; add KoLeo on the prototypes; freeze prototypes for the first "
    "epochs (SwAV); update prototypes apart from the encoder.",
)


def check(measures: Measures, limits: Thresholds) -> Finding:
    """Judge the clustering with the largest share of duplicates."""
    several = [c for c in measures.clusterings if c.usage.used > 1]
    thresholds = {"epsilon": limits.duplicate_epsilon, "share": limits.duplicate_share}
    if not several:
        return Finding(
            about=ABOUT,
            status="not_applicable",
            message="only one prototype has members, so none can repeat another",
            measured={"share": None},
            threshold=thresholds,
        )
    # prototypes that a model or labels bring count before those that k-means made
    worst = max(
        several,
        key=lambda c: (_repeated(c, limits) * (c.source != "k-means"), _repeated(c, limits)),
    )
    share = _repeated(worst, limits)
    status: Status = "passed"
    if share > limits.duplicate_share:
        status = "warning" if worst.source == "k-means" else "issue"
    fired = "" if status == "passed" else ": more prototypes than groups" * (status == "warning")
    return Finding(
        about=ABOUT,
        status=status,
        message=f"{share:.0%} of {worst.usage.used} prototypes (K={worst.k}, {worst.source}) "
        f"repeat another within cosine distance {limits.duplicate_epsilon:g}{fired}",
        measured={"share": share, "used": worst.usage.used, "k": worst.k},
        threshold=thresholds,
    )


def _repeated(clustering: ClusteringMeasures, limits: Thresholds) -> float:
    return dict(clustering.spread.duplicates)[limits.duplicate_epsilon]
