"""What prototype vectors show without any data, in the words and limits of the checks with data.

Only what the vectors themselves do: that they repeat one another, or lie in one point, in a cone or
in few dimensions. Whether members crowd around them or stay away, only data can tell; so the
verdict is "collapsed" or "inconclusive", never "healthy".
"""

from nemd_toolkit.findings import (
    coagulation,
    cone,
    dead_prototypes,
    dimensional_collapse,
    duplicated_prototypes,
    total_collapse,
)
from nemd_toolkit.findings.finding import Finding
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.findings.verdict import Verdict
from nemd_toolkit.measures.vectors import VectorGeometry

__all__ = ["decide_vectors", "judge_vectors"]


def judge_vectors(
    found: VectorGeometry, thresholds: Thresholds | None = None
) -> tuple[Finding, ...]:
    """Judge vectors alone; what they cannot show is there too, as not applicable.

    >>> import torch
    >>> from nemd_toolkit.measures.vectors import measure_vectors
    >>> [f.about.code for f in judge_vectors(measure_vectors(torch.eye(64).repeat(2, 1)))
    ...  if f.status == "issue"]
    ['NEMD003']
    """
    limits = Thresholds() if thresholds is None else thresholds
    return (
        _one_point(found, limits),
        _few_dimensions(found, limits),
        _cone(found, limits),
        _repeated(found, limits),
        *(
            Finding(
                about=about,
                status="not_applicable",
                message=f"vectors alone do not tell: {reason}",
                measured={},
                threshold={},
            )
            for about, reason in (
                (coagulation.ABOUT, "their members do, how closely they crowd"),
                (dead_prototypes.ABOUT, "a prototype is dead when no sample comes to it"),
            )
        ),
    )


def decide_vectors(findings: tuple[Finding, ...]) -> Verdict:
    """Collapsed on any issue; else inconclusive, for vectors alone are no proof of health."""
    issues = [f for f in findings if f.status == "issue"]
    warnings = [f for f in findings if f.status == "warning"]
    if issues:
        first = issues[0]
        return Verdict(
            state="collapsed",
            codes=tuple(f.about.code for f in issues),
            headline=f"The vectors collapse ({first.about.code} {first.about.name}): "
            f"{first.message}.",
        )
    doubt = f", with {', '.join(f.about.code for f in warnings)} to look at" if warnings else ""
    return Verdict(
        state="inconclusive",
        codes=(),
        headline=f"The vectors show no collapse{doubt}; whether their members do, only data tells.",
    )


def _one_point(found: VectorGeometry, limits: Thresholds) -> Finding:
    variance = found.spectrum.variance
    status = total_collapse.status_of(variance, limits)
    rest = f"{variance:.1%}" if status == "passed" else f"a share of {variance:.2g}"
    return Finding(
        about=total_collapse.ABOUT,
        status=status,
        message=f"{rest} of the vectors' squared length lies around their mean "
        f"(uniform ones: {1 - 1 / found.counted:.1%})",
        measured={"variance": variance},
        threshold={
            "variance_issue": limits.total_variance_issue,
            "variance_warning": limits.total_variance_warning,
        },
    )


def _few_dimensions(found: VectorGeometry, limits: Thresholds) -> Finding:
    spectrum = found.spectrum
    status = dimensional_collapse.status_of(
        rank=spectrum.effective_rank_centred,
        null=spectrum.null_effective_rank,
        cap=spectrum.cap,
        variance=spectrum.variance,
        limits=limits,
    )
    message = (
        f"effective rank {spectrum.effective_rank_centred:.1f} (centred) of {spectrum.cap} "
        f"possible; uniform vectors have {spectrum.null_effective_rank:.1f}"
    )
    if status == "not_applicable":
        message = f"at most {spectrum.cap} directions are possible"
        if spectrum.variance <= limits.rounding_variance:
            message = "all vectors are one point, see NEMD001"
    return Finding(
        about=dimensional_collapse.ABOUT,
        status=status,
        message=message,
        measured={
            "effective_rank_centred": spectrum.effective_rank_centred,
            "effective_rank_uncentred": spectrum.effective_rank,
            "null_effective_rank": spectrum.null_effective_rank,
        },
        threshold={
            "rank_issue": limits.rank_issue,
            "share_issue": limits.rank_share_issue,
            "share_warning": limits.rank_share_warning,
        },
    )


def _cone(found: VectorGeometry, limits: Thresholds) -> Finding:
    share = max(0.0, found.mean_cosine)
    issue, warning = cone.shares_of(found.negative_share, limits)
    status = cone.status_of(share, found.negative_share, found.spectrum.variance, limits)
    message = (
        f"{share:.1%} of the squared length is common to all vectors (their mean cosine; "
        "uniform ones: 0%)"
    )
    if status == "not_applicable":
        message = "all vectors are one point, see NEMD001"
    return Finding(
        about=cone.ABOUT,
        status=status,
        message=message,
        measured={"mean_share": share, "mean_cosine": found.mean_cosine},
        threshold={"share_issue": issue, "share_warning": warning},
    )


def _repeated(found: VectorGeometry, limits: Thresholds) -> Finding:
    """Judge repeats beyond chance an issue, and no more than uniform vectors have a warning."""
    epsilon = limits.duplicate_epsilon
    share = found.share_repeated(epsilon)
    null = dict(found.uniform_duplicates)[epsilon]
    status = duplicated_prototypes.status_of(share, null, limits)
    return Finding(
        about=duplicated_prototypes.ABOUT,
        status=status,
        message=f"{share:.0%} of {found.counted:,} vectors repeat another within cosine distance "
        f"{epsilon:g} (uniform ones: {null:.0%}); distinct ones: {_curve(found)}",
        measured={
            "share": share,
            "uniform_share": null,
            **{f"distinct_at_{e:g}": found.distinct(e) for e, _ in found.duplicates},
        },
        threshold={"epsilon": epsilon, "share": limits.duplicate_share},
    )


def _curve(found: VectorGeometry) -> str:
    """Say how many are distinct at each distance, or at all of them."""
    counts = {epsilon: found.distinct(epsilon) for epsilon, _ in found.duplicates}
    if len({*counts.values()}) == 1:
        return f"{found.distinct():,} at any distance from {min(counts):g} to {max(counts):g}"
    return ", ".join(f"{count:,} at {epsilon:g}" for epsilon, count in counts.items())
