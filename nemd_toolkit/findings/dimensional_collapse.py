"""NEMD006: the embeddings use few of their dimensions."""

from nemd_toolkit.findings.finding import About, Finding, Status
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.measures.summary import Measures

__all__ = ["ABOUT", "check", "status_of"]

ABOUT = About(
    code="NEMD006",
    name="dimensional-collapse",
    kind="collapse",
    meaning="The embeddings lie in a few directions of the space (DirectCLR). Per-coordinate "
    "standard deviations and uniformity hardly notice. A representation of K tight clusters has "
    "rank K−1 at most: read it beside NEMD002.",
    fires="the centred effective rank is below 3 (below half of the null, where that is less), or "
    "below a twentieth of that of uniform points of the same N and d (a warning from 15 % down)",
    remedy="Read the backbone instead of the projector; add a decorrelation or variance term "
    "(Barlow Twins, VICReg); weaken the strongest augmentation; if PAUC's correlation term is on, "
    "lower its weight or raise its temperature, it can cause this.",
)


def check(measures: Measures, limits: Thresholds) -> Finding:
    """Compare the centred effective rank with uniform points of the same N and d."""
    spectrum = measures.spectrum
    rank, null = spectrum.effective_rank_centred, spectrum.null_effective_rank
    thresholds = {
        "rank_issue": limits.rank_issue,
        "share_issue": limits.rank_share_issue,
        "share_warning": limits.rank_share_warning,
    }
    measured: dict[str, float | int | None] = {
        "effective_rank_centred": rank,
        "effective_rank_uncentred": spectrum.effective_rank,
        "null_effective_rank": null,
    }
    status = status_of(
        rank=rank, null=null, cap=spectrum.cap, variance=spectrum.variance, limits=limits
    )
    message = (
        f"effective rank {rank:.1f} (centred) of {spectrum.cap} possible; "
        f"uniform points have {null:.1f}"
    )
    if spectrum.variance <= limits.rounding_variance:
        message = "no variance is left to look for directions in"
    elif spectrum.cap <= limits.rank_issue:
        message = f"at most {spectrum.cap} directions are possible"
    return Finding(
        about=ABOUT, status=status, message=message, measured=measured, threshold=thresholds
    )


def status_of(*, rank: float, null: float, cap: int, variance: float, limits: Thresholds) -> Status:
    """Judge the centred effective rank beside that of uniform points of the same N and d.

    cap: no rank can exceed it; variance: share of squared length around the mean.
    """
    if variance <= limits.rounding_variance or cap <= limits.rank_issue:
        return "not_applicable"
    small = min(limits.rank_issue, limits.rank_share_small * null)
    if rank < max(small, limits.rank_share_issue * null):
        return "issue"
    return "warning" if rank < limits.rank_share_warning * null else "passed"
