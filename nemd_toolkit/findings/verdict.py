"""All checks in one table, and the verdict that their findings add up to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from nemd_toolkit.errors import InputError
from nemd_toolkit.findings import (
    coagulation,
    cone,
    dimensional_collapse,
    duplicated_prototypes,
    invalid_embeddings,
    no_structure,
    too_few_samples,
    total_collapse,
)
from nemd_toolkit.findings.finding import About, Finding
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.measures.summary import Measures

__all__ = ["CHECKS", "State", "Verdict", "about", "decide", "judge"]

State = Literal["healthy", "collapsed", "inconclusive"]

# In the order in which a cause explains the next: the first issue heads the verdict.
CHECKS: tuple[tuple[About, Callable[[Measures, Thresholds], Finding]], ...] = (
    (total_collapse.ABOUT, total_collapse.check),
    (dimensional_collapse.ABOUT, dimensional_collapse.check),
    (cone.ABOUT, cone.check),
    (coagulation.ABOUT, coagulation.check),
    (duplicated_prototypes.ABOUT, duplicated_prototypes.check),
    (too_few_samples.ABOUT, too_few_samples.check),
    (no_structure.ABOUT, no_structure.check),
    (invalid_embeddings.ABOUT, invalid_embeddings.check),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer in one word, the codes of the issues behind it, and one sentence."""

    state: State
    codes: tuple[str, ...]
    headline: str


def judge(measures: Measures, thresholds: Thresholds | None = None) -> tuple[Finding, ...]:
    """Run every check; each one gives a finding, fired or not."""
    limits = Thresholds() if thresholds is None else thresholds
    return tuple(check(measures, limits) for _, check in CHECKS)


def decide(findings: Sequence[Finding]) -> Verdict:
    """Collapsed on any collapse issue, else inconclusive on any doubt, else healthy."""
    issues = [f for f in findings if f.status == "issue"]
    collapse = [f for f in issues if f.about.kind == "collapse"]
    warnings = [f for f in findings if f.status == "warning"]
    codes = tuple(f.about.code for f in issues)
    if collapse:
        head = f"Collapsed ({_named(collapse)}): {collapse[0].message}."
        return Verdict(state="collapsed", codes=codes, headline=head)
    if issues:
        head = f"Inconclusive ({_named(issues)}): {issues[0].message}."
        return Verdict(state="inconclusive", codes=codes, headline=head)
    head = "Healthy: no check found a collapse"
    head += f"; look at the warnings ({_named(warnings)})." if warnings else "."
    return Verdict(state="healthy", codes=(), headline=head)


def about(code: str) -> About:
    """Look a code up. Raises InputError for an unknown code.

    >>> about("nemd002").name
    'coagulation'
    """
    known = {entry.code: entry for entry, _ in CHECKS}
    if code.upper() not in known:
        raise InputError(f"code: expected one of {', '.join(sorted(known))}, got {code!r}")
    return known[code.upper()]


def _named(findings: Sequence[Finding]) -> str:
    return ", ".join(f.about.name for f in findings)
