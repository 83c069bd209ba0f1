"""Several analyses side by side: one page, one table, one document."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from nemd_toolkit.errors import InputError
from nemd_toolkit.figures.scale import MOST_ROWS, Row, draw_scale
from nemd_toolkit.figures.spectrum import MOST_LINES, draw_spectra
from nemd_toolkit.findings import Thresholds
from nemd_toolkit.measures import Interval
from nemd_toolkit.report.analysis import Analysis
from nemd_toolkit.report.comparability import MOST_PAIRED, differences, warnings
from nemd_toolkit.report.figure_data import scale_data, spectrum_data
from nemd_toolkit.report.folder import write_files
from nemd_toolkit.report.gallery import limit
from nemd_toolkit.report.page import shown
from nemd_toolkit.report.picture import Hover, Picture
from nemd_toolkit.report.rendering import render
from nemd_toolkit.report.tables import csv_text
from nemd_toolkit.report.wording import interval, number, shortened, storable

__all__ = ["SCHEMA", "write_comparison"]

SCHEMA = "nemd-comparison/1"
LONGEST_NAME = 60

Run = tuple[str, Analysis]
Extra = Mapping[str, Mapping[str, str | float | int]]


def write_comparison(
    analyses: Sequence[Run],
    folder: Path,
    extra: Extra | None = None,
    links: Mapping[str, str] | None = None,
) -> Path:
    """Write comparison.html, .csv and .json, and give the path of the page.

    analyses: names and analyses, in the order to show.
    extra: further columns of each run, by name; such as {"a": {"kNN accuracy": 0.91}}.
    links: for each run, its own page relative to `folder`.
    Raises InputError without runs, for two runs of one name, and if `folder` cannot be written to.
    """
    names = [name for name, _ in analyses]
    if not names or len(set(names)) != len(names):
        raise InputError(
            f"comparison: expected at least one run, each with its own name, got {names!r}; "
            "rename the files or folders"
        )
    extra = extra or {}
    rows = [_row(name, analysis, extra.get(name, {})) for name, analysis in analyses]
    write_files(
        folder,
        {
            "comparison.json": _document(analyses, rows),
            "comparison.csv": csv_text(pd.DataFrame(rows)),
            "comparison.html": _page(analyses, extra, links or {}),
        },
    )
    return folder / "comparison.html"


def _row(name: str, analysis: Analysis, extra: Mapping[str, str | float | int]) -> dict[str, Any]:
    """One run, flat: a row of the CSV."""
    m, verdict = analysis.measures, analysis.verdict
    nemd = m.nemd
    return {
        "name": storable(name),
        "state": verdict.state,
        "codes": " ".join(verdict.codes),
        **_ends("score", nemd.score if nemd else None),
        **_ends("excess", nemd.excess if nemd else None),
        **_ends("raw", nemd.raw if nemd else None),
        "effective_rank_centred": m.spectrum.effective_rank_centred,
        "effective_rank": m.spectrum.effective_rank,
        "mean_resultant": _mean_resultant(analysis),
        "resultant": m.instance.resultant,
        **{storable(column): _stored(value) for column, value in extra.items()},
        "count": m.rows.count,
        "dim": m.rows.dim,
        "n": nemd.n if nemd else None,
        "k": " ".join(str(c.k) for c in m.clusterings),
        "headline": storable(verdict.headline),
    }


def _stored(value: str | float | int) -> str | float | int:
    return storable(value) if isinstance(value, str) else value


def _ends(name: str, found: Interval | None) -> dict[str, float | None]:
    if found is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _mean_resultant(analysis: Analysis) -> float:
    found = [c.spread.mean_resultant for c in analysis.measures.clusterings]
    return sum(found) / len(found)


def _document(analyses: Sequence[Run], rows: list[dict[str, Any]]) -> str:
    content = {
        "schema": SCHEMA,
        "runs": [{name: _finite(value) for name, value in row.items()} for row in rows],
        "warnings": warnings(analyses),
        "differences": [
            {"first": d.first, "second": d.second, "beyond_prototype_noise": d.beyond}
            for d in differences(analyses)
        ],
    }
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _finite(value: Any) -> Any:
    """Give None for what JSON cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _page(analyses: Sequence[Run], extra: Extra, links: Mapping[str, str]) -> str:
    columns = list(dict.fromkeys(column for name, _ in analyses for column in extra.get(name, {})))
    found = differences(analyses)
    return render(
        "comparison.html.j2",
        title=f"{len(analyses)} runs · nemd",
        runs=[
            {
                "name": shortened(name, LONGEST_NAME),
                # quoted, so that a name is never taken for another scheme or anchor
                "link": quote(links[name]) if name in links else None,
                "verdict": analysis.verdict,
                "numbers": _numbers(analysis),
                "extra": [_extra_cell(extra.get(name, {}).get(column)) for column in columns],
            }
            for name, analysis in analyses
        ],
        columns=[shortened(column, LONGEST_NAME) for column in columns],
        warnings=warnings(analyses),
        beyond=[d for d in found if d.beyond],
        within=[d for d in found if not d.beyond],
        against_first=len(analyses) > MOST_PAIRED,
        pictures=[shown(picture) for picture in _pictures(analyses)],
    )


def _numbers(analysis: Analysis) -> list[tuple[str, float | int | None]]:
    """Give what is seen in each cell and the number to sort it by."""
    m, nemd = analysis.measures, analysis.measures.nemd
    intervals = (nemd.score, nemd.excess, nemd.raw) if nemd else (None, None, None)
    rank, tight = m.spectrum.effective_rank_centred, _mean_resultant(analysis)
    return [
        *((interval(i), i.value if i else None) for i in intervals),
        (f"{number(rank, 1)} of {m.spectrum.cap:,}", rank),
        (number(tight), tight),
        (f"{m.rows.count:,} × {m.rows.dim:,}", m.rows.count),
    ]


def _extra_cell(value: str | float | int | None) -> tuple[str, float | int | None]:
    if isinstance(value, str):
        return shortened(value, LONGEST_NAME), None
    return number(value), value


def _pictures(analyses: Sequence[Run]) -> list[Picture]:
    findings, limits = analyses[0][1].findings, Thresholds()
    scores = [
        Row(name=name, score=a.measures.nemd.score if a.measures.nemd else None)
        for name, a in analyses
    ]
    told = "; ".join(f"{shortened(r.name, 30)} {interval(r.score)}" for r in scores[:9])
    spectra = [(name, a.measures.spectrum) for name, a in analyses]
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
        Picture(
            name="spectra",
            title="Spectra of all runs",
            reading="A line that falls off a cliff uses few directions; the grey one is that of "
            "uniform points with the N and d of the first run."
            + (f" The first {MOST_LINES} runs." if len(analyses) > MOST_LINES else ""),
            alt="Centred effective ranks: "
            + "; ".join(
                f"{shortened(name, 30)} {a.measures.spectrum.effective_rank_centred:.1f}"
                for name, a in analyses[:9]
            )
            + ".",
            figure=draw_spectra(spectra),
            data=spectrum_data(spectra[:MOST_LINES]),
            hover=Hover(x="rank", y="singular value"),
        ),
    ]
