"""NEMD004: a model's own prototypes that no sample falls on."""

from nemd_toolkit.findings.finding import About, Finding, Status
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.measures.summary import ClusteringMeasures, Measures
from nemd_toolkit.measures.usage import Usage

__all__ = ["ABOUT", "check", "excess_of", "status_of"]

ABOUT = About(
    code="NEMD004",
    name="dead-prototypes",
    kind="collapse",
    meaning="Prototypes of the model that no sample is nearest to, more than N samples leave empty "
    "by chance: they take part in the loss, but stand for nothing. k-means and labels give every "
    "prototype a member, so this is about a model's own prototypes.",
    fires="more than a tenth of all prototypes are empty beyond the number expected at this N "
    "under equal shares (a warning from a twentieth on, and at most a warning with fewer than ten "
    "samples a prototype, where uneven use alone leaves many empty)",
    remedy="First make sure that the images are like those of the training: a subset leaves "
    "prototypes empty. Then ask for fewer prototypes, or no more than a batch and its queue hold "
    "(SwAV); assign by Sinkhorn-Knopp, which shares a batch out evenly, or lower its ε if the "
    "codes are nearly uniform; freeze the prototypes for the first epoch (SwAV's "
    "freeze_prototypes_niters); in DINO check the centring and warm the teacher's temperature up; "
    "start empty prototypes anew from samples.",
)

_STATUSES: tuple[Status, ...] = ("passed", "warning", "issue")


def check(measures: Measures, limits: Thresholds) -> Finding:
    """Judge the clustering of own prototypes with the worst status, and the most dead of those."""
    own = [c for c in measures.clusterings if c.source == "own" and c.k > 1]
    one_point = measures.spectrum.variance <= limits.rounding_variance
    if not own or one_point:
        return Finding(
            about=ABOUT,
            status="not_applicable",
            message=_why_not(measures, one_point=one_point),
            measured={"dead": None},
            threshold=_thresholds(limits),
        )
    worst = max(own, key=lambda c: (_STATUSES.index(_status(c, limits)), _excess(c)))
    usage, copies = worst.usage, _copies(worst)
    few = _members(worst) < limits.dead_members and _status(worst, limits) == "warning"
    return Finding(
        about=ABOUT,
        status=_status(worst, limits),
        message=f"{usage.dead:,} of {worst.k:,} own prototypes hold no sample"
        + (f" ({copies:,} of them copies, see NEMD003)" if copies else "")
        + "; equal shares leave "
        f"{usage.null.dead:.1f} ± {usage.null.dead_sd:.1f} empty at N={measures.rows.count:,}"
        + (f": with {_members(worst):.1f} samples a prototype, some may be rare only" * few),
        measured={
            "dead": usage.dead,
            "copies": copies,
            "expected": usage.null.dead,
            "expected_sd": usage.null.dead_sd,
            "excess_share": _excess(worst),
            "k": worst.k,
        },
        threshold=_thresholds(limits),
    )


def _status(c: ClusteringMeasures, limits: Thresholds) -> Status:
    return status_of(c.usage, _copies(c), limits)


def status_of(usage: Usage, copies: int, limits: Thresholds) -> Status:
    """Judge the use of own prototypes; `copies` of the empty ones are explained by another."""
    k, excess = len(usage.sizes), excess_of(usage, copies)
    beyond_chance = excess * k > limits.dead_deviations * usage.null.dead_sd
    if not beyond_chance or excess <= limits.dead_share_warning:
        return "passed"
    members = float(usage.sizes.sum()) / k
    enough = excess > limits.dead_share_issue and members >= limits.dead_members
    return "issue" if enough else "warning"


def excess_of(usage: Usage, copies: int) -> float:
    """Share of all prototypes that are empty beyond the expected number; may be negative.

    Copies of another prototype are empty because the first of them takes the samples: NEMD003's.
    """
    return (usage.dead - copies - usage.null.dead) / len(usage.sizes)


def _excess(c: ClusteringMeasures) -> float:
    return excess_of(c.usage, _copies(c))


def _copies(c: ClusteringMeasures) -> int:
    """Empty prototypes that another one explains, at the smallest distance looked at."""
    return min(c.usage.dead, round(c.spread.duplicates[0][1] * c.k))


def _members(c: ClusteringMeasures) -> float:
    return float(c.usage.sizes.sum()) / c.k


def _why_not(measures: Measures, *, one_point: bool) -> str:
    if one_point:
        return "all embeddings are one point, see NEMD001"
    if any(c.source == "own" for c in measures.clusterings):
        return "there is a single own prototype, which holds every sample"
    return (
        "k-means (unless distinct rows are fewer) and labels give every prototype a sample; only a "
        "model's own can die, and none were analysed"
    )


def _thresholds(limits: Thresholds) -> dict[str, float | int]:
    return {
        "excess_share_issue": limits.dead_share_issue,
        "excess_share_warning": limits.dead_share_warning,
        "standard_deviations": limits.dead_deviations,
        "samples_a_prototype": limits.dead_members,
    }
