"""What a check says: a status, a sentence with numbers, the threshold it used, and a remedy."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["About", "Finding", "Kind", "Status"]

Status = Literal["issue", "warning", "passed", "not_applicable", "ignored"]
# A "collapse" issue makes the verdict "collapsed"; a "doubt" issue makes it "inconclusive".
Kind = Literal["collapse", "doubt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a check is, apart from any data: the text of `nemd explain`."""

    code: str
    name: str
    kind: Kind
    meaning: str
    fires: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check on one analysis."""

    about: About
    status: Status
    message: str
    measured: dict[str, float | int | None]
    threshold: dict[str, float | int]
    would_be: Status | None = None  # the status that an ignored finding would have
    relative: bool = False  # judged against a baseline, not by absolute limits
    # A warning beyond the limit of an issue, but not surely: it makes the verdict "inconclusive".
    undecided: bool = False
