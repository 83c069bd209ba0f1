"""Exit codes for build systems: whether analyses pass what `--fail-on` names."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from nemd_toolkit.errors import InputError
from nemd_toolkit.findings import CHECKS, Finding, Verdict

__all__ = [
    "FAILED",
    "INCONCLUSIVE",
    "PASSED",
    "WRONG_USE",
    "Judged",
    "cannot_tell",
    "exit_code",
    "fails",
    "parse_gate",
    "require_counted",
]

PASSED, FAILED, WRONG_USE, INCONCLUSIVE = 0, 1, 2, 3
_LEVELS = ("issue", "warning")


@runtime_checkable
class Judged(Protocol):
    """What a gate reads: an analysis, or a checkpoint of a course."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All checks, fired or not."""

    @property
    def verdict(self) -> Verdict:
        """What they add up to."""


def parse_gate(text: str | None) -> tuple[str, ...]:
    """Read `issue`, `warning` or codes separated by commas; InputError for anything else.

    >>> parse_gate("nemd002, NEMD006")
    ('NEMD002', 'NEMD006')
    """
    words = tuple(word.strip() for word in (text or "").split(",") if word.strip())
    codes = {entry.code for entry, _ in CHECKS}
    gate = tuple(word.lower() if word.lower() in _LEVELS else word.upper() for word in words)
    unknown = [word for word in gate if word not in _LEVELS and word not in codes]
    if unknown or (text is not None and not gate):
        raise InputError(
            f"--fail-on: expected issue, warning or codes ({', '.join(sorted(codes))}), got "
            f"{text!r}; separate several by commas"
        )
    return gate


def require_counted(gate: Sequence[str], ignored: Sequence[str]) -> None:
    """Raise InputError where a code of the gate is to be ignored: it could never fail."""
    both = [code for code in ignored if code in gate]
    if both:
        raise InputError(
            f"--ignore: expected codes that --fail-on does not name, got {', '.join(both)}; "
            "leave it out of one of the two"
        )


def exit_code(analyses: Sequence[Judged], gate: Sequence[str]) -> int:
    """0 without a gate or when it passes, 1 when it fails, 3 when it cannot be told.

    "issue" fails on any collapse issue; "warning" on those and on any warning; a code fails when
    its finding is an issue. What fails nothing gives 3 where the verdict is inconclusive or a code
    asked for was not applicable. What is ignored neither fails nor stops a gate.
    """
    if not gate:
        return PASSED
    if any(fails(finding, gate) for analysis in analyses for finding in analysis.findings):
        return FAILED
    if any(analysis.verdict.state == "inconclusive" for analysis in analyses):
        return INCONCLUSIVE
    if any(cannot_tell(finding, gate) for analysis in analyses for finding in analysis.findings):
        return INCONCLUSIVE
    return PASSED


def fails(finding: Finding, gate: Sequence[str]) -> bool:
    """Whether this finding alone fails the gate."""
    about, issue = finding.about, finding.status == "issue"
    collapse = issue and about.kind == "collapse"
    return (
        (collapse and ("issue" in gate or "warning" in gate))
        or (finding.status == "warning" and "warning" in gate)
        or (issue and about.code in gate)
    )


def cannot_tell(finding: Finding, gate: Sequence[str]) -> bool:
    """Whether the gate asks for this finding by its code, and it was not applicable."""
    return finding.status == "not_applicable" and finding.about.code in gate
