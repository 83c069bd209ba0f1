"""What a window's numbers mean: the findings of an analysis, with their texts and limits.

Each finding has a badness beside it: the logarithm of what is lost, so that 0.1 is a tenth. It is
what tells whether things get worse or better, and says nothing across findings.
"""

from dataclasses import dataclass
from math import log

from nemd_toolkit.findings import (
    coagulation,
    cone,
    dead_prototypes,
    dimensional_collapse,
    duplicated_prototypes,
    imbalance,
    invalid_embeddings,
    loss_at_log_k,
    total_collapse,
)
from nemd_toolkit.findings.finding import Finding, Status
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.monitor.losses import LossNumbers
from nemd_toolkit.monitor.numbers import OwnNumbers, WindowNumbers

__all__ = ["Judged", "judge_window"]

_LEAST = 1e-12  # logarithms of less are cut off


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A finding, and how bad it is in units of its own."""

    finding: Finding
    badness: float

    @property
    def code(self) -> str:
        """NEMD001 and so on."""
        return self.finding.about.code


def judge_window(
    numbers: WindowNumbers | None, loss: LossNumbers | None, invalid: int, limits: Thresholds
) -> tuple[Judged, ...]:
    """Judge what there is; `invalid` rows of the window were not finite, or of norm 0.

    numbers: None where no two rows were left to measure.
    """
    found = [_invalid(invalid, loss, limits)]
    if numbers is not None:
        found += [
            _one_point(numbers, limits),
            _few_dimensions(numbers, limits),
            _cone(numbers, limits),
            _coagulation(numbers, limits),
        ]
        if numbers.own is not None and numbers.variance > limits.rounding_variance:
            found += _own(numbers.own, limits)
    if loss is not None and loss.gap is not None:
        found.append(_loss(loss, limits))
    return tuple(found)


def _lost(left: float) -> float:
    """Give the badness of what is left of a whole."""
    return -log(max(left, _LEAST))


def _invalid(invalid: int, loss: LossNumbers | None, limits: Thresholds) -> Judged:
    bad_steps = loss.not_finite if loss else 0
    status: Status = "issue" if invalid or bad_steps else "passed"
    told = [f"{invalid:,} rows of the window hold NaN or infinity, or are 0"] * (invalid > 0)
    if loss and bad_steps:
        told.append(f"the loss was NaN or infinite in {bad_steps:,} of {loss.steps:,} steps")
    finding = Finding(
        about=invalid_embeddings.ABOUT,
        status=status,
        message="; ".join(told) or "all rows and losses are finite",
        measured={"invalid_rows": invalid, "invalid_losses": bad_steps},
        threshold={"duplicates_issue": limits.duplicate_rows_issue},
    )
    return Judged(finding=finding, badness=log(1 + invalid + bad_steps))


def _one_point(numbers: WindowNumbers, limits: Thresholds) -> Judged:
    finding = Finding(
        about=total_collapse.ABOUT,
        status=total_collapse.status_of(numbers.variance, limits),
        message=f"a share of {numbers.variance:.2g} of the squared length varies"
        f"{_over(numbers.rows)}",
        measured={"variance": numbers.variance},
        threshold={
            "variance_issue": limits.total_variance_issue,
            "variance_warning": limits.total_variance_warning,
        },
    )
    return Judged(finding=finding, badness=_lost(numbers.variance))


def _few_dimensions(numbers: WindowNumbers, limits: Thresholds) -> Judged:
    finding = Finding(
        about=dimensional_collapse.ABOUT,
        status=dimensional_collapse.status_of(
            rank=numbers.rank,
            null=numbers.rank_null,
            cap=numbers.rank_cap,
            variance=numbers.variance,
            limits=limits,
        ),
        message=f"effective rank {numbers.rank:.1f} (centred) of {numbers.rank_cap} possible; "
        f"uniform points have {numbers.rank_null:.1f}{_over(numbers.rank_rows)}",
        measured={
            "effective_rank_centred": numbers.rank,
            "null_effective_rank": numbers.rank_null,
        },
        threshold={
            "rank_issue": limits.rank_issue,
            "share_issue": limits.rank_share_issue,
            "share_warning": limits.rank_share_warning,
        },
    )
    return Judged(finding=finding, badness=_lost(numbers.rank / numbers.rank_null))


def _cone(numbers: WindowNumbers, limits: Thresholds) -> Judged:
    share = max(0.0, numbers.mean_cosine)
    issue, warning = cone.shares_of(numbers.negative_share, limits)
    finding = Finding(
        about=cone.ABOUT,
        status=cone.status_of(share, numbers.negative_share, numbers.variance, limits),
        message=f"{share:.1%} of the squared length is common to all embeddings"
        f"{_over(numbers.rows)}",
        measured={"mean_share": share},
        threshold={"share_issue": issue, "share_warning": warning},
    )
    return Judged(finding=finding, badness=_lost(1 - share))


def _coagulation(numbers: WindowNumbers, limits: Thresholds) -> Judged:
    """Judge as NEMD002 does by its interval; clumping and the rise with K are not measured here."""
    score = numbers.score
    status: Status = "passed"
    message = "no score: too few rows, or prototypes as close as in noise"
    value = None
    if score is None or numbers.variance <= limits.rounding_variance:
        status, score = "not_applicable", None
    else:
        value = score.value
        message = (
            f"score {value:.2f} (by energy distances, at least {score.low:.2f}) at K={score.k}"
            f"{_over(score.rows)}"
        )
        status = coagulation.status_of(value, score.low, limits)
    finding = Finding(
        about=coagulation.ABOUT,
        status=status,
        undecided=status == "warning" and value is not None and value > limits.coagulation_issue,
        message=message,
        measured={"score": value, "score_low": score.low if score else None},
        threshold={
            "score_issue": limits.coagulation_issue,
            "score_warning": limits.coagulation_warning,
        },
    )
    return Judged(finding=finding, badness=_lost(1 - (value or 0.0)))


def _own(own: OwnNumbers, limits: Thresholds) -> tuple[Judged, ...]:
    return _repeated(own, limits), _dead(own, limits), _imbalance(own, limits)


def _repeated(own: OwnNumbers, limits: Thresholds) -> Judged:
    share = dict(own.duplicates)[limits.duplicate_epsilon]
    null = dict(own.uniform_duplicates)[limits.duplicate_epsilon]
    finding = Finding(
        about=duplicated_prototypes.ABOUT,
        status=duplicated_prototypes.status_of(share, null, limits),
        message=f"{share:.0%} of {own.compared:,} own prototypes repeat another within cosine "
        f"distance {limits.duplicate_epsilon:g} (uniform ones: {null:.0%})",
        measured={"share": share, "uniform_share": null, "k": len(own.usage.sizes)},
        threshold={"epsilon": limits.duplicate_epsilon, "share": limits.duplicate_share},
    )
    return Judged(finding=finding, badness=_lost(1 - share))


def _dead(own: OwnNumbers, limits: Thresholds) -> Judged:
    usage, k = own.usage, len(own.usage.sizes)
    copies = min(usage.dead, round(own.duplicates[0][1] * k))
    finding = Finding(
        about=dead_prototypes.ABOUT,
        status=dead_prototypes.status_of(usage, copies, limits),
        message=f"{usage.dead:,} of {k:,} own prototypes hold no row of the window; equal shares "
        f"leave {usage.null.dead:.1f} ± {usage.null.dead_sd:.1f} empty"
        f"{_over(int(usage.sizes.sum()))}",
        measured={"dead": usage.dead, "copies": copies, "expected": usage.null.dead, "k": k},
        threshold={
            "excess_share_issue": limits.dead_share_issue,
            "excess_share_warning": limits.dead_share_warning,
        },
    )
    return Judged(finding=finding, badness=_lost(1 - dead_prototypes.excess_of(usage, copies)))


def _imbalance(own: OwnNumbers, limits: Thresholds) -> Judged:
    usage, k, evenness = own.usage, len(own.usage.sizes), imbalance.evenness_of(own.usage)
    finding = Finding(
        about=imbalance.ABOUT,
        status=imbalance.status_of(usage, limits, own=True),
        message=f"usage perplexity {usage.perplexity:.1f} of {k:,} own prototypes, "
        f"{min(1.0, evenness):.0%} of an even use{_over(int(usage.sizes.sum()))}",
        measured={"evenness": evenness, "entropy": usage.entropy, "k": k},
        threshold={
            "evenness_issue": limits.evenness_issue,
            "evenness_warning": limits.evenness_warning,
        },
    )
    return Judged(finding=finding, badness=_lost(evenness))


def _loss(loss: LossNumbers, limits: Thresholds) -> Judged:
    """Judge the mean since the last check.

    Its badness tells nothing nearer to ln K than a warning is: a loss near it may be on its way.
    """
    gap = loss.gap or 0.0
    finding = Finding(
        about=loss_at_log_k.ABOUT,
        status=loss_at_log_k.status_of(gap, limits),
        message=f"the loss is {loss.mean:.3f} over {loss.steps:,} steps, guessing costs ln K = "
        f"{loss.chance:.3f}",
        measured={"loss": loss.mean, "chance": loss.chance, "gap": gap},
        threshold={"gap_issue": limits.chance_gap_issue, "gap_warning": limits.chance_gap_warning},
    )
    return Judged(finding=finding, badness=_lost(max(gap, limits.chance_gap_warning)))


def _over(rows: int) -> str:
    return f" (n={rows:,})"
