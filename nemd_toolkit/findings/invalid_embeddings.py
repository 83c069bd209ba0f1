"""NEMD010: rows that should not be there. Non-finite and zero rows are refused on reading."""

from nemd_toolkit.findings.finding import About, Finding, Status
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.measures.summary import Measures

__all__ = ["ABOUT", "check"]

ABOUT = About(
    code="NEMD010",
    name="invalid-embeddings",
    kind="doubt",
    meaning="Rows repeat one another exactly. Either samples were given twice, which makes every "
    "cloud look tighter than it is, or the encoder gives equal outputs for unequal inputs. (Rows "
    "with NaN, infinity or norm 0 are refused before any analysis; a monitor of a training counts "
    "them, and such losses, as this.)",
    fires="more than half of the rows repeat another row (a warning from 1 % on)",
    remedy="Remove repeated samples; if the inputs do differ, look at NEMD001 and NEMD002. For "
    "values that are not finite in a training: lower the learning rate, clip gradients, divide by "
    "no norm without an epsilon.",
)


def check(measures: Measures, limits: Thresholds) -> Finding:
    """Compare the share of exactly repeated rows with its limits."""
    share = measures.rows.duplicates
    status: Status = "passed"
    if share > limits.duplicate_rows_issue:
        status = "issue"
    elif share > limits.duplicate_rows_warning:
        status = "warning"
    return Finding(
        about=ABOUT,
        status=status,
        message=f"{share:.1%} of {measures.rows.count:,} rows repeat another row exactly",
        measured={"duplicates": share},
        threshold={
            "duplicates_issue": limits.duplicate_rows_issue,
            "duplicates_warning": limits.duplicate_rows_warning,
        },
    )
