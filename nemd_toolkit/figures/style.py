"""One look for all figures: palette, type sizes, and text that any font can show.

Colours are Okabe-Ito's, darkened where they were too pale on white; every series also has its own
marker and line style. A page replaces the exact hex codes by CSS variables to follow dark mode.
"""

from functools import cache
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

__all__ = [
    "AMBER",
    "BLUE",
    "GREEN",
    "GRID",
    "INK",
    "MARKERS",
    "MOST_VECTORS",
    "MUTED",
    "NEUTRAL",
    "PAPER",
    "PURPLE",
    "SERIES",
    "THEME",
    "VERMILLION",
    "WIDTH",
    "ZONE",
    "ZONE_STRONG",
    "new_figure",
    "plain",
    "say_nothing_to_draw",
    "themed",
]

WIDTH, HEIGHT = 4.8, 3.1  # inches: on a phone of 360 px the text is about 10 px high
MOST_VECTORS = 2_000  # points of one line; what has more becomes pixels, to keep pages small
INK, MUTED, GRID, PAPER = "#1b1e24", "#566070", "#d8dde5", "#fefefe"
BLUE, VERMILLION, GREEN, PURPLE, AMBER = "#0072b2", "#c4500a", "#00805e", "#a2487f", "#a87400"
NEUTRAL = "#8d96a5"
ZONE, ZONE_STRONG = "#fbeadd", "#f3cfb6"  # score from the warning on, and from the issue on
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, AMBER, MUTED)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

FONT = "DejaVu Sans"  # comes with matplotlib, so figures look the same everywhere
THEME: dict[Any, Any] = {  # matplotlib types the keys as literals, by version
    "font.family": [FONT],
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.labelsize": 10.5,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "legend.columnspacing": 1.2,
    "legend.handlelength": 1.6,
    "text.parse_math": False,  # names may hold dollar signs
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "figure.facecolor": PAPER,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
}
themed = matplotlib.rc_context(THEME)  # a decorator: the theme holds inside, and only there


def new_figure(height: float = HEIGHT, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Give an empty figure of the common width with one column of axes."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, [figure.add_subplot(rows, 1, row + 1) for row in range(rows)]


def say_nothing_to_draw(figure: Figure, reason: str) -> None:
    """Write, in place of a picture, why there is none."""
    figure.set_size_inches(WIDTH, 1.2)
    [axes] = figure.axes
    axes.clear()
    axes.set_axis_off()
    axes.text(0.5, 0.5, reason, ha="center", va="center", color=MUTED, transform=axes.transAxes)


def plain(text: str, width: int = 28) -> str:
    r"""Text that the figures' font can show, on one line, cut to `width` characters.

    >>> plain("a\nb"), plain("x" * 99, 5)
    ('a□b', 'xxxx…')
    """
    shown = "".join(c if c.isprintable() and ord(c) in _glyphs() else "□" for c in text[:width])
    return shown if len(text) <= width else shown[: width - 1] + "…"


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont(FONT)).get_charmap())
