"""Several analyses side by side: one page, one table, one document."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from nemd_toolkit.errors import InputError
from nemd_toolkit.measures import Interval
from nemd_toolkit.measures.paired import Change
from nemd_toolkit.report.analysis import Analysis
from nemd_toolkit.report.comparability import warnings
from nemd_toolkit.report.comparison_figures import comparison_pictures
from nemd_toolkit.report.differences import NUMBERS, Difference, SideBySide, Standing
from nemd_toolkit.report.folder import write_files
from nemd_toolkit.report.headlines import Piece, change_text, headline, plain_text
from nemd_toolkit.report.page import shown
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
    extra, found = extra or {}, _compared(analyses)
    places = {standing.name: standing.place for standing in found.standings}
    rows = [_row(name, places[name], analysis, extra.get(name, {})) for name, analysis in analyses]
    write_files(
        folder,
        {
            "comparison.json": _document(analyses, rows, found),
            "comparison.csv": csv_text(pd.DataFrame(rows)),
            "comparison.html": _page(analyses, found, extra, links or {}),
        },
    )
    return folder / "comparison.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """What is said of all runs together."""

    standings: list[Standing]
    sentence: list[Piece]
    differences: list[Difference]
    from_best: dict[str, dict[str, Change]]  # of each other run, by number

    @property
    def best(self) -> str:
        return self.standings[0].name


def _compared(analyses: Sequence[Run]) -> _Compared:
    field = SideBySide(analyses)
    standings = field.standings()
    best = standings[0].name
    from_best = {
        s.name: {
            number: change
            for number in NUMBERS
            if (change := field.change(best, s.name, number)) is not None
        }
        for s in standings[1:]
    }
    return _Compared(
        standings=standings,
        sentence=headline(field, standings),
        differences=field.differences(),
        from_best=from_best,
    )


def _row(
    name: str, place: int, analysis: Analysis, extra: Mapping[str, str | float | int]
) -> dict[str, Any]:
    """One run, flat: a row of the CSV."""
    m, verdict = analysis.measures, analysis.verdict
    nemd = m.nemd
    return {
        "name": storable(name),
        "place": place,
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


def _document(analyses: Sequence[Run], rows: list[dict[str, Any]], found: _Compared) -> str:
    content = {
        "schema": SCHEMA,
        "headline": plain_text(found.sentence),
        "healthiest": [s.name for s in found.standings if s.place == 1],
        "runs": [{name: _finite(value) for name, value in row.items()} for row in rows],
        "warnings": warnings(analyses),
        "differences": [
            {
                "first": d.first,
                "second": d.second,
                "number": d.number,
                "value": d.change.value,
                "low": d.change.low,
                "high": d.change.high,
                "paired": d.change.paired,
                "beyond_noise": d.change.beyond,
            }
            for d in found.differences
        ],
    }
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _finite(value: Any) -> Any:
    """Give None for what JSON cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _page(analyses: Sequence[Run], found: _Compared, extra: Extra, links: Mapping[str, str]) -> str:
    columns = list(dict.fromkeys(column for name, _ in analyses for column in extra.get(name, {})))
    compared = [n for n in NUMBERS if any(n in changes for changes in found.from_best.values())]
    places = {standing.name: standing.place for standing in found.standings}
    return render(
        "comparison.html.j2",
        title=f"{len(analyses)} runs · nemd",
        sentence=found.sentence,
        runs=[
            {
                "name": shortened(name, LONGEST_NAME),
                "place": places[name],
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
        best=shortened(found.best, LONGEST_NAME),
        meanings=[NUMBERS[number] for number in compared],
        changes=[
            (
                shortened(name, LONGEST_NAME),
                [_change_cell(changes.get(number)) for number in compared],
            )
            for name, changes in found.from_best.items()
        ],
        unpaired=any(not c.paired for each in found.from_best.values() for c in each.values()),
        pictures=[
            shown(picture) for picture in comparison_pictures(analyses, found.best, found.from_best)
        ],
    )


def _change_cell(change: Change | None) -> tuple[Change | None, str]:
    return change, change_text(change) if change else "–"


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
