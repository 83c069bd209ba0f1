"""The study for the eye: differences against PCL with their intervals, and maps side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import nemd_toolkit as nt
from nemd_toolkit.figures.style import BLUE, MUTED, NEUTRAL, VERMILLION, themed
from nemd_toolkit.measures.projection import project

__all__ = ["as_markdown", "draw_differences", "draw_maps"]

Differences = Mapping[str, Mapping[str, Mapping[str, Any] | None]]  # by entry and number
COLUMNS = {
    "score": "NEMD score",
    "linear_probe": "linear probe",
    "knn": "kNN",
    "effective_rank": "effective rank",
}
_HIGH_IS_GOOD = {"linear_probe", "knn", "effective_rank"}


@themed
def draw_differences(found: Differences, base: str) -> Figure:
    """Draw each entry's difference from `base`, with its 95 % interval over seeds.

    Blue: surely better (score lower, others higher), red: surely worse, grey: neither.
    """
    entries = list(found)
    figure = Figure(figsize=(9.6, 1.2 + 0.27 * len(entries)), layout="constrained")
    panels = figure.subplots(1, len(COLUMNS), sharey=True)
    for axes, (name, title) in zip(panels, COLUMNS.items(), strict=True):
        _draw_panel(axes, [found[entry].get(name) for entry in entries], name in _HIGH_IS_GOOD)
        axes.set_title(title, fontsize=10)
    panels[0].set_yticks(range(len(entries)), entries)
    panels[0].invert_yaxis()
    figure.supxlabel(f"difference from {base} within seeds; 95 % intervals", fontsize=10)
    return figure


def _draw_panel(
    axes: Axes, differences: Sequence[Mapping[str, Any] | None], high_is_good: bool
) -> None:
    axes.axvline(0, color=MUTED, lw=1)
    for place, one in enumerate(differences):
        if one is None:
            continue
        low, high = (one["mean"] if one[end] is None else one[end] for end in ("low", "high"))
        sure = one["low"] is not None and (low > 0 or high < 0)
        colour = NEUTRAL if not sure else BLUE if (low > 0) == high_is_good else VERMILLION
        axes.plot([low, high], [place, place], color=colour, lw=1.6)
        axes.plot(one["mean"], place, "o", ms=4.5, color=colour)
    axes.grid(axis="x")
    axes.tick_params(labelsize=8)
    axes.locator_params(axis="x", nbins=4)


def as_markdown(found: Differences, base: str) -> str:
    """Set the differences out as a table; bold: the interval does not hold 0."""
    lines = [f"| against {base} | " + " | ".join(COLUMNS.values()) + " |"]
    lines.append("|" + " --- |" * (1 + len(COLUMNS)))
    for entry, numbers in found.items():
        cells = [_told(numbers.get(name), 1 if "rank" in name else 3) for name in COLUMNS]
        lines.append(f"| {entry} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _told(one: Mapping[str, Any] | None, digits: int) -> str:
    if one is None:
        return "–"
    mean = f"{one['mean']:+.{digits}f}"
    if one["low"] is None:
        return mean
    sure = one["low"] > 0 or one["high"] < 0
    shown = f"**{mean}**" if sure else mean
    return f"{shown} [{one['low']:+.{digits}f}, {one['high']:+.{digits}f}]"


@themed
def draw_maps(work: Path, data: str, seed: int, entries: Mapping[str, str]) -> Figure:
    """Draw training embeddings of two entries on their two principal axes, coloured by class."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    for place, (entry, name) in enumerate(entries.items()):
        rows = nt.embed(work / entry / f"seed-{seed}" / "last.pt", data, layer="projector")
        flat = project(rows)
        axes = figure.add_subplot(1, len(entries), place + 1)
        labels = np.zeros(len(flat.rows)) if rows.labels is None else rows.labels[flat.rows]
        for number, label in enumerate(np.unique(labels)):
            own = flat.points[labels == label]
            colour = matplotlib.colormaps["tab10"](number % 10)
            axes.scatter(own[:, 0], own[:, 1], s=4, lw=0, color=colour, label=str(label))
        shares = " and ".join(f"{share:.0%}" for share in flat.explained[:2])
        axes.set_title(f"{name}, seed {seed}: {shares} of the variance")
        axes.set_aspect("equal", adjustable="datalim")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right", markerscale=3)
    return figure
