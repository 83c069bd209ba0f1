"""The validity benchmark for the eye: confusion, power curves, and Markdown tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from validity_summary import CODES, curve, variant

from nemd_toolkit.figures.style import GRID, INK, MARKERS, MUTED, SERIES, themed

__all__ = ["as_markdown", "draw_confusion", "draw_power"]

Record = dict[str, Any]
_STATES = ("healthy", "inconclusive", "collapsed", "error")


@themed
def draw_confusion(document: Record) -> Figure:
    """Draw the share of worlds of each kind with each verdict, and with each issue."""
    confusion = document["summary"]["confusion"]
    kinds = list(confusion["verdicts"])
    figure = Figure(figsize=(8.4, 1.2 + 0.42 * len(kinds)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(len(_STATES), len(CODES)), sharey=True)
    totals = {kind: sum(confusion["verdicts"][kind].values()) for kind in kinds}
    _draw_shares(left, kinds, _STATES, confusion["verdicts"], totals)
    _draw_shares(right, kinds, CODES, confusion["issues"], totals)
    left.set_yticks(range(len(kinds)), [f"{kind} ({totals[kind]})" for kind in kinds])
    left.set_title("verdict")
    right.set_title("issues, % of worlds from the stated severity on")
    return figure


def _draw_shares(
    axes: Axes,
    kinds: Sequence[str],
    columns: Sequence[str],
    counts: dict[str, dict[str, int]],
    totals: dict[str, int],
) -> None:
    shares = np.array([[counts[k].get(c, 0) / max(1, totals[k]) for c in columns] for k in kinds])
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.4, aspect="auto")
    for row, column in zip(*shares.nonzero(), strict=True):
        text = f"{100 * shares[row, column]:.3g}"
        axes.text(column, row, text, ha="center", va="center", color=INK, fontsize=8)
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", fontsize=8)
    axes.tick_params(length=0)


@themed
def draw_power(document: Record, records: Sequence[Record]) -> Figure:
    """Draw, for each kind, the share detected against severity (isotonic), by variant."""
    kinds = {k: s for k, s in document["summary"]["kinds"].items() if "variants" in s}
    columns = 3
    rows = -(-len(kinds) // columns)
    figure = Figure(figsize=(9, 2.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (kind, found) in zip(panels, kinds.items(), strict=False):
        axes.axvline(found["stated_severity"], color=MUTED, lw=1, ls=":")
        for place, name in enumerate(found["variants"]):
            some = [r for r in records if r["kind"] == kind and variant(r) == name]
            severity, fitted = curve(some)
            axes.step(
                severity,
                fitted,
                where="post",
                color=SERIES[place % len(SERIES)],
                marker=MARKERS[place % len(MARKERS)],
                markevery=0.2,
                ms=4,
                label=name,
            )
        axes.set_title(kind)
        axes.grid(color=GRID)
        axes.legend(fontsize=7, loc="upper left")
    for axes in panels[len(kinds) :]:
        axes.set_axis_off()
    figure.supxlabel("severity (dotted: stated)", fontsize=10)
    figure.supylabel("share of worlds with the right issue", fontsize=10)
    return figure


def as_markdown(document: Record) -> str:
    """Give both confusion matrices and the power table."""
    summary = document["summary"]
    head = ("kind", "worlds", "stated severity", "right", "Wilson 95 %", *_STATES)
    head += ("issues fired", "50 %", "95 %")
    cells = [
        _cells(kind, found, summary["confusion"]["issues"][kind])
        for kind, found in summary["kinds"].items()
    ]
    wrong = len(summary["ill_called_healthy"])
    lines = [_line(head), _line(["---"] * len(head)), *map(_line, cells)]
    lines += ["", f"Ill worlds called healthy beyond the stated severity: {wrong}."]
    power = [
        (kind, name, _percent(one["right"]), one["right"]["total"], *_levels(one))
        for kind, found in summary["kinds"].items()
        for name, one in found.get("variants", {}).items()
    ]
    if power:
        head = ("kind", "variant", "right", "worlds beyond", "50 %", "95 %")
        lines += ["", _line(head), _line(["---"] * len(head)), *map(_line, power)]
    return "\n".join(lines)


def _cells(kind: str, found: Record, issues: dict[str, int]) -> tuple[Any, ...]:
    right = found["right"]
    fired = ", ".join(f"{code[-3:]}: {count}" for code, count in issues.items())
    interval = "" if right["low"] is None else f"{right['low']:.3f}–{right['high']:.3f}"
    called = [found["called"][state]["hits"] for state in _STATES]
    stated = f"{found['stated_severity']:g}"
    return (
        kind,
        right["total"],
        stated,
        _percent(right),
        interval,
        *called,
        fired,
        *_levels(found),
    )


def _levels(found: Record) -> list[str]:
    reached = found.get("detection_reaches", {})
    return ["" if (at := reached.get(level)) is None else f"{at:.2f}" for level in ("0.5", "0.95")]


def _percent(one: Record) -> str:
    return "" if one["share"] is None else f"{100 * one['share']:.1f} %"


def _line(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"
