"""One checkpoint of a course: verdict, findings and numbers, read back from its document."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nemd_toolkit.findings import Finding, Verdict, about
from nemd_toolkit.measures import Interval
from nemd_toolkit.report.wording import STATES, STATUSES

__all__ = ["NUMBERS", "Number", "Point", "point_from"]

Number = Interval | float | None
_WIDE = 1.96  # standard errors in half of a 95 % interval, of many rows
NUMBERS = {  # in the table and the CSV: how it is called, and what it is
    "score": "NEMD score",
    "excess": "NEMD excess",
    "raw": "NEMD raw",
    "rank_share": "effective rank share",
    "mean_share": "mean share",
    "variance": "variance",
    "duplicates": "duplicates",
    "entropy": "usage entropy",
    "uniform": "uniformity",
    "align": "alignment",
    "knn": "kNN accuracy",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What was found at one checkpoint."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    numbers: Mapping[str, Number]  # by the keys of NUMBERS; None where there is none
    branch: str | None  # of the checkpoint's encoders; None for embeddings

    def finding(self, code: str) -> Finding:
        """Give the finding of a check."""
        return next(f for f in self.findings if f.about.code == code)


def point_from(report: Mapping[str, Any], uniform_error: float, *, epsilon: float) -> Point:
    """Read a document of schema nemd-report/1, with duplicates at cosine distance `epsilon`.

    uniform_error: the standard error of its uniformity.

    Raises ValueError, KeyError, TypeError or InputError for anything else: a stored document may
    be damaged.
    """
    verdict, measures = report["verdict"], report["measures"]
    if verdict["state"] not in STATES:
        raise ValueError(f"state {verdict['state']!r}")
    return Point(
        verdict=Verdict(
            state=verdict["state"],
            codes=tuple(str(code) for code in verdict["codes"]),
            headline=str(verdict["headline"]),
        ),
        findings=tuple(_finding(f) for f in report["findings"]),
        numbers=_numbers(measures, uniform_error, f"{epsilon:g}"),
        branch=_branch(report["provenance"]),
    )


def _branch(provenance: Mapping[str, Any]) -> str | None:
    return None if provenance["branch"] is None else str(provenance["branch"])


def _finding(found: Mapping[str, Any]) -> Finding:
    if found["status"] not in STATUSES:
        raise ValueError(f"status {found['status']!r}")
    return Finding(
        about=about(str(found["code"])),
        status=found["status"],
        message=str(found["message"]),
        measured=dict(found["measured"]),
        threshold=dict(found["threshold"]),
        would_be=found["would_be"],
        relative=bool(found["relative"]),
        undecided=bool(found["undecided"]),
    )


def _numbers(measures: Mapping[str, Any], uniform_error: float, epsilon: str) -> dict[str, Number]:
    nemd, spectrum, instance = measures["nemd"], measures["spectrum"], measures["instance"]
    null = float(spectrum["null_effective_rank"])
    duplicates = [float(c["spread"]["duplicates"][epsilon]) for c in measures["clusterings"]]
    entropies = [float(c["usage"]["entropy"]) for c in measures["clusterings"]]
    quality = measures["quality"] or {}
    align = instance["align"]
    return {
        **{name: _interval(nemd[name]) for name in ("score", "excess", "raw")},
        "rank_share": float(spectrum["effective_rank_centred"]) / null if null > 0 else 0.0,
        "mean_share": float(instance["resultant"]) ** 2,
        "variance": float(spectrum["variance"]),
        "duplicates": max(duplicates),
        "entropy": min(entropies),
        "uniform": _around(float(instance["uniform"]), uniform_error),
        "align": float(align) if align is not None else None,
        "knn": _interval(quality.get("knn")),
    }


def _interval(found: Mapping[str, Any] | None) -> Interval | None:
    if found is None:
        return None
    low, value, high = (float(found[end]) for end in ("low", "value", "high"))
    return Interval(value=value, low=low, high=high)


def _around(value: float, error: float) -> Interval:
    return Interval(value=value, low=value - _WIDE * error, high=value + _WIDE * error)
