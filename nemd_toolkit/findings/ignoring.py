"""Findings that the user asks not to count: they stay visible, with their numbers."""

from collections.abc import Sequence
from dataclasses import replace

from nemd_toolkit.findings.finding import Finding

__all__ = ["ignore", "would_be"]


def ignore(findings: Sequence[Finding], codes: Sequence[str]) -> tuple[Finding, ...]:
    """Set the findings of these codes to `ignored`; each keeps what it would have been."""
    return tuple(
        replace(f, status="ignored", would_be=f.status, undecided=False)
        if f.about.code in codes
        else f
        for f in findings
    )


def would_be(finding: Finding) -> str:
    """Say what an ignored finding would have been, in words."""
    return {
        "issue": "would be an issue",
        "warning": "would be a warning",
        "passed": "would pass",
    }.get(str(finding.would_be), "could not tell")
