"""How time and memory of a whole analysis grow: with rows, prototypes, dimensions and processes.

    python benchmarks/scale.py                                     # up to 1,000,000 rows
    python benchmarks/scale.py --cells 10000000x128x1000 --memory 4GB --folder /data
    python benchmarks/scale.py --cells 1000000x128x1000 --memory 4GB --ranks 2   # by torchrun
    python benchmarks/scale.py --cells 2400000x32x100000 --source labels   # all but k-means
    python benchmarks/scale.py --cells 1200000x32x100000 --source fit      # k-means once, no more
    python benchmarks/scale.py --report                            # of the cells that are there

A cell is rows x dimensions x prototypes. Those that `--source` names stand beside the rest: no
exponent is fitted to them. With labels every prototype is a direction of its own. Rows lie around
directions with DESIGN's spread .9, are written to a file by blocks, and are analysed from there in
a process of its own. Each finished cell is a line of `cells.jsonl`, and is not run again;
`scale.json`, schema nemd-scale/1, is {"schema", "machine", "cells", "exponents", see
scale_growth.py}. A cell: {"count", "dim", "prototypes", "source": "k-means" where it is missing,
"groups", "seed", "ranks", "memory", "seconds": {"reading", "k-means", "measures", "report"},
"parts" of "measures", both {"wall", "processor"}, "total_seconds", "processor_seconds",
"peak_bytes": {"maxrss": as the kernel counts, mapped files with it, "anonymous": memory alone,
sampled}, "file_bytes": of the temporary file, "score", "notes", "load", "date", "commit"}. Of
several processes the longest time of a stage counts, and the largest peak.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nemd_toolkit import ranks
from nemd_toolkit.files import write_text
from nemd_toolkit.processes import joined

SCHEMA = "nemd-scale/1"
SPREAD = 0.9
STAGES = {
    ("nemd_toolkit.pipeline", "open_source"): "reading",
    ("nemd_toolkit.pipeline", "_prototypes"): "k-means",
    ("nemd_toolkit.pipeline", "measure"): "measures",
}
CELLS = (  # each axis by itself, through one cell in the middle
    *((count, 128, 100) for count in (10_000, 30_000, 100_000, 300_000, 1_000_000)),
    *((100_000, 128, k) for k in (10, 32, 320, 1_000, 3_200, 10_000)),
    *((100_000, dim, 100) for dim in (32, 64, 256, 512, 1_024, 2_048)),
)
_BLOCK = 65_536  # rows
_PAUSE = 0.02  # seconds between samples of memory

Cell = tuple[int, int, int]


def write_rows(path: Path, count: int, dim: int, groups: int, seed: int) -> np.ndarray:
    """Write seeded float32 rows around common directions, a block at a time; give their groups."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.nn.functional.normalize(torch.randn(groups, dim, generator=generator), dim=1)
    header = {"descr": "<f4", "fortran_order": False, "shape": (count, dim)}
    owners = []
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, count, _BLOCK):
            size = min(_BLOCK, count - start)
            group = torch.randint(0, groups, (size,), generator=generator)
            noise = torch.randn(size, dim, generator=generator)
            file.write(noise.mul_(SPREAD / dim**0.5).add_(centres[group]).numpy().data)
            owners.append(group.numpy())
    return np.concatenate(owners)


class Watch:
    """The largest memory of its own that this process held, looked at fifty times a second."""

    def __init__(self) -> None:
        self.anonymous = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(_PAUSE):
            self.anonymous = max(self.anonymous, memory_of_this("RssAnon"))


def memory_of_this(name: str) -> int:
    """Bytes of this process by the kernel's name; getrusage's peak has the parent's in it."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in text.splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


def most_of_all(numbers: dict[str, Any]) -> dict[str, Any]:
    """Give the largest number of each name over the processes; names may hold names."""
    return {
        name: most_of_all(number)
        if isinstance(number, dict)
        else type(number)(ranks.gathered(torch.tensor([float(number)]).double()).max())
        for name, number in numbers.items()
    }


def analysed(path: Path, k: int, seed: int, memory: str | None, source: str) -> dict[str, Any]:
    """Analyse and write a report; this process is for one cell alone."""
    from analysis import PARTS, Clock, time_calls

    import nemd_toolkit as nt
    from nemd_toolkit.scratch import scratch_size

    if source == "fit":
        return fitted(path, k, seed, memory)
    chosen: dict[str, Any] = {"prototypes": (k,)}
    if source == "labels":
        chosen = {"prototypes": "labels", "labels": np.load(labels_of(path))}
    stages, parts = Clock(), Clock()
    time_calls(stages, STAGES)
    time_calls(parts, PARTS)
    with Watch() as watch, tempfile.TemporaryDirectory() as folder:
        found = nt.analyze(path, seed=seed, memory=memory, **chosen)
        stages.timed("report", ranks.first)("the report", lambda: found.write(Path(folder)))
    clustering = found.measures.clusterings[0]
    nemd = clustering.nemd
    return {
        **spent(stages, watch, parts=parts.seconds),
        "file_bytes": scratch_size(clustering.prototypes.embeddings.vectors),
        "score": nemd.score.value if nemd and nemd.score else None,
        "notes": list(found.provenance.notes),
        "threads": torch.get_num_threads(),
    }


def fitted(path: Path, k: int, seed: int, memory: str | None) -> dict[str, Any]:
    """Fit k-means once, as an analysis does five times, of all rows and of halves."""
    from analysis import Clock

    import nemd_toolkit as nt
    from nemd_toolkit.memory import memory_limit

    stages = Clock()
    with Watch() as watch, memory_limit(memory), ranks.sharing():
        embeddings = stages.timed("reading", nt.load_embeddings)(path)
        found = stages.timed("k-means", nt.fit_prototypes)(embeddings, k, seed=seed)
    return {**spent(stages, watch), "fitted_rows": found.fitted_rows}


def spent(stages: Any, watch: Watch, **more: Any) -> dict[str, Any]:
    """Time by stage and memory of this process, the most of all of them."""
    numbers = {
        "seconds": stages.seconds,
        "total_seconds": stages.total("wall"),
        "processor_seconds": stages.total("processor"),
        "peak_bytes": {"maxrss": memory_of_this("VmHWM"), "anonymous": watch.anonymous},
    }
    return most_of_all(numbers | more)


def labels_of(path: Path) -> Path:
    """Where the labels of rows are."""
    return path.with_suffix(".labels.npy")


def run(cell: Cell, options: argparse.Namespace) -> dict[str, Any]:
    """Write the rows of a cell, analyse them in a new process, and remove them."""
    from analysis import commit

    count, dim, k = cell
    groups = options.groups or min(1_000, max(10, count // 100))
    groups = k if options.source == "labels" else groups
    path = Path(options.folder or tempfile.gettempdir()) / f"nemd-scale-{os.getpid()}.npy"
    try:
        labels = write_rows(path, count, dim, groups, options.seed)
        if options.source == "labels":
            np.save(labels_of(path), labels)
        task = [str(path), k, options.seed, options.memory, options.source]
        launch = ["-m", "torch.distributed.run", "--standalone"]
        launch = [*launch, f"--nproc-per-node={options.ranks}"] if options.ranks > 1 else []
        done = subprocess.run(
            [sys.executable, *launch, __file__, "--task", json.dumps(task)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    finally:
        path.unlink(missing_ok=True)
        labels_of(path).unlink(missing_ok=True)
    return {
        "count": count,
        "dim": dim,
        "prototypes": k,
        "source": options.source,
        "groups": groups,
        "seed": options.seed,
        "ranks": options.ranks,
        "memory": options.memory,
        **json.loads(done.stdout),
        "load": os.getloadavg()[1],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
    }


def finished(lines: Path) -> list[dict[str, Any]]:
    """Read the cells that are there."""
    if not lines.exists():
        return []
    texts = lines.read_text(encoding="utf-8").splitlines()
    return [{"source": "k-means", **json.loads(text)} for text in texts if text]


def written(cells: list[dict[str, Any]], out: Path) -> None:
    """Write the document and its picture."""
    from scale_growth import draw, exponents
    from transport import this_machine

    from nemd_toolkit.figures.saving import png_bytes

    whole = [cell for cell in cells if cell["source"] == "k-means"]
    document = {
        "schema": SCHEMA,
        "machine": this_machine("cpu"),
        "cells": cells,
        "exponents": exponents(whole),
    }
    write_text(out / "scale.json", json.dumps(document, indent=1, allow_nan=False) + "\n")
    if whole:
        (out / "scale.png").write_bytes(png_bytes(draw(whole)))


def wanted(options: argparse.Namespace) -> list[Cell]:
    """Give the cells that were named, or all, within the limits; the small ones first."""
    cells = CELLS
    if options.cells:
        named = [tuple(map(int, name.split("x"))) for name in options.cells.split(",")]
        cells = tuple((count, dim, k) for count, dim, k in named)
    within = [c for c in cells if c[0] <= options.most_rows and c[2] <= options.most_prototypes]
    return sorted(set(within), key=lambda cell: cell[0] * cell[1] * cell[2])


def main() -> None:
    """Run the cells that are not there yet, and write the document after each."""
    parser = argparse.ArgumentParser(description="How an analysis grows")
    parser.add_argument("--cells", help="such as 1000000x128x1000,10000x64x10")
    parser.add_argument("--most-rows", type=int, default=10**8)
    parser.add_argument("--most-prototypes", type=int, default=10**6)
    parser.add_argument("--source", choices=("k-means", "labels", "fit"), default="k-means")
    parser.add_argument("--memory", help="limit of the analysis, such as 4GB")
    parser.add_argument("--ranks", type=int, default=1, help="processes that share it")
    parser.add_argument("--groups", type=int, help="directions; by default 1,000, or N/100 if less")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where rows are written to")
    parser.add_argument("--report", action="store_true", help="run nothing, write the document")
    parser.add_argument("--task", help="of one process; not for people")
    parser.add_argument("--out", type=Path, default=Path("reports/scale"))
    options = parser.parse_args()
    if options.task:
        path, *task = json.loads(options.task)
        with joined():  # what all but the first print goes nowhere
            print(json.dumps(analysed(Path(path), *task), allow_nan=False))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    lines = options.out / "cells.jsonl"
    for cell in [] if options.report else wanted(options):
        key = (*cell, options.seed, options.ranks, options.memory, options.source)
        names = ("count", "dim", "prototypes", "seed", "ranks", "memory", "source")
        if key in [tuple(done[name] for name in names) for done in finished(lines)]:
            continue
        print("x".join(map(str, cell)), file=sys.stderr)
        with lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(run(cell, options)) + "\n")
        written(finished(lines), options.out)
    written(finished(lines), options.out)


if __name__ == "__main__":
    main()
