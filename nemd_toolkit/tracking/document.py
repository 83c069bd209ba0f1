"""A course as JSON, schema nemd-track/1, and as a table."""

import json
from typing import Any

import pandas as pd

from nemd_toolkit.measures import Interval
from nemd_toolkit.report.wording import storable
from nemd_toolkit.tracking.course import Course, Stop
from nemd_toolkit.tracking.points import NUMBERS, Number
from nemd_toolkit.tracking.sentences import EVIDENCE, headline
from nemd_toolkit.tracking.tracking import Tracked

__all__ = ["SCHEMA", "table", "to_json"]

SCHEMA = "nemd-track/1"


def to_json(tracked: Tracked) -> str:
    """Text of the document; standard JSON, the same for the same checkpoints and settings."""
    course = tracked.course
    content = {
        "schema": SCHEMA,
        "headline": headline(course),
        "unit": course.unit,
        "ordered_by": course.ordered_by,
        "collapse": _collapse(course),
        "best": _best(course),
        "onsets": [
            {
                "code": onset.about.code,
                "name": onset.about.name,
                "begins": _place(course, onset.begins),
                "not_lasting": [course.stops[place].label for place in onset.passing],
            }
            for onset in course.onsets
        ],
        "checkpoints": [_stop(stop) for stop in course.stops],
        "failed": [{"file": f.name, "reason": f.reason} for f in tracked.failures],
        "ignored_files": tracked.ignored,
        "repeated_files": list(tracked.repeated),
        "settings": {name: _plain(value) for name, value in tracked.settings.items()},
    }
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def table(course: Course) -> pd.DataFrame:
    """One row per checkpoint; empty where there is no such number."""
    return pd.DataFrame(
        [
            {
                "checkpoint": storable(stop.label),
                course.unit: stop.at,
                "file": storable(stop.file),
                "state": stop.point.verdict.state,
                "codes": " ".join(stop.point.verdict.codes),
                **_flat(stop),
                "headline": storable(stop.point.verdict.headline),
                "sha256": stop.sha256,
            }
            for stop in course.stops
        ]
    )


def _flat(stop: Stop) -> dict[str, float | None]:
    row: dict[str, float | None] = {}
    for name in NUMBERS:
        found = stop.point.numbers[name]
        if isinstance(found, Interval):
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        else:
            row[name] = found
    return row


def _collapse(course: Course) -> dict[str, Any] | None:
    if course.collapse is None:
        return None
    return {
        "begins": _place(course, course.collapse),
        "healthy_until": _place(course, course.collapse - 1 if course.collapse else None),
        "in_doubt_since": _place(course, course.doubt),
        "kinds": course.kinds,
        "later_kinds": course.later_kinds,
    }


def _best(course: Course) -> dict[str, Any] | None:
    if course.best is None:
        return None
    return {
        "checkpoint": _place(course, course.best.place),
        "within_noise": [course.stops[place].label for place in course.best.alike],
        "rule": "healthy, with the most uniform rows",
        "evidence": EVIDENCE,
    }


def _place(course: Course, place: int | None) -> dict[str, Any] | None:
    if place is None:
        return None
    stop = course.stops[place]
    return {"place": place, "label": stop.label, "file": stop.file}


def _stop(stop: Stop) -> dict[str, Any]:
    verdict = stop.point.verdict
    return {
        "label": stop.label,
        "at": stop.at,
        "file": stop.file,
        "sha256": stop.sha256,
        "verdict": {
            "state": verdict.state,
            "codes": list(verdict.codes),
            "headline": verdict.headline,
        },
        "findings": {f.about.code: f.status for f in stop.point.findings},
        "numbers": {name: _number(stop.point.numbers[name]) for name in NUMBERS},
    }


def _number(found: Number) -> dict[str, float] | float | None:
    if isinstance(found, Interval):
        return {"value": found.value, "low": found.low, "high": found.high}
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
