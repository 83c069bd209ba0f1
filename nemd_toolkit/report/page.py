"""The page of one analysis: verdict first, one file, offline, small whatever N and K."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from markupsafe import Markup

from nemd_toolkit.findings import Baseline, Thresholds
from nemd_toolkit.measures.summary import ClusteringMeasures
from nemd_toolkit.report.analysis import Analysis, Provenance
from nemd_toolkit.report.embedded import MOST_ROWS as MOST_DATA
from nemd_toolkit.report.embedded import as_script_data, picture_data
from nemd_toolkit.report.exemplars import Exemplars, Thumbnail
from nemd_toolkit.report.explorer import explorer_data
from nemd_toolkit.report.figure_data import called
from nemd_toolkit.report.gallery import chosen_clustering, limit
from nemd_toolkit.report.inline_svg import inline_svg
from nemd_toolkit.report.label_rows import label_numbers, label_reasons
from nemd_toolkit.report.number_rows import embedding_numbers, prototype_numbers
from nemd_toolkit.report.picture import Picture
from nemd_toolkit.report.rendering import render
from nemd_toolkit.report.tables import prototype_table
from nemd_toolkit.report.wording import how_sure, interval, number, percent, shortened, storable

__all__ = ["Shown", "page", "shown"]

MOST_ROWS = 250  # of a table of prototypes; more are for the CSV
MOST_COLUMNS = 12  # clusterings side by side
LONGEST_NAME = 60  # characters
_CSV_ONLY = ("phi", "mean_energy")  # what follows another column
_HEADERS = {"prototype": "no.", "nearest_distance": "distance"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A picture as it stands in a page."""

    name: str
    title: str
    reading: str
    svg: Markup
    data: Markup  # JSON for the page's script
    note: str  # on what of the data is in the page


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    """A cell of a sortable table: what is seen, and the exact value to sort by."""

    shown: str
    value: str | None  # None: by what is seen
    text: bool = False
    look: str | None = None  # what the script is to show of this prototype, as JSON


def page(analysis: Analysis, pictures: Sequence[Picture]) -> str:
    """Give report.html; the first picture is the scale."""
    m, provenance = analysis.measures, analysis.provenance
    clusterings = m.clusterings[:MOST_COLUMNS]
    limits = Thresholds()
    epsilon = limit(analysis.findings, "NEMD003", "epsilon", limits.duplicate_epsilon)
    scale, *others = [shown(picture) for picture in pictures]
    replaced = {"pairs", "matrix", "usage"}  # by the explorer, where scripts run
    explorer = explorer_data(m, clusterings)
    return render(
        "page.html.j2",
        title=f"{analysis.verdict.state} · {shortened(provenance.source)} · nemd",
        verdict=analysis.verdict,
        source=shortened(provenance.source, 300),
        findings=analysis.findings,
        fired=[f for f in analysis.findings if f.status in ("issue", "warning")],
        ignored=[f for f in analysis.findings if f.status == "ignored"],
        relative=analysis.baseline is not None,
        score=interval(m.nemd.score) if m.nemd and m.nemd.score else None,
        how_sure=how_sure(m),
        scale=scale,
        pictures=[p for p in others if not explorer or p.name not in replaced],
        replaced=[p for p in others if explorer and p.name in replaced],
        explorer=as_script_data(explorer) if explorer else None,
        exemplars=[_shortened(e) for e in analysis.exemplars],
        exemplars_of=called(chosen_clustering(m.clusterings)),
        rows=m.rows,
        clusterings=[called(c) for c in clusterings],
        hidden_clusterings=len(m.clusterings) - len(clusterings),
        prototype_numbers=prototype_numbers(clusterings, epsilon),
        missing=_missing(clusterings),
        embedding_numbers=embedding_numbers(m),
        label_numbers=label_numbers(m),
        label_reasons=label_reasons(m),
        prototype_tables=[
            _prototypes(c, place, len(clusterings)) for place, c in enumerate(clusterings)
        ],
        provenance=_facts(provenance, analysis.baseline),
        command=shortened(provenance.command, 2_000),
        notes=provenance.notes,
    )


def shown(picture: Picture) -> Shown:
    """Make a picture part of a page."""
    return Shown(
        name=picture.name,
        title=picture.title,
        reading=picture.reading,
        svg=inline_svg(
            picture.figure, name=picture.name, title=picture.title, description=picture.alt
        ),
        data=picture_data(picture),  # after the drawing, which settles where marks are
        note=_part_of(len(picture.data)),
    )


def _shortened(e: Exemplars) -> Exemplars:
    """Cut long names, of files above all."""
    return replace(
        e,
        name=shortened(storable(e.name), LONGEST_NAME),
        nearest=tuple(map(_named, e.nearest)),
        farthest=tuple(map(_named, e.farthest)),
    )


def _named(image: Thumbnail) -> Thumbnail:
    return replace(image, name=shortened(storable(image.name), 300))


def _part_of(rows: int) -> str:
    return f"{MOST_DATA:,} of {rows:,} rows, at even steps" if rows > MOST_DATA else ""


def _missing(clusterings: Sequence[ClusteringMeasures]) -> list[str]:
    """Why a clustering has no NEMD or no score."""
    reasons = []
    for c in clusterings:
        if c.nemd is None:
            reasons.append(f"{called(c)} has no NEMD: {c.nemd_missing}.")
        elif c.nemd.score is None:
            reasons.append(f"{called(c)} has no score: {c.nemd.score_missing}.")
    return reasons


def _prototypes(c: ClusteringMeasures, place: int, tables: int) -> dict[str, Any]:
    most = min(MOST_ROWS, max(20, 1_000 // tables))
    table = prototype_table(c).drop(columns=["k", "source", *_CSV_ONLY])
    if c.source == "k-means":  # named by their numbers
        table = table.drop(columns="name")
    largest = table.sort_values("size", ascending=False, kind="stable").head(most)
    count = f"all {len(table):,}" if len(largest) == len(table) else f"the {most:,} largest"
    caption = (
        f"{called(c)}: {count} of {len(table):,} prototypes, largest first. Concentration is "
        "PCL's φ before rescaling (0 = members coincide); distance is 1 − cosine to the nearest."
        + (" Purity is the share of the commonest label." if "purity" in table else "")
    )
    return {
        "name": called(c),
        "id": f"prototypes-{place}",
        "caption": caption,
        "columns": [_HEADERS.get(name, name.replace("_", " ")) for name in table.columns],
        "rows": [
            [_cell(c, column, value) for column, value in zip(table.columns, row, strict=True)]
            for row in largest.itertuples(index=False, name=None)
        ],
    }


def _cell(c: ClusteringMeasures, column: str, value: Any) -> _Cell:
    if isinstance(value, str):
        return _Cell(shown=shortened(value, LONGEST_NAME), value=None, text=column == "name")
    if pd.isna(value):
        return _Cell(shown="–", value="")
    exact = float(value)
    if column == "prototype" and c.nemd is not None:
        return _Cell(shown=f"{value}", value=f"{value}", look=json.dumps([called(c), int(value)]))
    seen = percent(exact) if column in ("share", "purity") else number(exact)
    return _Cell(shown=seen, value=f"{exact:.6g}" if math.isfinite(exact) else "")


def _encoder(p: Provenance) -> list[tuple[str, str]]:
    if p.branch is None:
        return []
    default = " (the layout's default)" if p.default_branch else ""
    return [
        ("branch", shortened(p.branch, 300) + default),
        ("encoder", shortened(p.encoder or "what the checkpoint's names describe", 1_000)),
    ]


def _facts(p: Provenance, baseline: Baseline | None) -> list[tuple[str, str]]:
    judged = "absolute thresholds"
    if baseline is not None:
        judged = f"{baseline.file} (SHA-256 {baseline.sha256}), the report on {baseline.source}"
    versions = ", ".join(f"{name} {version}" for name, version in p.versions.items())
    return [
        ("source", shortened(p.source, 1_000)),
        ("SHA-256", p.sha256 or "none: arrays in memory"),
        ("format or layout", p.layout),
        ("layer", p.layer or "none: embeddings were given"),
        *_encoder(p),
        ("data", shortened(p.data, 1_000) if p.data else "none: embeddings were given"),
        ("judged against", shortened(judged, 1_000)),
        ("seed", str(p.seed)),
        ("device", p.device),
        ("time taken", f"{p.seconds:.1f} s"),
        ("versions", versions or "unknown"),
    ]
