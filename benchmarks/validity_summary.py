"""What the records of a validity run add up to: confusion, power, false alarms, margins."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.isotonic import IsotonicRegression

__all__ = ["CODES", "curve", "reached", "share", "summarise"]

Record = dict[str, Any]
CODES = tuple(f"NEMD{number:03d}" for number in range(1, 11))
VERDICTS = ("healthy", "inconclusive", "collapsed", "error")
LEVELS = (0.5, 0.95)
QUANTILES = (0.0, 0.01, 0.05, 0.5, 0.95, 0.99, 1.0)


def summarise(records: Sequence[Record], stated: dict[str, float]) -> Record:
    """Everything of validity.json that follows from the records."""
    kinds = [kind for kind in stated if any(r["kind"] == kind for r in records)]
    beyond = [r for r in records if r["severity"] >= stated[r["kind"]]]
    return {
        "kinds": {kind: _kind(kind, records, beyond, stated[kind]) for kind in kinds},
        "confusion": {
            "verdicts": _counts(beyond, kinds, lambda r: [verdict(r)]),
            "issues": _counts(beyond, kinds, lambda r: r.get("issues", [])),
            "warnings": _counts(beyond, kinds, lambda r: r.get("warnings", [])),
            "first_issue": _counts(beyond, kinds, lambda r: r.get("issues", [])[:1]),
        },
        "ill_called_healthy": [_place(r) for r in beyond if r["codes"] and verdict(r) == "healthy"],
        "misjudged": [_place(r) | _why(r) for r in beyond if not right(r)],
        "measured": {kind: _measured(kind, beyond) for kind in kinds},
        "seconds": float(sum(r["seconds"] for r in records)),
    }


def verdict(record: Record) -> str:
    """One of VERDICTS."""
    return record.get("verdict", "error")


def detected(record: Record) -> bool:
    """Whether an issue names the kind (of a mixed world: one of its kinds)."""
    return bool({*record["codes"]} & {*record.get("issues", [])})


def right(record: Record) -> bool:
    """Whether the verdict is the true one, and where something is wrong, also names it."""
    named = detected(record) or not record["codes"]
    return verdict(record) == record["state"] and named


def share(hits: int, total: int) -> Record:
    """Share with Wilson's 95 % interval."""
    if total == 0:
        return {"hits": 0, "total": 0, "share": None, "low": None, "high": None}
    interval = binomtest(hits, total).proportion_ci(0.95, method="wilson")
    ends = {"low": float(interval.low), "high": float(interval.high)}
    return {"hits": hits, "total": total, "share": hits / total, **ends}


def curve(records: Iterable[Record]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Severities in order, and the share detected there: an isotonic fit, so it never falls."""
    ordered = sorted(records, key=lambda r: r["severity"])
    severity = np.array([r["severity"] for r in ordered])
    hit = np.array([float(detected(r)) for r in ordered])
    return severity, IsotonicRegression(y_min=0, y_max=1).fit_transform(severity, hit)


def reached(records: Sequence[Record]) -> dict[str, float | None]:
    """Least severity from which the isotonic fit stays at 50 % and 95 %; None: never."""
    severity, fitted = curve(records)
    return {
        f"{level:g}": float(severity[fitted >= level][0]) if (fitted >= level).any() else None
        for level in LEVELS
    }


def _kind(kind: str, records: Sequence[Record], beyond: Sequence[Record], stated: float) -> Record:
    mine, sure = ([r for r in some if r["kind"] == kind] for some in (records, beyond))
    found: Record = {
        "worlds": len(mine),
        "stated_severity": stated,
        "right": _share(sure, right),
        "right_state": _share(sure, lambda r: verdict(r) == r["state"]),
        "named": _share(sure, detected),
        "called": {name: _share(sure, lambda r, n=name: verdict(r) == n) for name in VERDICTS},
    }
    if not mine[0]["codes"]:
        return found
    found["detection_reaches"] = reached(mine)
    found["variants"] = {
        name: {
            "right": _share([r for r in sure if variant(r) == name], right),
            "detection_reaches": reached([r for r in mine if variant(r) == name]),
        }
        for name in sorted({variant(r) for r in mine})
    }
    if kind == "mixed":
        found["named_all"] = _share(sure, lambda r: {*r["codes"]} <= {*r.get("issues", [])})
    return found


def variant(record: Record) -> str:
    """Variant; where k-means looks for coagulation, also whether it has a prototype per group."""
    if record["kind"] != "coagulated" or record["variant"] == "own":
        return str(record["variant"])
    least, most = min(record["prototypes"]), max(record["prototypes"])
    relation = "K ≥ groups" if least >= record["groups"] else "some K < groups"
    return f"{record['variant']}, {relation if most >= record['groups'] else 'all K < groups'}"


def _share(records: Sequence[Record], is_hit: Callable[[Record], bool]) -> Record:
    return share(sum(map(is_hit, records)), len(records))


def _counts(
    records: Sequence[Record], kinds: Sequence[str], words: Callable[[Record], Sequence[str]]
) -> dict[str, dict[str, int]]:
    return {
        kind: dict(
            sorted(Counter(w for r in records if r["kind"] == kind for w in words(r)).items())
        )
        for kind in kinds
    }


def _place(record: Record) -> Record:
    """Tell what is needed to find the world, and to make it again."""
    keys = ("kind", "index", "variant", "severity", "count", "dim", "groups", "prototypes")
    return {key: record[key] for key in (*keys, "spread", "world_seed")}


def _why(record: Record) -> Record:
    if "error" in record:
        return {"error": record["error"]}
    concerned = {*record["codes"], *record["issues"]}
    return {
        "verdict": record["verdict"],
        "issues": record["issues"],
        "warnings": record["warnings"],
        "score": record["score"],
        "measured": {c: m for c, m in record["measured"].items() if c in concerned},
    }


def _measured(kind: str, beyond: Sequence[Record]) -> Record:
    """Quantiles of every number that a finding compares, over the worlds of a kind."""
    values: dict[str, list[float]] = {}
    for record in beyond:
        if record["kind"] == kind:
            for code, numbers in record.get("measured", {}).items():
                for name, value in numbers.items():
                    if isinstance(value, (int, float)):
                        values.setdefault(f"{code} {name}", []).append(float(value))
    return {
        name: {f"{q:g}": float(np.quantile(some, q)) for q in QUANTILES}
        for name, some in values.items()
    }
