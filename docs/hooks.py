"""Fills pages with the checks' and figures' own words, and with examples computed here."""

import html
import re
import sys
from base64 import b64encode
from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import log
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # for `tests`

import nemd_toolkit as nt
from nemd_toolkit.checkpoints import LoggedLoss, TrainingLog
from nemd_toolkit.figures.saving import png_bytes
from nemd_toolkit.findings import CHECKS, Finding, judge
from nemd_toolkit.measures import measure
from nemd_toolkit.report.gallery import gallery
from nemd_toolkit.report.picture import Picture
from tests import worlds

_FINDINGS, _FIGURES = "<!-- findings -->", "<!-- figures -->"
_WORLDS = (
    ("healthy", 0.0),
    *(
        (kind, severity)
        for kind in (
            "coagulated",
            "duplicated",
            "dimensional",
            "cone",
            "dead",
            "imbalanced",
            "noise",
            "total",
        )
        for severity in (1.0, 0.6)
    ),
    ("small", 1.0),
)
_STATUSES = ("issue", "warning", "passed", "not_applicable")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put what is computed in its place (mkdocs calls this for every page)."""
    for place, made in ((_FINDINGS, _findings), (_FIGURES, _figures)):
        if place in markdown:
            markdown = markdown.replace(place, made())
    return markdown


def _judged() -> Iterator[tuple[str, Sequence[Finding]]]:
    """Judge worlds that differ in what is wrong with them, and how badly."""
    for kind, severity in _WORLDS:
        world = worlds.make(kind, severity)
        embeddings = nt.Embeddings(world.rows)
        found = [nt.fit_prototypes(embeddings, k) for k in world.setting.numbers]
        if world.own is not None:
            found = [nt.prototypes_from_vectors(embeddings, world.own)]
        name = f"{kind}, {severity:.0%} of the way" if severity else kind
        yield name, judge(measure(embeddings, found))
    rows, labels = worlds.clusters(1500, 32, 15, 0.9)
    yield "labels as prototypes", nt.analyze(rows, labels=labels, prototypes="labels").findings
    for name, value in {"a loss pinned at ln 513": log(513), "a loss that has fallen": 2.0}.items():
        losses = [
            LoggedLoss(name="info_nce", epoch=epoch, value=value, chance=log(513))
            for epoch in range(5, 15)
        ]
        embeddings = nt.Embeddings(rows)
        known = TrainingLog(losses=tuple(losses))
        yield name, judge(measure(embeddings, [nt.fit_prototypes(embeddings, 15)], log=known))
    yield "all rows equal", nt.analyze(worlds.equal(800, 32)).findings
    yield "a dozen rows", nt.analyze(rows[:12]).findings


@lru_cache(maxsize=1)
def _findings() -> str:
    examples: dict[tuple[str, str], tuple[str, Finding]] = {}
    for name, findings in _judged():
        for finding in findings:
            examples.setdefault((finding.about.code, finding.status), (name, finding))
    entries = sorted((entry for entry, _ in CHECKS), key=lambda entry: entry.code)
    return "\n".join(line for entry in entries for line in _section(entry, examples))


@lru_cache(maxsize=1)
def _figures() -> str:
    galleries = []
    for spread in (0.9, 0.2):
        rows, labels = worlds.clusters(1500, 32, 15, spread)
        galleries.append(gallery(nt.analyze(rows, labels=labels, prototypes=[15, 8])))
    lines = []
    for healthy, ill in zip(*galleries, strict=True):
        title = healthy.title.partition(" (")[0]
        lines += [f"## {title}", "", _text(healthy.reading), "", "| ordinary | drawn together |"]
        lines += ["| --- | --- |", f"| {_image(healthy)} | {_image(ill)} |", ""]
    return "\n".join(lines)


def _image(picture: Picture) -> str:
    data = b64encode(png_bytes(picture.figure)).decode()
    return f'<img alt="{html.escape(picture.alt)}" src="data:image/png;base64,{data}">'


def _section(entry: Any, examples: dict[tuple[str, str], tuple[str, Finding]]) -> list[str]:
    lines = [
        f"## {entry.code} {entry.name} {{ #{entry.code.lower()} }}",
        "",
        f"*{entry.kind}* · {_text(entry.meaning)}",
        "",
        f"**Fires when** {_text(entry.fires)}.",
        "",
        f"**What to do:** {_text(entry.remedy)}",
        "",
        "| | of | it says |",
        "| --- | --- | --- |",
    ]
    for status in _STATUSES:
        if (entry.code, status) in examples:
            name, finding = examples[entry.code, status]
            word = "cannot tell" if status == "not_applicable" else status
            lines.append(f"| {word} | {name} | {_text(finding.message)} |")
    return [*lines, ""]


def _text(words: str) -> str:
    return re.sub(r"([*_|`\[\]])", r"\\\1", html.escape(words, quote=False))
