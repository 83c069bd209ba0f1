"""The verdict against worlds whose answer is known: confusion, power, false alarms, coverage.

    python benchmarks/validity.py run --seed 1 --worlds 200 --workers 2
    python benchmarks/validity.py coverage --seed 1 --repeats 400 --workers 2
    python benchmarks/validity.py invariance --seed 1 --seeds 3 --workers 2
    python benchmarks/validity.py plot
    python benchmarks/validity.py table

`run` draws fresh worlds (tests/worlds.py) from the seed and analyses each as `nemd analyze` does:
`--worlds` of every kind from its stated severity on, half as many below it (the curve of power),
and twice as many healthy ones. One in 50 is large (N 5,000…100,000), the others have N 500…2,500.
Each record goes to worlds.jsonl (coverage.jsonl, invariance.jsonl) at once; the same command on the
same commit goes on where it was cut short. validity.json, schema nemd-validity/1:

    {"schema", "seed", "worlds", "commit", "generators": digest of the files that draw worlds,
     "machine", "date", "stated": {kind: severity},
     "summary": {
       "kinds": {kind: {"worlds", "stated_severity",
          "right": share (state, and an issue that names the kind), "right_state": share,
          "named": share, "called": {verdict: share},
          "detection_reaches": {"0.5", "0.95"}: severity from which an isotonic fit of "named" over
              all severities stays there, null if never; "variants": {name: {"right",
              "detection_reaches"}}}},    share: hits, total, share; low, high (Wilson, 95 %)
       "confusion": {"verdicts" | "issues" | "warnings" | "first_issue": {kind: {word: worlds}}},
       "ill_called_healthy": [world], "misjudged": [world, what was said, what was measured],
       "measured": {kind: {"CODE number": {quantile: value}}},    for setting thresholds
       "seconds": of processor time, all workers together}}

All of "summary" is over worlds from the stated severity on, but for "detection_reaches".
"""

import argparse
import os
import sys

# read when the libraries load, here and in the workers, so set before that
os.environ.update({f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")})

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from transport import commit, this_machine
from validity_coverage import coverage_tasks, one_interval, sum_up_coverage, truths
from validity_invariance import cells, one_ladder, sum_up_invariance
from validity_plot import as_markdown, draw_confusion, draw_power
from validity_summary import summarise
from validity_worlds import STATED, record, tasks

from nemd_toolkit.errors import InputError
from nemd_toolkit.figures.saving import png_bytes
from nemd_toolkit.files import replacing, write_text

SCHEMA = "nemd-validity/1"
OUT = Path("reports/validity")
Record = dict[str, Any]


def run(options: argparse.Namespace) -> None:
    """Draw and analyse the worlds that are missing, then sum up."""
    records = gather(options, "worlds", record, tasks(options.seed, options.worlds))
    document = {
        "schema": SCHEMA,
        "worlds": options.worlds,
        **_start(options),
        "machine": this_machine("cpu"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "stated": STATED,
        "summary": summarise(records, STATED),
    }
    write_json(options.out / "validity.json", document)
    print(as_markdown(document))


def _start(options: argparse.Namespace) -> Record:
    return {"seed": options.seed, "commit": commit(), "generators": _digest()}


def gather(
    options: argparse.Namespace,
    name: str,
    work: Callable[[Any], Record],
    tasks: Sequence[tuple[Any, ...]],
) -> list[Record]:
    """Do the tasks that have no record yet, and give the records of all, in the tasks' order."""
    path = options.out / f"{name}.jsonl"
    done = {tuple(r["task"]) for r in resume(path, _start(options))}
    todo = [task for task in tasks if tuple(task) not in done]
    with path.open("a", encoding="utf-8") as file:
        for found in in_processes(work, todo, options.workers, what=name):
            file.write(json.dumps(found, ensure_ascii=False) + "\n")
            file.flush()
    records = {tuple(r["task"]): r for r in read_records(path)[1]}
    return [records[tuple(task)] for task in tasks]


def resume(path: Path, start: Record) -> list[Record]:
    """Read the records of the same seed and code; a file of others is begun anew."""
    if path.exists():
        head, records = read_records(path)
        if head == start and "changes" not in (start["commit"] or "changes"):
            lines = [head, *records]  # without a last line that was cut short
            write_text(path, "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in lines))
            return records
    write_text(path, json.dumps(start) + "\n")
    return []


def _digest() -> str:
    """Digest what the worlds of a seed hang on, beside the package."""
    here = Path(__file__).parent
    files = (here / "validity_worlds.py", here.parent / "tests" / "worlds.py")
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def read_records(path: Path) -> tuple[Record, list[Record]]:
    """First line, and the records after it."""
    if not path.exists():
        raise InputError(f"{path}: expected records, got no such file; call `run` first")
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]  # what follows the last \n is torn
    head, *records = map(json.loads, lines)
    return head, records


def in_processes(
    work: Callable[[Any], Record], todo: Sequence[Any], workers: int, *, what: str
) -> Iterator[Record]:
    """Results as they come, from new processes of one thread each."""
    with get_context("spawn").Pool(workers) as pool:
        for count, found in enumerate(pool.imap_unordered(work, todo), 1):
            if count % 50 == 0 or count == len(todo):
                print(f"{what}: {count} of {len(todo)}", file=sys.stderr, flush=True)
            yield found


def coverage(options: argparse.Namespace) -> None:
    """Measure how often intervals hold; write coverage.json."""
    known = truths(read(options.truth)) if options.truth else None
    tasks = coverage_tasks(options.seed, options.repeats, known)
    records = gather(options, "coverage", one_interval, tasks)
    _finish(options, "coverage", sum_up_coverage(records, options.repeats, known))


def invariance(options: argparse.Namespace) -> None:
    """Measure score over the ladder; write invariance.json."""
    records = gather(options, "invariance", one_ladder, cells(options.seed, options.seeds))
    _finish(options, "invariance", sum_up_invariance(records, options.seeds))


def _finish(options: argparse.Namespace, name: str, found: Record) -> None:
    head = {"schema": f"nemd-validity-{name}/1", "seed": options.seed, "commit": commit()}
    write_json(options.out / f"{name}.json", head | {"machine": this_machine("cpu")} | found)
    print(found["table"])


def plot(options: argparse.Namespace) -> None:
    """Draw confusion.png and power.png."""
    document = read(options.out / "validity.json")
    records = read_records(options.out / "worlds.jsonl")[1]
    for name, figure in (
        ("confusion", draw_confusion(document)),
        ("power", draw_power(document, records)),
    ):
        with replacing(options.out / f"{name}.png") as part:
            part.write_bytes(png_bytes(figure, dpi=130))


def table(options: argparse.Namespace) -> None:
    """Print what was measured as Markdown."""
    print(as_markdown(read(options.out / "validity.json")))
    for name in ("coverage", "invariance"):
        if (options.out / f"{name}.json").exists():
            print("\n" + read(options.out / f"{name}.json")["table"])


def read(path: Path) -> Record:
    """Read a document that `run` wrote."""
    if not path.exists():
        raise InputError(f"{path}: expected measurements, got no such file; call `run` first")
    document: Record = json.loads(path.read_text(encoding="utf-8"))
    return document


def write_json(path: Path, document: Record) -> None:
    """Write, atomically."""
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and call; 2 for wrong use."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    calls = {f.__name__: f for f in (run, coverage, invariance, plot, table)}
    for name in calls:
        command = commands.add_parser(name)
        command.add_argument("--out", type=Path, default=OUT)
        if name in ("run", "coverage", "invariance"):
            command.add_argument("--seed", type=int, required=True)
            command.add_argument("--workers", type=int, default=2)
    commands.choices["run"].add_argument("--worlds", type=int, default=200, help="of each kind")
    commands.choices["coverage"].add_argument("--repeats", type=int, default=400)
    commands.choices["coverage"].add_argument(
        "--truth", type=Path, help="coverage.json of an earlier run, to take true values from"
    )
    commands.choices["invariance"].add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    try:
        calls[options.command](options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
