"""What a course says, in sentences; names of files stay out of them, or are pieces of their own."""

from collections.abc import Sequence

from nemd_toolkit.tracking.branches import SLOW, TRAINED
from nemd_toolkit.tracking.course import Course, Onset

__all__ = [
    "EVIDENCE",
    "best_sentence",
    "branch_sentence",
    "collapse_sentences",
    "headline",
    "onset_sentence",
    "spans",
]

_MOST_SPANS = 6
EVIDENCE = (
    "The best one is the healthy checkpoint with the most uniform rows (Wang & Isola). On one "
    "run each of five methods on digits (reports/track) its linear probe was .003 below the "
    "best of the run's healthy checkpoints in the mean, .007 at most: no better than taking the "
    "last healthy one. The highest effective rank and the lowest NEMD score picked an early "
    "epoch, .05 below. Within a run uniformity mostly says how long training went on: it does "
    "not tell which of several runs is better, and on other data it may fail. With labels, go "
    "by kNN accuracy instead."
)


def headline(course: Course) -> str:
    """Give the things to know: when the collapse begins, and which checkpoint is best."""
    head, more = collapse_sentences(course)
    return " ".join(part for part in (head, best_sentence(course), more) if part)


def collapse_sentences(course: Course) -> tuple[str, str]:
    """Say when the lasting collapse begins, or that there is none; and what more there is to it."""
    stops, count = course.stops, len(course.stops)
    passed = ""
    if course.recovered:
        passed = f"Collapsed for a while: {spans(course, course.recovered)}."
    if course.collapse is None:
        many = f"{count} checkpoints" if count > 1 else "one checkpoint"
        if course.doubt is not None:
            return f"No sure collapse over {many}, but doubt at the end.", (
                f"Inconclusive from {stops[course.doubt].label} on. {passed}".strip()
            )
        return f"No collapse that lasts over {many}.", passed
    kinds, label = ", ".join(course.kinds), stops[course.collapse].label
    more = [f"Later {', '.join(course.later_kinds)}."] if course.later_kinds else []
    if course.collapse == 0:
        return f"Collapsed ({kinds}) from the first checkpoint, {label}, on.", " ".join(more)
    before = stops[course.collapse - 1]
    word = f"The checkpoint before, {before.label}, is {before.point.verdict.state}"
    if course.doubt is not None:
        word += f", and so are all since {stops[course.doubt].label}"
    return f"Collapse ({kinds}) begins at {label}.", " ".join(
        part for part in (f"{word}.", *more, passed) if part
    )


def best_sentence(course: Course) -> str:
    """Say which checkpoint is the best without labels, and which are as good within noise."""
    if course.best is None:
        return "No checkpoint is healthy, so none is the best."
    alike = ""
    if course.best.alike:
        alike = f"; within noise as good: {spans(course, course.best.alike)}"
    return f"Best without labels: {course.stops[course.best.place].label}{alike}."


def branch_sentence(course: Course) -> str:
    """Say which of several encoders was read, and warn where it is a slow mean."""
    branch = course.stops[-1].point.branch
    if branch in TRAINED:
        return (
            f"Read from the branch {branch}, the encoder that is trained; --branch reads another."
        )
    if branch not in SLOW:
        return ""
    return (
        f"Read from the branch {branch}, a slow mean of the encoder that is trained: a sudden "
        "collapse shows there later. --branch reads another, and nemd inspect lists them."
    )


def onset_sentence(course: Course, onset: Onset) -> str:
    """Say when a finding begins, or how it came and went."""
    said = []
    if onset.begins is not None:
        said.append(f"from {course.stops[onset.begins].label} on")
    if onset.passing:
        said.append(f"{spans(course, onset.passing)}, not lasting")
    return "; ".join(said) or "never"


def spans(course: Course, places: Sequence[int]) -> str:
    """Name checkpoints, those that follow each other as one span."""
    runs: list[list[int]] = []
    for place in sorted(places):
        if runs and place == runs[-1][-1] + 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    told = [_span(course, run[0], run[-1]) for run in runs]
    more = f" and {len(told) - _MOST_SPANS} more" if len(told) > _MOST_SPANS else ""
    return ", ".join(told[:_MOST_SPANS]) + more


def _span(course: Course, first: int, last: int) -> str:
    start, end = course.stops[first].label, course.stops[last].label
    if first == last:
        return start
    unit = f"{course.unit} "
    if start.startswith(unit) and end.startswith(unit):
        return f"{course.unit}s {start.removeprefix(unit)} to {end.removeprefix(unit)}"
    return f"{start} to {end}"
