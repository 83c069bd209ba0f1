"""Figures of several runs side by side."""

from collections.abc import Mapping, Sequence

from nemd_toolkit.figures.changes import MOST_ROWS as MOST_CHANGES
from nemd_toolkit.figures.changes import ChangeRow, draw_changes
from nemd_toolkit.figures.scale import MOST_ROWS, Row, draw_scale
from nemd_toolkit.figures.spectrum import MOST_LINES, draw_spectra
from nemd_toolkit.findings import Thresholds
from nemd_toolkit.measures.paired import Change
from nemd_toolkit.measures.spectrum import Spectrum
from nemd_toolkit.report.analysis import Analysis
from nemd_toolkit.report.figure_data import change_data, scale_data, spectrum_data
from nemd_toolkit.report.gallery import limit
from nemd_toolkit.report.headlines import change_text
from nemd_toolkit.report.picture import Hover, Picture
from nemd_toolkit.report.wording import interval, shortened

__all__ = ["comparison_pictures"]

Run = tuple[str, Analysis]


def comparison_pictures(
    analyses: Sequence[Run], best: str, from_best: Mapping[str, Mapping[str, Change]]
) -> list[Picture]:
    """Draw scores, their differences from the `best` run (by run and number), and spectra."""
    findings, limits = analyses[0][1].findings, Thresholds()
    scores = [
        Row(name=name, score=a.measures.nemd.score if a.measures.nemd else None)
        for name, a in analyses
    ]
    told = "; ".join(f"{shortened(r.name, 30)} {interval(r.score)}" for r in scores[:9])
    return [
        Picture(
            name="scales",
            title="NEMD scores of all runs",
            reading="Left is as spread as uniform noise, right is every prototype shrunk to a "
            "point; bars are 95 % intervals over rows and prototypes."
            + (f" The first {MOST_ROWS} runs." if len(analyses) > MOST_ROWS else ""),
            alt=f"NEMD scores: {told}.",
            figure=draw_scale(
                scores,
                warning=limit(findings, "NEMD002", "score_warning", limits.coagulation_warning),
                issue=limit(findings, "NEMD002", "score_issue", limits.coagulation_issue),
            ),
            data=scale_data(scores[:MOST_ROWS]),
            hover=Hover(x="score", y="place", hidden=("place",)),
        ),
        *_changes(shortened(best, 30), from_best),
        _spectra([(name, a.measures.spectrum) for name, a in analyses]),
    ]


def _spectra(spectra: Sequence[tuple[str, Spectrum]]) -> Picture:
    ranks = [f"{shortened(name, 30)} {s.effective_rank_centred:.1f}" for name, s in spectra[:9]]
    return Picture(
        name="spectra",
        title="Spectra of all runs",
        reading="A line that falls off a cliff uses few directions; the grey one is that of "
        "uniform points with the N and d of the first run."
        + (f" The first {MOST_LINES} runs." if len(spectra) > MOST_LINES else ""),
        alt=f"Centred effective ranks: {'; '.join(ranks)}.",
        figure=draw_spectra(spectra),
        data=spectrum_data(spectra[:MOST_LINES]),
        hover=Hover(x="rank", y="singular value"),
    )


def _changes(best: str, from_best: Mapping[str, Mapping[str, Change]]) -> list[Picture]:
    rows = [
        ChangeRow(name=name, change=changes["score"])
        for name, changes in from_best.items()
        if "score" in changes
    ]
    if not rows:
        return []
    told = "; ".join(f"{shortened(r.name, 30)} {change_text(r.change)}" for r in rows[:9])
    return [
        Picture(
            name="changes",
            title="Score less that of the healthiest run",
            reading=f"Right of 0 is more coagulated than {best}; bars are 95 % intervals of the "
            "difference, and a bar across 0 is within noise."
            + (f" The first {MOST_CHANGES} runs." if len(rows) > MOST_CHANGES else ""),
            alt=f"Differences of the score from {best}: {told}.",
            figure=draw_changes(rows, "difference of NEMD scores"),
            data=change_data(rows[:MOST_CHANGES]),
            hover=Hover(x="difference", y="place", hidden=("place",)),
        )
    ]
