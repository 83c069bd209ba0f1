"""The page of a course: one file, offline, and the files beside it."""

from pathlib import Path
from typing import Any

from nemd_toolkit.figures.saving import png_bytes
from nemd_toolkit.measures import Interval
from nemd_toolkit.progress import bar
from nemd_toolkit.report.folder import write_files
from nemd_toolkit.report.page import shown
from nemd_toolkit.report.rendering import render
from nemd_toolkit.report.tables import csv_text
from nemd_toolkit.report.wording import interval, number, shortened
from nemd_toolkit.tracking.course import Course, Stop
from nemd_toolkit.tracking.document import table, to_json
from nemd_toolkit.tracking.pictures import pictures
from nemd_toolkit.tracking.points import NUMBERS, Number
from nemd_toolkit.tracking.sentences import (
    EVIDENCE,
    best_sentence,
    branch_sentence,
    collapse_sentences,
    onset_sentence,
)
from nemd_toolkit.tracking.tracking import Tracked

__all__ = ["write"]

LONGEST_NAME = 60
_IN_TABLE = ("score", "excess", "rank_share", "mean_share", "uniform", "knn")


def write(tracked: Tracked, folder: Path) -> Path:
    """Write track.json, track.csv, figures and, last, track.html; gives the page's path.

    Raises InputError for a folder that cannot be written to.
    """
    with bar("drawing the page", 1):
        drawn = pictures(tracked.course)
        files: dict[str, str | bytes] = {
            "track.json": to_json(tracked),
            "track.csv": csv_text(table(tracked.course)),
            **{f"figures/{picture.name}.png": png_bytes(picture.figure) for picture in drawn},
            "track.html": _page(tracked, [shown(picture) for picture in drawn]),
        }
    write_files(folder, files)
    return folder / "track.html"


def _page(tracked: Tracked, drawn: list[Any]) -> str:
    course = tracked.course
    last = course.stops[-1].point
    head, more = collapse_sentences(course)
    numbers = [
        name for name in _IN_TABLE if any(value is not None for value in course.numbers(name))
    ]
    return render(
        "track.html.j2",
        title=f"{len(course.stops)} checkpoints · nemd",
        state=_state(course),
        collapse=head,
        more=more,
        best=best_sentence(course),
        branch=branch_sentence(course),
        evidence=EVIDENCE,
        last=course.stops[-1].label,
        fired=[f for f in last.findings if f.status in ("issue", "warning")],
        ordered_by=course.ordered_by,
        failures=[(shortened(f.name, LONGEST_NAME), f.reason) for f in tracked.failures],
        ignored=tracked.ignored,
        repeated=[shortened(name, LONGEST_NAME) for name in tracked.repeated[:20]],
        timeline=drawn[0],
        score=drawn[1],
        pictures=drawn[2:],
        onsets=[
            (onset.about, onset_sentence(course, onset), last.finding(onset.about.code))
            for onset in course.onsets
        ],
        columns=[NUMBERS[name] for name in numbers],
        stops=[_row(course, place, stop, numbers) for place, stop in enumerate(course.stops)],
        settings=_settings(tracked),
    )


def _state(course: Course) -> str:
    """Give the state that colours the page: that of the end of training."""
    if course.collapse is not None:
        return "collapsed"
    return "inconclusive" if course.doubt is not None else "healthy"


def _row(course: Course, place: int, stop: Stop, numbers: list[str]) -> dict[str, Any]:
    best = course.best
    marks = []
    if place == course.collapse:
        marks.append("collapse begins")
    if best is not None and place == best.place:
        marks.append("best without labels")
    return {
        "label": shortened(stop.label, LONGEST_NAME),
        "at": stop.at,
        "file": shortened(stop.file, LONGEST_NAME),
        "verdict": stop.point.verdict,
        "marks": marks,
        "cells": [_cell(stop.point.numbers[name]) for name in numbers],
    }


def _cell(found: Number) -> tuple[str, float | None]:
    if isinstance(found, Interval):
        return interval(found), found.value
    return number(found), found


def _settings(tracked: Tracked) -> list[tuple[str, str]]:
    """Give what all checkpoints were analysed with, where something was said."""
    return [
        (name.replace("_", " "), shortened(str(value), 200))
        for name, value in tracked.settings.items()
        if value not in (None, (), "")
    ]
