"""Tables of what was measured, as Markdown."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

__all__ = ["tables"]

Record = dict[str, Any]


def tables(*, runs: Record, agreement: Record, cost: Record) -> str:
    """Give all of them."""
    parts = (_runs(runs["rows"]), _agreement(agreement["rows"]), _checks(cost.get("checks", ())))
    return "\n\n".join([*parts, _trainings(cost["rows"])])


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _runs(rows: Sequence[Record]) -> str:
    kinds = dict.fromkeys((row["name"], row["collapses"]) for row in rows)
    lines = []
    for name, collapses in kinds:
        mine = [row for row in rows if row["name"] == name]
        stops = [row["checks"][-1] for row in mine if row["stopped"]]
        steps = sorted({check["step"] for check in stops})
        codes = [code for check in stops for code in check["lasting"]]
        lines.append(
            (
                name,
                "collapses" if collapses else "healthy",
                f"{len(stops)} of {len(mine)}",
                "…".join(dict.fromkeys(map(str, (steps[0], steps[-1])))) if steps else "",
                ", ".join(f"{code} {codes.count(code)}" for code in sorted(set(codes))),
            )
        )
    return _table(("training", "made", "stopped", "at step", "what lasted"), lines)


def _agreement(rows: Sequence[Record]) -> str:
    groups = {
        "worlds, K ≥ groups": [r for r in rows if r["source"] == "world" and r["k"] >= r["groups"]],
        "worlds, K < groups": [r for r in rows if r["source"] == "world" and r["k"] < r["groups"]],
        "checkpoints, variance ≥ .3": [
            r for r in rows if r["source"] != "world" and r["variance"] >= 0.3
        ],
        "checkpoints, variance < .3": [
            r for r in rows if r["source"] != "world" and r["variance"] < 0.3
        ],
    }
    return _table(
        (
            "rows",
            "n",
            "correlation",
            "ranks",
            "energy − NEMD, mean",
            "least",
            "greatest",
            "no score",
        ),
        [(name, *_compared(mine)) for name, mine in groups.items()],
    )


def _compared(rows: Sequence[Record]) -> Sequence[Any]:
    both = [(r["energy"], r["nemd"]) for r in rows if None not in (r["energy"], r["nemd"])]
    if len(both) < 3:
        return (len(both), "", "", "", "", "", len(rows) - len(both))
    energy, nemd = np.array(both).T
    difference = energy - nemd
    return (
        len(both),
        f"{np.corrcoef(energy, nemd)[0, 1]:.4f}",
        f"{np.corrcoef(_ranks(energy), _ranks(nemd))[0, 1]:.4f}",
        f"{difference.mean():+.3f}",
        f"{difference.min():+.3f}",
        f"{difference.max():+.3f}",
        len(rows) - len(both),
    )


def _ranks(values: np.ndarray) -> np.ndarray:
    return values.argsort().argsort()


def _checks(rows: Sequence[Record]) -> str:
    return _table(
        ("rows", "d", "own prototypes", "one check, ms", "the first, ms", "one step, µs"),
        [
            (r["rows"], r["dim"], r["own"] or "–", r["ms"], r["first_ms"], r["step_us"])
            for r in rows
        ],
    )


def _trainings(rows: Sequence[Record]) -> str:
    def told(values: Sequence[float]) -> str:
        return f"{statistics.median(values):.4f} ({min(values):.4f}…{max(values):.4f})"

    return _table(
        ("training", "steps", "CPU with/without", "wall with/without", "its own share of CPU"),
        [
            (r["name"], r["steps"], *(told(r[k]) for k in ("cpu_ratio", "wall_ratio", "own_share")))
            for r in rows
        ],
    )
