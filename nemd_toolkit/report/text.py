"""An analysis, and a comparison, as lines for a terminal."""

import textwrap
from collections.abc import Mapping, Sequence

from nemd_toolkit.findings import Finding, would_be
from nemd_toolkit.measures import Interval
from nemd_toolkit.report.analysis import Analysis

__all__ = ["MARKS", "comparison_lines", "finding_lines"]

MARKS = {"issue": "✗", "warning": "!", "passed": "✓", "not_applicable": "–", "ignored": "~"}
_NARROW = 40  # columns that a message needs beside its name


def finding_lines(analysis: Analysis, width: int | None = None) -> list[tuple[str, str]]:
    """Give (status, text) for each finding, in the order of their codes.

    With a width, messages are wrapped to it and hang below their own first line.
    """
    ordered = sorted(analysis.findings, key=lambda f: f.about.code)
    return [(f.status, _finding_text(f, width)) for f in ordered]


def _finding_text(finding: Finding, width: int | None) -> str:
    about, status = finding.about, finding.status
    head = f"  {MARKS[status]} {about.code} {about.name:<22} {status.replace('_', ' '):<15} "
    message = finding.message
    if status == "ignored":
        message += f" [ignored; {would_be(finding)}]"
    if width is None:
        return head + message
    indent = len(head) if width - len(head) >= _NARROW else 6
    first = head if indent == len(head) else f"{head.rstrip()}\n{' ' * indent}"
    lines = textwrap.wrap(message, max(width - indent, 20), break_long_words=False)
    return first + f"\n{' ' * indent}".join(lines)


def comparison_lines(
    runs: Sequence[tuple[str, Analysis]], extra: Mapping[str, Mapping[str, float]] | None = None
) -> list[str]:
    """Give a table, a row per run: verdict, NEMD, effective rank, and the extra numbers."""
    extra = extra or {}
    columns = list(dict.fromkeys(key for values in extra.values() for key in values))
    table = [["run", "verdict", "NEMD score", "excess", "raw", "eff. rank", *columns]]
    for name, analysis in runs:
        found = analysis.measures.nemd
        table.append(
            [
                _short(name),
                analysis.verdict.state,
                _interval(found.score if found else None),
                _interval(found.excess if found else None),
                _interval(found.raw if found else None),
                f"{analysis.measures.spectrum.effective_rank_centred:.1f}",
                *(
                    f"{v:.4f}" if (v := extra.get(name, {}).get(c)) is not None else "–"
                    for c in columns
                ),
            ]
        )
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return [
        "  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in table
    ]


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return "–"
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"…{name[-39:]}"
