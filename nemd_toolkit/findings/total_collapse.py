"""NEMD001: all embeddings are one point."""

from nemd_toolkit.findings.finding import About, Finding, Status
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.measures.summary import Measures

__all__ = ["ABOUT", "check", "status_of"]

ABOUT = About(
    code="NEMD001",
    name="total-collapse",
    kind="collapse",
    meaning="The encoder gives (nearly) the same vector for every input. NEMD is then 0 and cannot "
    "see it; nor can a centred rank, which looks at the rounding noise.",
    fires="the share of squared length around the mean embedding is below 0.002, so that cosines "
    "of unrelated samples are above 0.998; below 1e-6 it is rounding, and other checks pause",
    remedy="Check that positives are not the only term: restore negatives (a queue, in-batch) or "
    "the predictor and stop-gradient; lower the learning rate; raise the key encoder's momentum; "
    "check that the loss is not reading detached or un-normalised outputs.",
)


def check(measures: Measures, limits: Thresholds) -> Finding:
    """Issue or warning when hardly any variance is left around the mean."""
    variance = measures.spectrum.variance
    alone = measures.rows.count == 1
    status: Status = "not_applicable" if alone else status_of(variance, limits)
    almost = "nearly " if variance > limits.rounding_variance else ""
    text = {
        "issue": f"all embeddings are {almost}one point: a share of {variance:.2g} of their "
        "squared length varies",
        "warning": f"embeddings are close to one point: only {variance:.2g} of their squared "
        "length varies",
        "not_applicable": "a single sample cannot vary",
        "passed": f"embeddings vary: {variance:.1%} of their squared length lies around the mean",
    }
    return Finding(
        about=ABOUT,
        status=status,
        message=text[status],
        measured={"variance": variance, "resultant": measures.instance.resultant},
        threshold={
            "variance_issue": limits.total_variance_issue,
            "variance_warning": limits.total_variance_warning,
        },
    )


def status_of(variance: float, limits: Thresholds) -> Status:
    """Judge the share of squared length around the mean of two rows or more."""
    if variance <= limits.total_variance_issue:
        return "issue"
    return "warning" if variance <= limits.total_variance_warning else "passed"
