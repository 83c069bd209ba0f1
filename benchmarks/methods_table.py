r"""Every method beside random encoders of its own shape: a table of `pauc-train compare`.

    pauc-train compare NAMES --data digits --seeds 5 --out TRAINED
    python benchmarks/methods_table.py TRAINED --data digits --out reports/training/digits

A random encoder is the method's after an epoch at a learning rate of 1e-12: weights as drawn, batch
norm's statistics of the data; as many seeds as were trained. Rows of methods that TRAINED lacks
stay as they are in OUT.json.

Writes OUT.json, schema nemd-methods/2: {"schema", "data", "rows": [{"method", "runs", "failed",
"verdicts", "trained", "random", "margin", "knn", "score", "seconds", "beats"}]} with numbers as
{"mean", "low", "high", "n"}, 95 % by Student over seeds (the margin's by Welch), and OUT.md, the
same as a table. *beats*: the margin in linear probe lies above 0 with its whole interval.
"""

import argparse
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pauc_study_answers import Results, interval, read_results
from scipy import stats

from nemd_toolkit.files import write_text

SCHEMA = "nemd-methods/2"
Number = Mapping[str, Any]  # mean, low, high, n


def row(method: str, trained: Results) -> dict[str, Any]:
    """Sum up one method's trainings."""
    own = {seed: r for seed, r in trained[method].items() if r["failed"] is None}
    words = Counter(" ".join(r["codes"]) or r["state"] for r in own.values())
    return {
        "method": method,
        "runs": len(own),
        "failed": sorted(r["failed"] for r in trained[method].values() if r["failed"]),
        "verdicts": dict(words.most_common()),
        "trained": _number(own, "linear_probe"),
        **{name: _number(own, name) for name in ("knn", "score", "seconds")},
    }


def beside_random(found: dict[str, Any], probes: Sequence[float]) -> dict[str, Any]:
    """Add the random encoders' probes to a row, and by how much training beats them."""
    random, trained = _over(probes), found["trained"]
    apart = margin(trained, random) if trained and random else None
    beats = bool(apart and apart["low"] is not None and apart["low"] > 0)
    return {**found, "random": random, "margin": apart, "beats": beats}


def margin(one: Number, other: Number) -> dict[str, Any]:
    """Difference of two means, with Welch's interval; without one where a seed stands alone."""
    mean = one["mean"] - other["mean"]
    if min(one["n"], other["n"]) < 2:
        return {"mean": mean, "low": None, "high": None}
    a, b = (_variance_of_mean(number) for number in (one, other))
    if a + b == 0:
        return {"mean": mean, "low": mean, "high": mean}
    freedom = (a + b) ** 2 / (a**2 / (one["n"] - 1) + b**2 / (other["n"] - 1))
    half = float(stats.t.ppf(0.975, freedom)) * (a + b) ** 0.5
    return {"mean": mean, "low": mean - half, "high": mean + half}


def _variance_of_mean(number: Number) -> float:
    half: float = (number["high"] - number["low"]) / 2
    return (half / float(stats.t.ppf(0.975, number["n"] - 1))) ** 2


def _number(own: Mapping[int, Mapping[str, Any]], name: str) -> dict[str, Any] | None:
    values = [r["numbers"][name] for r in own.values()]
    return _over([value for value in values if value is not None])


def _over(values: Sequence[float]) -> dict[str, Any] | None:
    if not values:
        return None
    return {name: value for name, value in interval(values).items() if name != "values"}


def random_probes(
    methods: Sequence[str], data: str, seeds: int, workers: int
) -> Iterator[tuple[str, list[float]]]:
    """Linear probes of encoders that learned nothing, of each method."""
    with get_context("spawn").Pool(workers) as pool:
        jobs = [(method, data, seed) for method in methods for seed in range(seeds)]
        found = pool.imap(_random_probe, jobs)
        for method in methods:
            yield method, [next(found) for _ in range(seeds)]


def _random_probe(job: tuple[str, str, int]) -> float:
    import torch

    from pauc_train.evaluate import evaluate
    from pauc_train.loop import fit

    torch.set_num_threads(1)
    method, data, seed = job
    still = {"learning_rate": 1e-12}
    with tempfile.TemporaryDirectory() as folder:
        last = fit(method, data, epochs=1, seed=seed, out=folder, overrides=still)
        return evaluate(last).linear_probe


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
    parser.add_argument("--data", default="digits")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("reports/training/digits"))
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the workers
    trained, path = read_results(options.trained), options.out.with_suffix(".json")
    before = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    rows = {found["method"]: found for found in before}
    rows.update({method: row(method, trained) for method in trained})
    seeds = max(found["runs"] for found in rows.values())
    bare = [method for method, found in sorted(rows.items()) if not found.get("random")]
    for method, probes in random_probes(bare, options.data, seeds, options.workers):
        rows[method] = beside_random(rows[method], probes)
        print(method, _told(rows[method]["margin"], 3), flush=True)
    found = [rows[method] for method in sorted(rows)]
    document = {"schema": SCHEMA, "data": options.data.partition(":")[0], "rows": found}
    write_text(path, json.dumps(document, indent=1) + "\n")
    write_text(options.out.with_suffix(".md"), table(found))
    print(table(found))


if __name__ == "__main__":
    main()
