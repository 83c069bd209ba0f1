"""trained.json for the eye: tables in Markdown, and a plot of each number against accuracy."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from trained_numbers import Correlation, rank_correlation
from trained_settings import CODE_OF

from nemd_toolkit.figures.style import MARKERS, MUTED, SERIES, plain, themed

__all__ = ["agrees", "correlations", "correlations_as_markdown", "draw", "settings_as_markdown"]

Record = dict[str, Any]
_KINDS = ("healthy", "coagulated", "dimensional", "total", None)
_COLUMNS = 5
_SPREAD = 0.3  # share of squared length around the mean; less is a cone or a point, seen at once


def agrees(row: Record) -> bool | None:
    """Whether the verdict is what the making aimed at; None where nothing was aimed at.

    A collapse agrees if its code is among the issues; others may stand beside it.
    """
    if row["made"] is None:
        return None
    if "verdict" not in row:
        return False
    if row["made"] == "healthy":
        return bool(row["verdict"]["state"] == "healthy")
    return CODE_OF[row["made"]] in row["verdict"]["codes"]


def settings_as_markdown(rows: Sequence[Record]) -> str:
    """One line for each setting: verdicts, and the means of the main numbers over its seeds."""
    head = (
        "setting", "made", "verdicts", "agree", "score", "of classes", "effective rank", "variance",
        "kNN", "probe", "projector kNN", "projector probe",
    )  # fmt: skip
    cells = []
    for name in dict.fromkeys(row["setting"] for row in rows):
        own = [row for row in rows if row["setting"] == name]
        agreed = [agrees(row) for row in own]
        numbers = [row.get("numbers", {}) for row in own]
        accuracies = [row.get("accuracy", {}) for row in own]
        cells.append(
            (
                name,
                own[0]["made"] or "–",
                _verdicts(own),
                "–" if None in agreed else f"{sum(map(bool, agreed))} of {len(agreed)}",
                _mean(numbers, "nemd.score", ".2f"),
                _mean(own, "score_of_classes", ".2f"),
                _mean(numbers, "spectrum.effective_rank_centred", ".1f"),
                _mean(numbers, "spectrum.variance", ".2g"),
                *(
                    _mean(accuracies, key, ".3f")
                    for key in ("knn", "linear_probe", "projector_knn", "projector_linear_probe")
                ),
            )
        )
    return _table(head, cells)


def _verdicts(rows: Sequence[Record]) -> str:
    words = [
        " ".join([row["verdict"]["state"], *(c[-3:] for c in row["verdict"]["codes"])])
        if "verdict" in row
        else "refused"
        for row in rows
    ]
    return ", ".join(
        f"{words.count(word)}× {word}" if words.count(word) > 1 else word
        for word in dict.fromkeys(words)
    )


def _mean(records: Sequence[Mapping[str, Any]], key: str, form: str) -> str:
    values = [record[key] for record in records if record.get(key) is not None]
    return format(float(np.mean(values)), form) if values else "–"


def correlations(rows: Sequence[Record], accuracy: str) -> dict[str, Correlation]:
    """Rank correlation of each label-free number with an accuracy, the strongest first."""
    found = {}
    for name in dict.fromkeys(name for row in rows for name in row.get("numbers", {})):
        have = [r for r in rows if name in r.get("numbers", {}) and accuracy in r["accuracy"]]
        correlation = rank_correlation(
            [row["numbers"][name] for row in have],
            [row["accuracy"][accuracy] for row in have],
            [row["setting"] for row in have],
        )
        if correlation is not None:
            found[name] = correlation
    return dict(sorted(found.items(), key=lambda item: -abs(item[1].rho)))


def correlations_as_markdown(rows: Sequence[Record]) -> str:
    """ρ of each number with the probe, kNN, the projector's probe; and among spread checkpoints."""
    spread = [r for r in rows if r.get("numbers", {}).get("spectrum.variance", 0) >= _SPREAD]
    first, *others = (
        correlations(rows, "linear_probe"),
        correlations(rows, "knn"),
        correlations(rows, "projector_linear_probe"),
        correlations(spread, "linear_probe"),
    )
    head = (
        "label-free number (projector)", "n", "probe", "kNN", "projector's own probe",
        f"probe, variance ≥ {_SPREAD:g}", "n",
    )  # fmt: skip
    cells = [
        (
            name,
            str(correlation.count),
            _interval(correlation),
            *(_interval(found.get(name)) for found in others),
            str(others[-1][name].count) if name in others[-1] else "–",
        )
        for name, correlation in first.items()
    ]
    return _table(head, cells)


def _interval(c: Correlation | None) -> str:
    return f"{c.rho:+.2f} [{c.low:+.2f}, {c.high:+.2f}]" if c else "–"


def _table(head: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@themed
def draw(rows: Sequence[Record]) -> Figure:
    """Draw each label-free number against linear-probe accuracy, one panel each."""
    found = correlations(rows, "linear_probe")
    lines = math.ceil(len(found) / _COLUMNS)
    figure = Figure(figsize=(2.7 * _COLUMNS, 0.6 + 2.1 * lines), layout="constrained")
    for place, (name, correlation) in enumerate(found.items()):
        axes = figure.add_subplot(lines, _COLUMNS, place + 1)
        for kind, colour, marker in zip(_KINDS, SERIES, MARKERS, strict=False):
            own = [r for r in rows if r["made"] == kind and name in r.get("numbers", {})]
            axes.plot(
                [row["numbers"][name] for row in own],
                [row["accuracy"].get("linear_probe", math.nan) for row in own],
                linestyle="",
                marker=marker,
                color=colour if kind else MUTED,
                alpha=0.7,
                label=f"made {kind}" if kind else "nothing aimed at",
            )
        axes.set_title(plain(name, 34), fontsize=9)
        axes.set_xlabel(f"ρ {_interval(correlation)}, n={correlation.count}", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.locator_params(axis="x", nbins=4)
        axes.grid(visible=True)
    if found:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(_KINDS))
    figure.supylabel("linear probe, held-out digits")
    return figure
