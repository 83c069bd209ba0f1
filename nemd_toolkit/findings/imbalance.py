"""NEMD005: a few prototypes hold most of the samples."""

from nemd_toolkit.findings.finding import About, Finding, Status
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.measures.summary import ClusteringMeasures, Measures
from nemd_toolkit.measures.usage import Usage

__all__ = ["ABOUT", "check", "evenness_of", "status_of"]

ABOUT = About(
    code="NEMD005",
    name="imbalance",
    kind="collapse",
    meaning="Few prototypes hold most samples: the usage entropy lies far below that of equal "
    "shares at this N. Empty prototypes are left to NEMD004. Where k-means or labels made the "
    "prototypes it may be the data that is imbalanced, and is a warning.",
    fires="the perplexity of the usage (exp of its entropy) is less than 55 % of what equal shares "
    "of the prototypes in use show at this N, as when the largest holds 100 times as much as the "
    "smallest in a long tail; a warning from 70 % down (25 times)",
    remedy="If the data is balanced: assign by Sinkhorn-Knopp, which shares a batch out evenly "
    "(SwAV), with more iterations or a larger queue; in DINO check the centring, which keeps one "
    "prototype from taking over, and raise the teacher's temperature if its outputs are too sharp; "
    "KoLeo on the prototypes spreads them. PCL's author saw accuracy fall by a few percent where "
    "clusters were imbalanced. If the data is imbalanced: balance the sample that is analysed, or "
    "read this against a baseline.",
)

_STATUSES: tuple[Status, ...] = ("passed", "warning", "issue")


def check(measures: Measures, limits: Thresholds) -> Finding:
    """Judge the clustering with the worst status, and the least even of those."""
    several = [c for c in measures.clusterings if c.usage.used > 1]
    thresholds: dict[str, float | int] = {
        "evenness_issue": limits.evenness_issue,
        "evenness_warning": limits.evenness_warning,
    }
    if not several or measures.spectrum.variance <= limits.rounding_variance:
        reason = "all embeddings are one point, see NEMD001"
        return Finding(
            about=ABOUT,
            status="not_applicable",
            message=reason if several else "only one prototype has members",
            measured={"evenness": None},
            threshold=thresholds,
        )
    worst = max(several, key=lambda c: (_STATUSES.index(_status(c, limits)), -_evenness(c)))
    usage = worst.usage
    return Finding(
        about=ABOUT,
        status=_status(worst, limits),
        message=f"usage perplexity {usage.perplexity:.1f} of K={worst.k:,} ({worst.source}), "
        f"{min(1.0, _evenness(worst)):.0%} of an even use of the {usage.used:,} with members "
        f"(entropy {usage.entropy:.3f}, equal shares {usage.null.entropy.low:.3f}…"
        f"{usage.null.entropy.high:.3f}); the largest holds {usage.largest_share:.1%}",
        measured={
            "evenness": _evenness(worst),
            "entropy": usage.entropy,
            "expected_entropy_low": usage.null.entropy.low,
            "perplexity": usage.perplexity,
            "largest_share": usage.largest_share,
            "k": worst.k,
        },
        threshold=thresholds,
    )


def _status(c: ClusteringMeasures, limits: Thresholds) -> Status:
    return status_of(c.usage, limits, own=c.source == "own")


def status_of(usage: Usage, limits: Thresholds, *, own: bool) -> Status:
    """Judge how evenly prototypes are used; at most a warning where they are not a model's own."""
    within_chance = usage.entropy >= usage.null.entropy.low
    evenness = evenness_of(usage)
    if within_chance or evenness >= limits.evenness_warning:
        return "passed"
    return "issue" if own and evenness < limits.evenness_issue else "warning"


def _evenness(c: ClusteringMeasures) -> float:
    return evenness_of(c.usage)


def evenness_of(usage: Usage) -> float:
    """Perplexity as a share of the null's, the null scaled down to the prototypes in use."""
    alive = min(1.0, usage.used / (len(usage.sizes) - usage.null.dead))
    return usage.perplexity / (usage.null.perplexity.value * alive)
