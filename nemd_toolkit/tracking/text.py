"""A course as lines for a terminal."""

from nemd_toolkit.measures import Interval
from nemd_toolkit.report.wording import interval, number, shortened, state_of
from nemd_toolkit.tracking.sentences import best_sentence, branch_sentence, collapse_sentences
from nemd_toolkit.tracking.tracking import Tracked

__all__ = ["track_lines"]


def track_lines(tracked: Tracked) -> list[str]:
    """Give what it tells, a row per checkpoint, and what was done."""
    course = tracked.course
    rows = [["", "verdict", "NEMD score", "rank share", "uniformity", "kNN", ""]]
    for stop in course.stops:
        point = stop.point
        rows.append(
            [
                shortened("".join(c if c.isprintable() else "?" for c in stop.label), 40),
                state_of(point.verdict),
                *(_said(point.numbers[name]) for name in ("score", "rank_share", "uniform", "knn")),
                " ".join(point.verdict.codes),
            ]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    table = [
        "  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    head, more = collapse_sentences(course)
    heads = [head, best_sentence(course), more, branch_sentence(course)]
    return [*(said for said in heads if said), "", *table, "", _done(tracked)]


def _said(value: Interval | float | None) -> str:
    return interval(value) if isinstance(value, Interval) else number(value)


def _done(tracked: Tracked) -> str:
    count = len(tracked.course.stops)
    said = [f"{tracked.analysed} analysed now, {count - tracked.analysed} before"]
    if tracked.failures:
        said.append(f"{len(tracked.failures)} could not be")
    if tracked.repeated:
        said.append(f"{len(tracked.repeated)} with the bytes of another")
    if tracked.ignored:
        said.append(f"{tracked.ignored} other file{'s' * (tracked.ignored != 1)} left out")
    return f"Checkpoints: {', '.join(said)}; ordered by {tracked.course.ordered_by}."
