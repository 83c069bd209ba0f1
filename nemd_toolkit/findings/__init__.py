"""Judging measures: one small file per finding, and the verdict."""

from nemd_toolkit.findings.finding import About, Finding
from nemd_toolkit.findings.thresholds import Thresholds
from nemd_toolkit.findings.verdict import CHECKS, Verdict, about, decide, judge

__all__ = ["CHECKS", "About", "Finding", "Thresholds", "Verdict", "about", "decide", "judge"]
