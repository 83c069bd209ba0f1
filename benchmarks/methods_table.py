r"""Every method beside a random encoder of the same shape, from two runs of `pauc-train compare`.

    pauc-train compare NAMES --data digits --seeds 5 --out TRAINED
    pauc-train compare NAMES --data digits --seeds 5 --out RANDOM --epochs 1 \
        --set learning_rate=1e-12
    python benchmarks/methods_table.py TRAINED RANDOM --out reports/training/digits

Writes OUT.json, schema nemd-methods/1: {"schema", "seeds", "rows": [{"method", "runs", "failed",
"verdicts", "trained", "random", "margin", "knn", "score", "seconds", "beats"}]} with numbers as
{"mean", "low", "high", "n"}, 95 % by Student over seeds, and OUT.md, the same as a table. *beats*:
the margin in linear probe, taken within seeds, lies above 0 with its whole interval.
"""

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pauc_study_answers import Results, interval, read_results

from nemd_toolkit.files import write_text

SCHEMA = "nemd-methods/1"


def row(method: str, trained: Results, random: Results) -> dict[str, Any]:
    """Sum up one method."""
    own = {seed: r for seed, r in trained[method].items() if r["failed"] is None}
    other = {seed: r for seed, r in random.get(method, {}).items() if r["failed"] is None}
    both = sorted(set(own) & set(other))
    margin = _over([_probe(own[seed]) - _probe(other[seed]) for seed in both])
    words = Counter(" ".join(r["codes"]) or r["state"] for r in own.values())
    return {
        "method": method,
        "runs": len(own),
        "failed": sorted(r["failed"] for r in trained[method].values() if r["failed"]),
        "verdicts": dict(words.most_common()),
        "trained": _over([_probe(r) for r in own.values()]),
        "random": _over([_probe(r) for r in other.values()]),
        "margin": margin,
        **{name: _number(own, name) for name in ("knn", "score", "seconds")},
        "beats": bool(margin and margin["low"] is not None and margin["low"] > 0),
    }


def _probe(result: Mapping[str, Any]) -> float:
    value: float = result["numbers"]["linear_probe"]
    return value


def _number(own: Mapping[int, Mapping[str, Any]], name: str) -> dict[str, Any] | None:
    values = [r["numbers"][name] for r in own.values()]
    return _over([value for value in values if value is not None])


def _over(values: Sequence[float]) -> dict[str, Any] | None:
    if not values:
        return None
    return {name: value for name, value in interval(values).items() if name != "values"}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Set the rows out in Markdown, best probe first."""
    lines = [
        "| method | seeds | linear probe | random encoder | margin | kNN | NEMD score | verdicts "
        "| seconds |",
        "|" + " --- |" * 9,
    ]
    for one in sorted(rows, key=lambda r: -r["trained"]["mean"] if r["trained"] else 0):
        verdicts = ", ".join(f"{count} {word}" for word, count in one["verdicts"].items())
        cells = [_told(one[name], 3) for name in ("trained", "random", "margin", "knn")]
        cells[2] += "" if one["beats"] or one["margin"] is None else " not sure"
        seconds = "–" if one["seconds"] is None else f"{one['seconds']['mean']:.0f}"
        words = [one["method"], str(one["runs"]), *cells, _told(one["score"], 2)]
        lines.append("| " + " | ".join([*words, verdicts, seconds]) + " |")
    return "\n".join(lines) + "\n"


def _told(found: Mapping[str, Any] | None, digits: int) -> str:
    if found is None:
        return "–"
    if found["low"] is None:
        return f"{found['mean']:.{digits}f}"
    return f"{found['mean']:.{digits}f} [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"


def main() -> None:
    """Parse, read, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("trained", type=Path)
    parser.add_argument("random", type=Path)
    parser.add_argument("--out", type=Path, default=Path("reports/training/digits"))
    options = parser.parse_args()
    trained, random = read_results(options.trained), read_results(options.random)
    rows = [row(method, trained, random) for method in trained]
    seeds = sorted({seed for own in trained.values() for seed in own})
    document = {"schema": SCHEMA, "seeds": seeds, "rows": rows}
    write_text(options.out.with_suffix(".json"), json.dumps(document, indent=1) + "\n")
    write_text(options.out.with_suffix(".md"), table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
