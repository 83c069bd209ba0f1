"""One picture of the verdict, for a slide or a pull request: 1200 x 630 pixels."""

from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon, RegularPolygon

from nemd_toolkit.figures.style import (
    BLUE,
    GRID,
    INK,
    MUTED,
    PAPER,
    THEME,
    VERMILLION,
    ZONE,
    ZONE_STRONG,
    plain,
)
from nemd_toolkit.findings import Thresholds
from nemd_toolkit.report.analysis import Analysis
from nemd_toolkit.report.gallery import limit
from nemd_toolkit.report.wording import interval, no_score, number, state_of

__all__ = ["DPI", "draw_card"]

DPI = 100
WIDTH, HEIGHT = 1200, 630  # pixels; all places below are pixels from the upper left
_COLOURS = {"healthy": "#00608f", "collapsed": "#a83c00", "inconclusive": "#5b4a8a"}
Pixels = float | int  # type checks at run time tell them apart
_LEFT, _RIGHT = 70, WIDTH - 70


def draw_card(analysis: Analysis) -> Figure:
    """Draw state, headline, score on its scale, key numbers and source."""
    with matplotlib.rc_context(THEME):
        figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
        axes.set_axis_off()
        card = _Card(figure)
        colour = _COLOURS[analysis.verdict.state]
        axes.add_patch(Polygon([(0, 0), (WIDTH, 0), (WIDTH, 14), (0, 14)], color=colour))
        card.icon(analysis.verdict.state, colour)
        card.text(
            165,
            92,
            state_of(analysis.verdict),
            36 if analysis.verdict.relative else 46,
            colour=colour,
            weight="bold",
        )
        card.paragraph(_LEFT, 165, analysis.verdict.headline, 20, lines=3)
        card.scale(analysis)
        card.numbers(analysis)
        card.text(_LEFT, 595, plain(analysis.provenance.source, 90), 14, colour=MUTED)
        card.text(_RIGHT, 595, "nemd", 14, colour=MUTED, side="right")
    return figure


class _Card:
    """Drawing in pixels on one figure."""

    def __init__(self, figure: Figure) -> None:
        self.axes = figure.axes[0]
        self.renderer = RendererAgg(WIDTH, HEIGHT, DPI)  # type: ignore[no-untyped-call]  # measures text

    def text(
        self,
        x: Pixels,
        y: Pixels,
        text: str,
        size: int,
        *,
        colour: str = INK,
        weight: str = "normal",
        side: str = "left",
    ) -> float:
        """Write one line and give its width."""
        drawn = self.axes.text(
            x, y, text, fontsize=size, color=colour, weight=weight, ha=side, va="center"
        )
        return float(drawn.get_window_extent(self.renderer).width)

    def paragraph(self, x: Pixels, y: Pixels, text: str, size: int, *, lines: int) -> None:
        """Write a text on at most `lines` lines; an ellipsis says that more follows."""
        wrapped = self._wrap(plain(text, 600), size)
        if len(wrapped) > lines:
            wrapped = [*wrapped[: lines - 1], wrapped[lines - 1][:-2] + "…"]
        for place, line in enumerate(wrapped):
            self.text(x, y + place * size * 2.0, line, size)

    def _wrap(self, text: str, size: int) -> list[str]:
        lines = [""]
        for word in text.split(" "):
            for piece in self._pieces(word, size):
                longer = f"{lines[-1]} {piece}".strip()
                if self._fits(longer, size):
                    lines[-1] = longer
                else:
                    lines.append(piece)
        return lines

    def _pieces(self, word: str, size: int) -> list[str]:
        """Cut a word that is longer than a line."""
        pieces = [""]
        for letter in word:
            if not self._fits(pieces[-1] + letter, size):
                pieces.append("")
            pieces[-1] += letter
        return pieces

    def _fits(self, text: str, size: int) -> bool:
        probe = self.axes.text(0, 0, text, fontsize=size)
        width = probe.get_window_extent(self.renderer).width
        probe.remove()
        return bool(width <= _RIGHT - _LEFT)

    def icon(self, state: str, colour: str) -> None:
        """Draw the state's shape: circle with tick, octagon with cross, square with ?."""
        x, y = 112, 92
        line: dict[str, Any] = {"color": PAPER, "lw": 6, "solid_capstyle": "round"}
        if state == "healthy":
            self.axes.add_patch(Circle((x, y), 42, color=colour))
            self.axes.plot([x - 20, x - 5, x + 20], [y + 2, y + 17, y - 15], **line)
        elif state == "collapsed":
            octagon = RegularPolygon((x, y), 8, radius=44, orientation=0.3927, color=colour)
            self.axes.add_patch(octagon)
            self.axes.plot([x - 15, x + 15], [y - 15, y + 15], **line)
            self.axes.plot([x - 15, x + 15], [y + 15, y - 15], **line)
        else:
            self.axes.add_patch(
                RegularPolygon((x, y), 4, radius=54, orientation=0.7854, color=colour)
            )
            self.axes.text(
                x, y, "?", fontsize=38, color=PAPER, ha="center", va="center", weight="bold"
            )

    def scale(self, analysis: Analysis) -> None:
        """Draw the combined score between 0 and 1, or say that there is none."""
        found, limits = analysis.findings, Thresholds()
        score = analysis.measures.nemd.score if analysis.measures.nemd else None
        y = 372
        if score is None:
            self.paragraph(
                _LEFT, y - 30, f"No NEMD score: {no_score(analysis.measures)}", 16, lines=3
            )
            return
        baseline = analysis.baseline.numbers.score if analysis.baseline else None
        drawn = [score] if baseline is None else [score, baseline]
        low = min(-0.04, *(s.low for s in drawn))
        high = max(1.04, *(s.high for s in drawn))

        def at(value: Pixels) -> float:
            return _LEFT + (_RIGHT - _LEFT) * (value - low) / (high - low)

        warning = limit(found, "NEMD002", "score_warning", limits.coagulation_warning)
        issue = limit(found, "NEMD002", "score_issue", limits.coagulation_issue)
        if analysis.baseline is None:
            self.axes.fill_between([at(warning), at(issue)], y - 22, y + 22, color=ZONE, lw=0)
            self.axes.fill_between([at(issue), at(high)], y - 22, y + 22, color=ZONE_STRONG, lw=0)
            self.text(at(issue), y + 44, f"▴ issue {issue:g}", 14, colour=VERMILLION)
        self.axes.plot([at(0), at(1)], [y, y], color=GRID, lw=5)
        if baseline is not None:
            self.axes.plot([at(baseline.value)], [y], marker="D", ms=17, color=PAPER, mec=INK)
        self.axes.plot([at(score.low), at(score.high)], [y, y], color=BLUE, lw=12, alpha=0.5)
        self.axes.plot([at(score.value)], [y], marker="D", ms=17, color=BLUE, mec=INK)
        told = f"NEMD score {interval(score)}"
        if baseline is not None:
            told += f", baseline {interval(baseline)}"
        self.text(_LEFT, y - 48, told, 20, weight="bold")
        self.text(at(0), y + 44, "0 uniform noise", 14, colour=MUTED)
        self.text(at(1), y + 44, "1 points", 14, colour=MUTED, side="right")

    def numbers(self, analysis: Analysis) -> None:
        """Write four numbers in four columns."""
        m = analysis.measures
        resultants = [c.spread.mean_resultant for c in m.clusterings]
        columns = (
            ("embeddings", f"{m.rows.count:,} × {m.rows.dim:,}"),
            ("NEMD excess", number(m.nemd.excess.value, 2) if m.nemd else "none"),
            ("effective rank", f"{m.spectrum.effective_rank_centred:.1f} of {m.spectrum.cap:,}"),
            ("mean resultant", number(sum(resultants) / len(resultants), 2)),
        )
        for place, (name, value) in enumerate(columns):
            x = _LEFT + place * (_RIGHT - _LEFT) / len(columns)
            self.text(x, 482, value, 22, weight="bold")
            self.text(x, 518, name, 14, colour=MUTED)
