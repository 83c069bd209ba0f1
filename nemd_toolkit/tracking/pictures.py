"""The figures of a course: curves over training, and a timeline of findings."""

from collections.abc import Sequence
from math import nan

import pandas as pd

from nemd_toolkit.figures.course import Axis, Curve, Limit, draw_curves, draw_timeline
from nemd_toolkit.findings import CHECKS, Thresholds
from nemd_toolkit.measures import Interval
from nemd_toolkit.report.picture import Hover, Picture
from nemd_toolkit.report.wording import STATUSES, interval, number
from nemd_toolkit.tracking.course import Course
from nemd_toolkit.tracking.points import Number
from nemd_toolkit.tracking.sentences import onset_sentence

__all__ = ["pictures"]

_LIMITS = Thresholds()
# name, title, how to read it, label of the scale, numbers, limits
_CURVES: tuple[tuple[str, str, str, str, dict[str, str], tuple[Limit, ...]], ...] = (
    (
        "score",
        "NEMD score",
        "0 is as spread as uniform noise, 1 is every prototype shrunk to a point; the band is the "
        "95 % interval.",
        "NEMD score",
        {"score": "score"},
        (
            Limit(name="issue", value=_LIMITS.coagulation_issue),
            Limit(name="warning", value=_LIMITS.coagulation_warning),
        ),
    ),
    (
        "distances",
        "NEMD excess and raw",
        "Distances between prototypes. Raw depends on n, which may change from one checkpoint to "
        "the next.",
        "W1",
        {"excess": "excess", "raw": "raw"},
        (),
    ),
    (
        "rank",
        "Effective rank share",
        "Directions in use, of those that as many uniform points use; a fall towards 0 is "
        "dimensional collapse.",
        "of uniform points' rank",
        {"rank_share": "effective rank share"},
        (
            Limit(name="issue", value=_LIMITS.rank_share_issue),
            Limit(name="warning", value=_LIMITS.rank_share_warning),
        ),
    ),
    (
        "mean",
        "Share of the mean row",
        "Squared length that all rows have in common: near 1 they are one point, high is a cone. "
        "Rows without negative coordinates are judged by higher limits.",
        "share",
        {"mean_share": "mean share"},
        (
            Limit(name="issue", value=_LIMITS.cone_issue),
            Limit(name="warning", value=_LIMITS.cone_warning),
        ),
    ),
    (
        "uniformity",
        "Uniformity",
        "log E exp(−2‖x−y‖²): lower is more uniform, 0 is one point. The best checkpoint is the "
        "healthy one where it is lowest; the band is the 95 % interval.",
        "uniformity",
        {"uniform": "uniformity"},
        (),
    ),
    (
        "alignment",
        "Alignment",
        "Mean squared distance of two views of one sample; 0 is aligned.",
        "alignment",
        {"align": "alignment"},
        (),
    ),
    (
        "prototypes",
        "Duplicates and usage",
        "Share of prototypes that repeat another (the most of all clusterings), and entropy of "
        "their usage over ln K (the least), 1 = all equally used.",
        "share",
        {"duplicates": "duplicates", "entropy": "usage entropy"},
        (Limit(name="duplicates, issue", value=_LIMITS.duplicate_share),),
    ),
    (
        "knn",
        "kNN accuracy",
        "Of held-out samples, by their labels; the band is the 95 % interval of the draw of "
        "samples.",
        "accuracy",
        {"knn": "kNN accuracy"},
        (),
    ),
)


def pictures(course: Course) -> list[Picture]:
    """All figures that this course has numbers for, the timeline first, then the score."""
    axis = Axis(
        at=tuple(stop.at for stop in course.stops),
        unit=course.unit,
        collapse=None if course.collapse is None else course.stops[course.collapse].at,
        best=None if course.best is None else course.stops[course.best.place].at,
    )
    found = [_timeline(course, axis)]
    for name, title, reading, label, numbers, limits in _CURVES:
        curves = [
            Curve(name=called, values=tuple(course.numbers(key))) for key, called in numbers.items()
        ]
        if name != "score" and all(value is None for c in curves for value in c.values):
            continue
        found.append(
            Picture(
                name=name,
                title=title,
                reading=reading,
                alt="; ".join(_told(course, curve) for curve in curves) + ".",
                figure=draw_curves(axis, curves, limits, label),
                data=_curve_data(course, axis, curves),
                hover=Hover(x="at", y="value", hidden=("at",)),
            )
        )
    return found


def _timeline(course: Course, axis: Axis) -> Picture:
    rows = [
        (about.name, [stop.point.finding(about.code).status for stop in course.stops])
        for about, _ in CHECKS
    ]
    told = "; ".join(
        f"{onset.about.name} {onset_sentence(course, onset)}"
        for onset in course.onsets
        if onset.begins is not None or onset.passing
    )
    return Picture(
        name="timeline",
        title="Findings over training",
        reading="A cross is an issue, a triangle a warning, a dot passed, a dash cannot be told. A "
        "finding begins where its crosses go on to the end.",
        alt=f"Issues: {told}." if told else "No check was an issue at any checkpoint.",
        figure=draw_timeline(axis, rows),
        data=pd.DataFrame(
            [
                (stop.label, at, name, STATUSES[statuses[place]], row)
                for row, (name, statuses) in enumerate(rows)
                for place, (stop, at) in enumerate(zip(course.stops, axis.at, strict=True))
            ],
            columns=["checkpoint", "at", "check", "status", "row"],
        ),
        hover=Hover(x="at", y="row", hidden=("at", "row")),
    )


def _curve_data(course: Course, axis: Axis, curves: Sequence[Curve]) -> pd.DataFrame:
    """One row per curve and checkpoint that has the number; ends where it has an interval."""
    rows = []
    for curve in curves:
        for stop, at, value in zip(course.stops, axis.at, curve.values, strict=True):
            if isinstance(value, Interval):
                rows.append((stop.label, at, curve.name, value.value, value.low, value.high))
            elif value is not None:
                rows.append((stop.label, at, curve.name, value, nan, nan))
    columns = ["checkpoint", "at", "number", "value", "low", "high"]
    found = pd.DataFrame(rows, columns=columns)
    return found.dropna(axis=1, how="all") if rows else found


def _told(course: Course, curve: Curve) -> str:
    first, last = curve.values[0], curve.values[-1]
    ends = f"{_said(first)} at {course.stops[0].label}, {_said(last)} at {course.stops[-1].label}"
    return f"{curve.name} {ends}"


def _said(value: Number) -> str:
    return interval(value) if isinstance(value, Interval) else number(value, 2)
