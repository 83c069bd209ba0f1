"""Numbers and states as words: the same everywhere in pages and cards."""

import math

from nemd_toolkit.findings import Verdict
from nemd_toolkit.measures import Interval, Measures

__all__ = [
    "STATES",
    "STATUSES",
    "how_sure",
    "interval",
    "no_score",
    "number",
    "percent",
    "shortened",
    "state_of",
    "storable",
]

RELATIVE_STATES = {  # of a verdict by comparison with a baseline only
    "healthy": "No worse than the baseline",
    "collapsed": "Worse than the baseline",
}
STATES = {"healthy": "Healthy", "collapsed": "Collapsed", "inconclusive": "Inconclusive"}
STATUSES = {
    "issue": "issue",
    "warning": "warning",
    "passed": "passed",
    "not_applicable": "cannot tell",
    "ignored": "ignored",
}
NONE = "–"


def state_of(verdict: Verdict) -> str:
    """Give a verdict's state in words.

    >>> state_of(Verdict(state="collapsed", codes=("NEMD002",), headline="", relative=True))
    'Worse than the baseline'
    """
    return (RELATIVE_STATES if verdict.relative else STATES)[verdict.state]


def number(value: float | int | None, digits: int = 3) -> str:
    """Give a number for reading; a dash for none.

    >>> number(0.123456), number(1234567), number(None), number(0.0), number(1e-7), number(1e30)
    ('0.123', '1,234,567', '–', '0', '1e-07', '1e+30')
    """
    if value is None or math.isnan(value):
        return NONE
    if isinstance(value, float) and abs(value) >= 1e15:
        return f"{value:.{digits}g}"
    if value == int(value):
        return f"{int(value):,}"
    if abs(value) < 10.0**-digits:
        return f"{value:.{max(0, digits - 2)}g}"
    return f"{value:z,.{digits}f}"


def percent(value: float | None) -> str:
    """Give a share in percent.

    >>> percent(0.123), percent(None)
    ('12.3%', '–')
    """
    return NONE if value is None else f"{value:.1%}"


def interval(found: Interval | None, digits: int = 2) -> str:
    """Give a value with its interval.

    >>> interval(Interval(value=0.333, low=0.25, high=0.5))
    '0.33 [0.25, 0.50]'
    """
    if found is None:
        return NONE
    return f"{found.value:z.{digits}f} [{found.low:z.{digits}f}, {found.high:z.{digits}f}]"


def shortened(text: str, length: int = 80) -> str:
    """Cut a long text; an ellipsis says so.

    >>> shortened("abcdef", 4)
    'abc…'
    """
    return text if len(text) <= length else text[: length - 1] + "…"


def storable(text: str) -> str:
    r"""Replace halves of characters, as names from a foreign file system may hold, by ?.

    >>> storable("a\udcffb")
    'a?b'
    """
    return text.encode("utf-8", "replace").decode("utf-8")


def no_score(measures: Measures) -> str:
    """Why there is no score."""
    reason = measures.nemd_missing if measures.nemd is None else measures.nemd.score_missing
    return (reason or "unknown").removeprefix("NEMD: ")


def how_sure(measures: Measures) -> str:
    """Say in one or two sentences what the score rests on, or why there is none."""
    nemd = measures.nemd
    if nemd is None:
        return f"There is no NEMD here: {no_score(measures)}."
    prototypes = sum(c.nemd.prototypes for c in measures.clusterings if c.nemd)
    pairs = sum(c.nemd.pairs_total for c in measures.clusterings if c.nemd)
    clusterings = sum(c.nemd is not None for c in measures.clusterings)
    of = "all" if pairs == nemd.pairs else f"{nemd.pairs:,} sampled of"
    transport = (
        "solved exactly" if nemd.exact else f"certified to within {nemd.certified_width:.2g}"
    )
    rests = (
        f"Measured on {measures.rows.count:,} embeddings: {of} {pairs:,} pairs of "
        f"{prototypes:,} prototypes in {clusterings} clustering{'s' * (clusterings != 1)}, "
        f"n={nemd.n} points a cloud, transport {transport}."
    )
    if nemd.score is None:
        return f"{rests} There is no score: {no_score(measures)}."
    return (
        f"{rests} The 95 % interval holds the chance of rows and prototypes, not the choice of "
        "data, layer or K, nor another training seed."
    )
