"""NEMD003: several prototypes are one."""

from nemd_toolkit.findings.finding import About, Finding, Status
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.measures.summary import ClusteringMeasures, Measures

__all__ = ["ABOUT", "check", "status_of"]

ABOUT = About(
    code="NEMD003",
    name="duplicated-prototypes",
    kind="collapse",
    meaning="Distinct prototypes point the same way, so fewer are in effect than were asked for "
    "(partial prototype collapse). NEMD is low for such pairs and hides it. Where k-means "
    "or labels made the prototypes it says that there are fewer groups, and is a warning; and so "
    "it is where as many uniform directions in as few dimensions repeat one another alike.",
    fires="more than a tenth of the used prototypes repeat another within cosine distance 0.025 "
    "(of a model's own, a tenth more than uniform ones); the report gives the curve over ε",
    remedy="Ask for fewer prototypes; add KoLeo on the prototypes; freeze prototypes for the first "
    "epochs (SwAV); update prototypes apart from the encoder.",
)

_SHOWN = 0.005  # a share by chance from which the message tells it
_STATUSES: tuple[Status, ...] = ("passed", "warning", "issue")


def check(measures: Measures, limits: Thresholds) -> Finding:
    """Judge the clustering with the worst status, and of those the largest share."""
    several = [c for c in measures.clusterings if c.usage.used > 1 or _own(c)]
    thresholds = {"epsilon": limits.duplicate_epsilon, "share": limits.duplicate_share}
    if not several:
        return Finding(
            about=ABOUT,
            status="not_applicable",
            message="only one prototype has members, so none can repeat another",
            measured={"share": None},
            threshold=thresholds,
        )
    worst = max(several, key=lambda c: (_STATUSES.index(_status(c, limits)), _repeated(c, limits)))
    share, status = _repeated(worst, limits), _status(worst, limits)
    null = _by_chance(worst, limits)
    fired = f" (as many uniform ones: {null:.0%})" if null and null > _SHOWN else ""
    if status == "warning" and worst.source != "own":
        fired = ": more prototypes than groups"
    return Finding(
        about=ABOUT,
        status=status,
        message=f"{share:.0%} of {_counted(worst)} prototypes (K={worst.k}, {worst.source}) "
        f"repeat another within cosine distance {limits.duplicate_epsilon:g}{fired}",
        measured={
            "share": share,
            "used": worst.usage.used,
            "k": worst.k,
            **({} if null is None else {"uniform_share": null}),
        },
        threshold=thresholds,
    )


def _own(clustering: ClusteringMeasures) -> bool:
    return clustering.source == "own" and clustering.k > 1


def _counted(clustering: ClusteringMeasures) -> int:
    """Prototypes that the share is of: all of a model's own, else those with members."""
    return clustering.k if clustering.source == "own" else clustering.usage.used


def _status(clustering: ClusteringMeasures, limits: Thresholds) -> Status:
    return status_of(_repeated(clustering, limits), _by_chance(clustering, limits), limits)


def status_of(share: float, null: float | None, limits: Thresholds) -> Status:
    """Judge the share that repeats beside that of uniform ones; None: not a model's own."""
    if share <= limits.duplicate_share:
        return "passed"
    return "warning" if null is None or share <= null + limits.duplicate_share else "issue"


def _by_chance(clustering: ClusteringMeasures, limits: Thresholds) -> float | None:
    """Share of as many uniform directions; None for prototypes that are not a model's own."""
    curve = clustering.spread.uniform_duplicates
    return None if curve is None else dict(curve)[limits.duplicate_epsilon]


def _repeated(clustering: ClusteringMeasures, limits: Thresholds) -> float:
    return dict(clustering.spread.duplicates)[limits.duplicate_epsilon]
