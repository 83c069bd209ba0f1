"""NEMD008: prototypes are hardly further apart than in noise."""

from nemd_toolkit.findings.finding import About, Finding, Status
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.measures.summary import Measures

__all__ = ["ABOUT", "check"]

ABOUT = About(
    code="NEMD008",
    name="no-structure",
    kind="doubt",
    meaning="The clouds of the prototypes are as close as those that the same clustering finds in "
    "uniform noise. A low NEMD is good only where there is structure.",
    fires="the 95 % interval of the NEMD score reaches below 0.02, or the prototypes' directions "
    "are as close as those of noise, so that there is no score; against a baseline also where kNN "
    "accuracy fell",
    remedy="Check that the checkpoint is trained and its weights were loaded (an untrained encoder "
    "or a wrong layer looks like this); train longer; if kNN accuracy is high, use prototypes in "
    "the number of the classes.",
)


def check(measures: Measures, limits: Thresholds) -> Finding:
    """Issue when the score is not surely above what noise may have, or there is no score."""
    score = measures.nemd.score if measures.nemd else None
    status: Status = "not_applicable"
    message = "no NEMD score to judge by"
    if measures.nemd is not None and measures.spectrum.variance > limits.rounding_variance:
        status, message = "issue", f"no NEMD score: {measures.nemd.score_missing}"
    if score is not None:
        noise = score.low < limits.structure_least
        status = "issue" if noise else "passed"
        message = (
            f"NEMD score {score.value:.3f} [{score.low:.3f}, {score.high:.3f}]: prototypes are "
            + ("hardly further apart than in noise" if noise else "further apart than in noise")
        )
    return Finding(
        about=ABOUT,
        status=status,
        message=message,
        measured={"score_low": score.low if score else None},
        threshold={"score_low": limits.structure_least},
    )
