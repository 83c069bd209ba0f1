"""Judging measures: one small file per finding, and the verdict."""

from nemd_toolkit.findings.baseline import Baseline, Numbers, judge_against
from nemd_toolkit.findings.finding import About, Finding
from nemd_toolkit.findings.ignoring import ignore, would_be
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.findings.vectors import decide_vectors, judge_vectors
from nemd_toolkit.findings.verdict import (
    CHECKS,
    Verdict,
    about,
    decide,
    judge,
    parse_codes,
)

__all__ = [
    "CHECKS",
    "About",
    "Baseline",
    "Finding",
    "Numbers",
    "Thresholds",
    "Verdict",
    "about",
    "decide",
    "decide_vectors",
    "ignore",
    "judge",
    "judge_against",
    "judge_vectors",
    "parse_codes",
    "would_be",
]
