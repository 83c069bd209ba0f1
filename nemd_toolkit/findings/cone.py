"""NEMD007: a common offset dominates the embeddings."""

from nemd_toolkit.findings.finding import About, Finding, Status
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.measures.summary import Measures

__all__ = ["ABOUT", "check", "shares_of", "status_of"]

ABOUT = About(
    code="NEMD007",
    name="cone",
    kind="collapse",
    meaning="All embeddings lean the same way: a mean vector carries much of their squared length, "
    "so cosines between unrelated samples are high and every distance shrinks. The uncentred rank "
    "hardly notices.",
    fires="more than three quarters of the squared length is in the mean embedding (nine tenths "
    "where hardly any coordinate is negative, as after a ReLU)",
    remedy="Subtract the mean before comparing; add batch normalisation without bias at the "
    "output, or a uniformity term; check for a dead or saturated last layer.",
)


def check(measures: Measures, limits: Thresholds) -> Finding:
    """Compare the share of squared length in the mean row with the limit for its kind of layer.

    The share is the mean cosine of distinct rows: that in the mean row of N itself has a bias of
    1/N, which is a half for two rows of noise.
    """
    share = max(0.0, measures.instance.mean_cosine)
    negative = measures.rows.negative_share
    issue, warning = shares_of(negative, limits)
    status = status_of(share, negative, measures.spectrum.variance, limits)
    message = f"{share:.1%} of the squared length is common to all embeddings (their mean cosine)"
    if status == "not_applicable":
        message = "all embeddings are one point, see NEMD001"
    return Finding(
        about=ABOUT,
        status=status,
        message=message,
        measured={"mean_share": share, "mean_cosine": measures.instance.mean_cosine},
        threshold={"share_issue": issue, "share_warning": warning},
    )


def status_of(share: float, negative_share: float, variance: float, limits: Thresholds) -> Status:
    """Judge the share of squared length in the mean row; variance: the share around it."""
    issue, warning = shares_of(negative_share, limits)
    if variance <= limits.rounding_variance:
        return "not_applicable"
    return "issue" if share > issue else "warning" if share > warning else "passed"


def shares_of(negative_share: float, limits: Thresholds) -> tuple[float, float]:
    """Give the limits for an issue and a warning, more lenient where hardly any is negative."""
    if negative_share <= limits.cone_negative_share:
        return limits.cone_issue_nonnegative, limits.cone_warning_nonnegative
    return limits.cone_issue, limits.cone_warning
