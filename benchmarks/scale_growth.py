"""Exponents of growth, and their picture, from the cells of scale.py alone."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nemd_toolkit.figures.style import GRID, INK, themed

__all__ = ["draw", "exponents"]

AXES = ("count", "prototypes", "dim", "ranks")
NAMES = {
    "count": "rows N",
    "prototypes": "prototypes K",
    "dim": "dimensions d",
    "ranks": "processes",
}
SYMBOLS = {"count": "N", "prototypes": "K", "dim": "d"}
STAGES = ("reading", "k-means", "measures", "report", "total")
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", INK)
LEAST = 3  # cells; two make a line without an error


def exponents(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Fit log processor seconds against the log of each axis, where the others stand still.

    Gives {"axis", "stage", "fixed": the others, "from", "to", "cells", "exponent", "error": its
    standard error by least squares}, for each stage and the whole.
    """
    found = []
    for axis in AXES:
        for fixed, line in _lines(cells, axis).items():
            if len({cell[axis] for cell in line}) < LEAST:
                continue
            x = np.log([cell[axis] for cell in line])
            for stage in STAGES:
                y = np.log([max(_seconds(cell, stage), 1e-4) for cell in line])
                slope, error = _slope(x, y)
                values = sorted(cell[axis] for cell in line)
                found.append(
                    {
                        "axis": axis,
                        "stage": stage,
                        "fixed": dict(zip([a for a in AXES if a != axis], fixed, strict=True)),
                        "from": values[0],
                        "to": values[-1],
                        "cells": len(line),
                        "exponent": slope,
                        "error": error,
                    }
                )
    return found


def _lines(cells: list[dict[str, Any]], axis: str) -> dict[tuple[int, ...], list[dict[str, Any]]]:
    """Group cells by the other axes."""
    lines: dict[tuple[int, ...], list[dict[str, Any]]] = {}
    for cell in sorted(cells, key=lambda cell: cell[axis]):
        lines.setdefault(tuple(cell[a] for a in AXES if a != axis), []).append(cell)
    return lines


def _seconds(cell: dict[str, Any], stage: str) -> float:
    if stage == "total":
        return float(cell["processor_seconds"])
    return float(cell["seconds"].get(stage, {"processor": 0.0})["processor"])


def _slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    rest = y - y.mean() - slope * centred
    return slope, float(np.sqrt(rest @ rest / (len(x) - 2) / (centred @ centred)))


@themed
def draw(cells: list[dict[str, Any]]) -> Figure:
    """Draw seconds of each stage above and peak memory below, along the longest line of an axis."""
    figure = Figure(figsize=(12.8, 5.6), layout="constrained")
    panels = figure.subplots(2, len(AXES), sharex="col")
    for column, axis in enumerate(AXES):
        lines = _lines(cells, axis)
        fixed, line = max(lines.items(), key=lambda item: len({c[axis] for c in item[1]}))
        others = ", ".join(
            f"{SYMBOLS[a]} = {value:,}"
            for a, value in zip([a for a in AXES if a != axis], fixed, strict=True)
            if a in SYMBOLS
        )
        _draw_seconds(panels[0, column], axis, line)
        _draw_memory(panels[1, column], axis, line)
        panels[0, column].set_title(others, fontsize=8)
        panels[1, column].set_xlabel(NAMES[axis])
        if axis == "ranks":  # few, so each by its number
            numbers = sorted({cell[axis] for cell in line})
            panels[1, column].set_xticks(numbers, map(str, numbers))
            panels[1, column].minorticks_off()
    panels[0, 0].set_ylabel("processor seconds")
    panels[1, 0].set_ylabel("peak memory, GB")
    panels[0, 0].legend(fontsize=7)
    panels[1, 0].legend(fontsize=7)
    return figure


def _draw_seconds(panel: Axes, axis: str, line: list[dict[str, Any]]) -> None:
    x = [cell[axis] for cell in line]
    for stage, colour in zip(STAGES, COLOURS, strict=True):
        y = [max(_seconds(cell, stage), 1e-4) for cell in line]
        panel.plot(x, y, marker="o", ms=3, lw=1, color=colour, label=stage)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.grid(color=GRID)


def _draw_memory(panel: Axes, axis: str, line: list[dict[str, Any]]) -> None:
    x = [cell[axis] for cell in line]
    for (name, words), colour in zip(
        {"maxrss": "with mapped files", "anonymous": "its own"}.items(), COLOURS, strict=False
    ):
        y = [cell["peak_bytes"][name] / 1e9 for cell in line]
        panel.plot(x, y, marker="o", ms=3, lw=1, color=colour, label=words)
    panel.set_ylim(bottom=0)
    panel.grid(color=GRID)
