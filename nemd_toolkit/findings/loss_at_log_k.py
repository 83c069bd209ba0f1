"""NEMD011: the training loss is that of guessing."""

from collections.abc import Sequence

from nemd_toolkit.checkpoints import LoggedLoss
from nemd_toolkit.findings.finding import About, Finding, Status
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.measures.summary import Measures

__all__ = ["ABOUT", "check", "status_of"]

ABOUT = About(
    code="NEMD011",
    name="loss-at-log-k",
    kind="collapse",
    meaning="A contrastive loss with K classes costs ln K when all its logits are equal. A loss "
    "that stays there has not learnt, or its embeddings have collapsed to one point. K is one more "
    "than the queue for InfoNCE and the number of prototypes for ProtoNCE; SwAV and DINO show the "
    "same at ln of the number of prototypes, but only logs of pauc-train are read.",
    fires="in each of the last three epochs a loss is within 0.05 of ln K: the right class is "
    "picked at most 5 % more often than by guessing (a warning within 0.2, 22 % more often)",
    remedy="Check that the two views are of the same image and that gradients reach the encoder. "
    "Then lower the temperature, warm the learning rate up or lower it, and weaken the strongest "
    "augmentation. With Sinkhorn codes lower ε (0.03 instead of 0.05) and freeze the prototypes "
    "for the first epoch (SwAV's README has this very symptom); in DINO sharpen the teacher (a "
    "lower, warmed-up temperature): centring alone drives its outputs to uniform.",
)


def check(measures: Measures, limits: Thresholds) -> Finding:
    """Judge the loss of the log that is nearest to chance in the last epochs."""
    ends = _ends(measures, limits.chance_epochs)
    thresholds: dict[str, float | int] = {
        "gap_issue": limits.chance_gap_issue,
        "gap_warning": limits.chance_gap_warning,
        "epochs": limits.chance_epochs,
    }
    if not ends or ends[0][-1].epoch + 1 < limits.chance_epochs:
        reason = "no training log of contrastive losses came with the source"
        if ends:
            reason = f"{ends[0][-1].epoch + 1} epoch(s) of training are too few to judge its loss"
        return Finding(
            about=ABOUT,
            status="not_applicable",
            message=reason,
            measured={"loss": None},
            threshold=thresholds,
        )
    worst = min(ends, key=_gap)
    last, gap = worst[-1], _gap(worst)
    status = status_of(gap, limits)
    span = f"over epochs {worst[0].epoch}…{last.epoch}" if len(worst) > 1 else "no other is known"
    return Finding(
        about=ABOUT,
        status=status,
        message=f"{last.name} is {last.value:.3f} in epoch {last.epoch}, guessing costs ln K = "
        f"{last.chance:.3f}" + f"; within {gap:.3f} of it ({span})" * (status != "passed"),
        measured={"loss": last.value, "chance": last.chance, "gap": gap, "epochs": len(worst)},
        threshold=thresholds,
    )


def status_of(gap: float, limits: Thresholds) -> Status:
    """Judge the distance of a loss from ln K, in nats ≥ 0."""
    if gap <= limits.chance_gap_issue:
        return "issue"
    return "warning" if gap <= limits.chance_gap_warning else "passed"


def _ends(measures: Measures, epochs: int) -> list[Sequence[LoggedLoss]]:
    """Give each loss of the newest epoch, with up to `epochs` of its last values."""
    losses = measures.log.losses if measures.log else ()
    newest = max((loss.epoch for loss in losses), default=-1)
    names = dict.fromkeys(loss.name for loss in losses if loss.epoch == newest)
    return [[loss for loss in losses if loss.name == name][-epochs:] for name in names]


def _gap(losses: Sequence[LoggedLoss]) -> float:
    """Largest distance from chance, in nats ≥ 0: small only if every epoch is near it."""
    return max(abs(loss.value - loss.chance) for loss in losses)
