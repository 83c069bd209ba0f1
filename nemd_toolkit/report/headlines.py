"""Which run is the healthiest, and is that beyond noise: one sentence, names kept apart from it."""

from collections.abc import Sequence
from dataclasses import dataclass

from nemd_toolkit.measures.paired import Change
from nemd_toolkit.report.differences import SideBySide, Standing

__all__ = ["Piece", "change_text", "headline", "plain_text"]

_MOST_NAMES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a sentence; a name is from outside, and a page sets it apart."""

    text: str
    name: bool = False


def plain_text(pieces: Sequence[Piece]) -> str:
    """Give the sentence for a terminal or a document."""
    return "".join(piece.text for piece in pieces)


def change_text(change: Change, digits: int = 3) -> str:
    """Give a difference with its sign and interval.

    >>> change_text(Change(value=0.25, low=-0.125, high=0.5, paired=True), 2)
    '+0.25 [−0.12, +0.50]'
    """
    ends = (change.value, change.low, change.high)
    value, low, high = (f"{end:+z.{digits}f}".replace("-", "−") for end in ends)
    return f"{value} [{low}, {high}]"


def headline(field: SideBySide, standings: Sequence[Standing]) -> list[Piece]:
    """Say which is the healthiest of all, with the difference to the next and its interval.

    A run is healthier by its verdict; among healthy ones by a lower score, if the 95 % interval of
    the difference leaves out 0. Among others a score says nothing about health.
    """
    first = standings[0]
    best = [s for s in standings if s.place == 1]
    state, count = first.analysis.verdict.state, len(standings)
    if count == 1:
        return [_name(first), _said(f" is {state}.")]
    if state != "healthy":
        return _none_healthy(standings)
    if len(best) > 1:
        told = field.change(best[0].name, best[1].name, "score")
        gap = f" (score {change_text(told)} from the first to the second)" if told else ""
        return [
            *_names(best),
            _said(f" are the healthiest of {count} runs: their scores differ within noise{gap}."),
        ]
    return [_name(first), _said(f" is the healthiest of {count} runs: "), *_next(field, standings)]


def _next(field: SideBySide, standings: Sequence[Standing]) -> list[Piece]:
    first, second = standings[:2]
    state = second.analysis.verdict.state
    if state != "healthy":
        codes = ", ".join(second.analysis.verdict.codes)
        return [
            _said("it alone is healthy; the next, "),
            _name(second),
            _said(f", is {state} ({codes})."),
        ]
    change = field.change(first.name, second.name, "score")
    assert change is not None  # else the two would be tied
    beyond = f" has a score higher by {change_text(change)}, which is beyond noise."
    return [_said("the next, "), _name(second), _said(f", is healthy too but{beyond}")]


def _none_healthy(standings: Sequence[Standing]) -> list[Piece]:
    states = [s.analysis.verdict.state for s in standings]
    doubtful = [s for s in standings if s.analysis.verdict.state == "inconclusive"]
    if not doubtful:
        return [_said(f"None of the {len(states)} runs is healthy: all are collapsed.")]
    rest = "; the others are collapsed" if len(doubtful) < len(states) else ""
    are = "is" if len(doubtful) == 1 else "are"
    return [
        _said(f"None of the {len(states)} runs is surely healthy: "),
        *_names(doubtful),
        _said(f" {are} inconclusive{rest}."),
    ]


def _names(standings: Sequence[Standing]) -> list[Piece]:
    shown = standings[:_MOST_NAMES]
    more = len(standings) - len(shown)
    found: list[Piece] = []
    for place, standing in enumerate(shown):
        if place:
            found.append(_said(" and " if place == len(shown) - 1 and not more else ", "))
        found.append(_name(standing))
    return [*found, _said(f" and {more} more")] if more else found


def _name(standing: Standing) -> Piece:
    text = standing.name
    return Piece(text=text if len(text) <= 60 else text[:59] + "…", name=True)


def _said(text: str) -> Piece:
    return Piece(text=text)
