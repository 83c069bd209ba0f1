"""An analysis, and a comparison, as lines for a terminal."""

from collections.abc import Mapping, Sequence

from nemd_toolkit.measures import Interval
from nemd_toolkit.report.analysis import Analysis

__all__ = ["MARKS", "comparison_lines", "finding_lines"]

MARKS = {"issue": "✗", "warning": "!", "passed": "✓", "not_applicable": "–"}


def finding_lines(analysis: Analysis) -> list[tuple[str, str]]:
    """Give (status, line) for each finding, in the order of their codes."""
    ordered = sorted(analysis.findings, key=lambda f: f.about.code)
    return [
        (
            f.status,
            f"  {MARKS[f.status]} {f.about.code} {f.about.name:<22} "
            f"{f.status.replace('_', ' '):<15} {f.message}",
        )
        for f in ordered
    ]


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
