"""All checks in one table, and the verdict that their findings add up to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from nemd_toolkit.errors import InputError
from nemd_toolkit.findings import (
    coagulation,
    cone,
    dead_prototypes,
    dimensional_collapse,
    duplicated_prototypes,
    imbalance,
    invalid_embeddings,
    loss_at_log_k,
    no_structure,
    too_few_samples,
    total_collapse,
)
from nemd_toolkit.findings.finding import About, Finding
from nemd_toolkit.findings.ignoring import would_be
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.measures.summary import Measures

__all__ = ["CHECKS", "State", "Verdict", "about", "decide", "judge", "parse_codes"]

State = Literal["healthy", "collapsed", "inconclusive"]

# In the order in which a cause explains the next: the first issue heads the verdict.
CHECKS: tuple[tuple[About, Callable[[Measures, Thresholds], Finding]], ...] = (
    (total_collapse.ABOUT, total_collapse.check),
    (dimensional_collapse.ABOUT, dimensional_collapse.check),
    (cone.ABOUT, cone.check),
    (coagulation.ABOUT, coagulation.check),
    (duplicated_prototypes.ABOUT, duplicated_prototypes.check),
    (dead_prototypes.ABOUT, dead_prototypes.check),
    (imbalance.ABOUT, imbalance.check),
    (loss_at_log_k.ABOUT, loss_at_log_k.check),
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
    relative: bool = False  # healthy or collapsed by comparison with a baseline only


def judge(measures: Measures, thresholds: Thresholds | None = None) -> tuple[Finding, ...]:
    """Run every check; each one gives a finding, fired or not."""
    limits = Thresholds() if thresholds is None else thresholds
    return tuple(check(measures, limits) for _, check in CHECKS)


def decide(findings: Sequence[Finding], *, baseline: str | None = None) -> Verdict:
    """Collapsed on any collapse issue, else inconclusive on any doubt, else healthy.

    A doubt is a doubt's issue, or a warning beyond the limit of an issue whose interval reaches
    back across it. What is ignored does not count, but is named. `baseline` is the state of the
    reference run, if there is one; "collapsed" then says worse, unless an absolute check found a
    collapse.
    """
    found = _decide(findings, relative=baseline is not None)
    tail = _ignored(findings)
    if baseline not in (None, "healthy"):
        tail = f" The baseline itself was judged {baseline}." + tail
    return replace(found, headline=found.headline + tail)


def _decide(findings: Sequence[Finding], *, relative: bool) -> Verdict:
    issues = [f for f in findings if f.status == "issue"]
    collapse = [f for f in issues if f.about.kind == "collapse"]
    warnings = [f for f in findings if f.status == "warning"]
    doubts = [f for f in findings if f.status == "issue" or f.undecided]
    codes = tuple(f.about.code for f in doubts)
    if collapse:
        relative = all(f.relative for f in collapse)
        word = "Worse than the baseline" if relative else "Collapsed"
        head = f"{word} ({_named(collapse)}): {collapse[0].message}."
        return Verdict(state="collapsed", codes=codes, headline=head, relative=relative)
    if doubts:
        head = f"Inconclusive ({_named(doubts)}): {doubts[0].message}."
        return Verdict(state="inconclusive", codes=codes, headline=head)
    head = "Healthy: no check found a collapse"
    if relative:
        head = "No worse than the baseline: no check found a change for the worse, or a collapse"
    head += f"; look at the warnings ({_named(warnings)})." if warnings else "."
    return Verdict(state="healthy", codes=(), headline=head, relative=relative)


def about(code: str) -> About:
    """Look a code up. Raises InputError for an unknown code.

    >>> about("nemd002").name
    'coagulation'
    """
    known = {entry.code: entry for entry, _ in CHECKS}
    if code.upper() not in known:
        raise InputError(f"code: expected one of {', '.join(sorted(known))}, got {code!r}")
    return known[code.upper()]


def parse_codes(wanted: str | Sequence[str], option: str) -> tuple[str, ...]:
    """Read codes, several in a text by commas; InputError, naming `option`, for unknown ones.

    >>> parse_codes("nemd003, NEMD007", "--ignore")
    ('NEMD003', 'NEMD007')
    """
    words = wanted.split(",") if isinstance(wanted, str) else wanted
    codes = tuple(dict.fromkeys(str(word).strip().upper() for word in words))
    known = sorted(entry.code for entry, _ in CHECKS)
    if not set(codes) <= set(known):
        raise InputError(
            f"{option}: expected codes ({', '.join(known)}), got {wanted!r}; separate several by "
            "commas"
        )
    return codes


def _ignored(findings: Sequence[Finding]) -> str:
    ignored = [f for f in findings if f.status == "ignored"]
    if not ignored:
        return ""
    told = ", ".join(f"{f.about.name} ({would_be(f)})" for f in ignored)
    return f" {len(ignored)} check{'s' * (len(ignored) > 1)} ignored: {told}."


def _named(findings: Sequence[Finding]) -> str:
    return ", ".join(f.about.name for f in findings)
