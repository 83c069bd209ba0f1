"""What a course says, in sentences; names of files stay out of them, or are pieces of their own."""

from collections.abc import Sequence

from nemd_toolkit.tracking.course import Course, Onset

__all__ = ["EVIDENCE", "best_sentence", "collapse_sentence", "headline", "onset_sentence", "spans"]

_MOST_SPANS = 6
EVIDENCE = (
    "The best one is the healthy checkpoint with the most uniform rows (Wang & Isola). On eight "
    "runs of digits with 5 to 19 healthy checkpoints each, its linear probe was at most .009 "
    "below the best of the run's healthy ones, where the highest effective rank or the lowest NEMD "
    "score picked the first healthy epoch, .02 to .06 below. Within such a run uniformity mostly "
    "says how long training went on: it does not tell which of several runs is better, and other "
    "data may say otherwise. With labels, go by kNN accuracy instead."
)


def headline(course: Course) -> str:
    """Give the two things to know: when the collapse begins, and which checkpoint is best."""
    return f"{collapse_sentence(course)} {best_sentence(course)}"


def collapse_sentence(course: Course) -> str:
    """Say when the lasting collapse begins, or that there is none."""
    stops, count = course.stops, len(course.stops)
    if course.collapse is None:
        many = f"{count} checkpoints" if count > 1 else "one checkpoint"
        end = ""
        if course.doubt is not None:
            end = f"; inconclusive from {stops[course.doubt].label} to the end"
        if course.recovered:
            end = f"; {spans(course, course.recovered)} collapsed, and it did not last" + end
        return f"No collapse that lasts over {many}{end}."
    kinds = ", ".join(course.kinds)
    label = stops[course.collapse].label
    if course.collapse == 0:
        return f"Collapsed ({kinds}) from the first checkpoint, {label}, to the last."
    between = f"after {stops[course.collapse - 1].label}, seen at {label}"
    doubt = ""
    if course.doubt is not None:
        doubt = f", in doubt since {stops[course.doubt].label}"
    return f"Collapse ({kinds}) begins at {label} ({between}{doubt})."


def best_sentence(course: Course) -> str:
    """Say which checkpoint is the best without labels, and which are as good within noise."""
    if course.best is None:
        return "No checkpoint is healthy, so none is the best."
    alike = ""
    if course.best.alike:
        alike = f"; within noise as good: {spans(course, course.best.alike)}"
    return f"Best without labels: {course.stops[course.best.place].label}{alike}."


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
    labels = [course.stops[place].label for place in range(len(course.stops))]
    told = [labels[r[0]] if len(r) == 1 else f"{labels[r[0]]} to {labels[r[-1]]}" for r in runs]
    more = f" and {len(told) - _MOST_SPANS} more" if len(told) > _MOST_SPANS else ""
    return ", ".join(told[:_MOST_SPANS]) + more
