"""Several processes against one: equal numbers, speed, and kills.

    python benchmarks/ranks.py equality --fashion DIR     # digits, Fashion-MNIST, 1,000,000 rows
    python benchmarks/ranks.py speed --repeats 5
    python benchmarks/ranks.py kills --kills 20

Processes are started by torchrun on this machine, one thread each. Equality: `measures` and
`findings` of report.json with 1, 2 and 4 processes, byte for byte. Speed: `nemd embed` of digits
(resnet18 at 64 x 64), the transport of 11,175 pairs of clouds and k-means, 1 process against 2, in
turns; and torchrun with one process against none. Where other jobs hold the cores, the processor's
time of the busiest process is what a stage would take. Kills: SIGKILL to a random process at a
random moment, then the same command again until it ends by itself.

`ranks.json`, schema nemd-ranks/1: {"schema", "machine", "equality": [{"data", "count", "dim",
"prototypes", "processes", "equal", "seconds"}], "speed": [{"stage", "one": {"wall", "processor"},
"two", "times": {"one": […], "two": […]}, "ratio"}], "kills": {"data", "kills": [{"after_seconds",
"rank", "killed": else it had ended, "ended", "seconds_to_end", "sentence", "stages", "report"}],
"longest_seconds_to_end", "equal"}, "load", "date", "commit"}; what was measured before stays.
`seconds` are those of whole commands.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

SCHEMA = "nemd-ranks/1"
_SENTENCE = "the same command continues where it stopped"


def command(processes: int, words: list[object], *, torchrun: bool = True) -> list[str]:
    """Words that start it."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    module = [*(launch if torchrun else []), "-m", "nemd_toolkit"]
    return [sys.executable, *module, *map(str, words)]


def start(processes: int, words: list[object], **options: Any) -> "subprocess.Popen[str]":
    """Start it, a thread each."""
    return subprocess.Popen(
        command(processes, words, **options),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def seconds_of(processes: int, words: list[object], **options: Any) -> float:
    """Wall time of the whole command, which must succeed."""
    began = time.perf_counter()
    running = start(processes, words, **options)
    said = running.communicate()[1]
    if running.returncode:
        raise SystemExit(said)
    return time.perf_counter() - began


def numbers(out: Path) -> str:
    """All numbers of a report, as text."""
    document = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return json.dumps([document["measures"], document["findings"]])


def data_of(name: str, folder: Path, fashion: str) -> tuple[Path, int, int, str]:
    """Make embeddings; give their file, shape and numbers of prototypes."""
    import numpy as np
    from analysis import rows

    from nemd_toolkit.images import open_images

    path = folder / f"{name}.npz"
    if name == "rows":
        points, labels, counts = rows(1_000_000, 64, 0).numpy(), None, "1000"
    else:
        images = open_images("digits" if name == "digits" else f"fashion-mnist:{fashion}")
        batches = range(0, images.count, 4096)
        import torch

        pixels = [
            images.batch(torch.arange(first, min(first + 4096, images.count))) for first in batches
        ]
        points = torch.cat(pixels).flatten(1).numpy() - 0.3
        labels, counts = images.labels, "40,20,labels" if name == "digits" else "200,labels"
    np.savez(path, vectors=points, **({} if labels is None else {"labels": labels}))
    return path, *points.shape, counts


def equality(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Give a row for each set and number of processes."""
    found = []
    for name in options.data:
        path, count, dim, counts = data_of(name, folder, options.fashion)
        whole = ""
        for processes in options.processes:
            out = folder / f"{name}-{processes}"
            words = ["analyze", path, "--prototypes", counts, "--out", out, "-q"]
            spent = seconds_of(processes, words, torchrun=processes > 1)
            whole = whole or numbers(out)
            found.append(
                {
                    "data": name, "count": count, "dim": dim, "prototypes": counts,
                    "processes": processes, "equal": numbers(out) == whole,
                    "seconds": round(spent, 1),
                }
            )  # fmt: skip
            print(found[-1], flush=True)
    return found


Times = dict[str, float]  # "wall" and "processor" seconds, the latter of the busiest process


def in_turns(
    stage: str, repeats: int, one: Callable[[], Times], two: Callable[[], Times]
) -> dict[str, Any]:
    """Alternate; medians, and the ratio of them."""
    times: dict[str, list[Times]] = {"one": [], "two": []}
    for _ in range(repeats):
        times["one"].append(one())
        times["two"].append(two())
    row: dict[str, Any] = {"stage": stage, "one": {}, "two": {}, "ratio": {}, "times": times}
    for kind in times["one"][0]:
        for who in ("one", "two"):
            row[who][kind] = median(run[kind] for run in times[who])
        row["ratio"][kind] = row["one"][kind] / row["two"][kind]
    print({name: value for name, value in row.items() if name != "times"}, flush=True)
    return row


STAGE = """import sys, time
from contextlib import nullcontext
import numpy as np, torch
from nemd_toolkit import ranks
from nemd_toolkit.processes import joined
from nemd_toolkit.transport import pairwise_wasserstein1
from nemd_toolkit.clustering import kmeans
from nemd_toolkit.embedding_export import embed_to_file
from nemd_toolkit.encoding import prepare_pass
from pathlib import Path

torch.set_num_threads(1)
stage, folder = sys.argv[1], Path(sys.argv[2])
generator = torch.Generator().manual_seed(0)
if stage == "pairs":
    clouds = list(torch.nn.functional.normalize(
        torch.randn(150, 64, 128, generator=generator)
        + torch.randn(150, 1, 128, generator=generator), dim=2))
    pairwise_wasserstein1(clouds[:2])
    work = lambda: pairwise_wasserstein1(clouds)
elif stage == "embed":
    ready = prepare_pass(folder / "last.pt", "digits", split="all", batch=64)
    work = lambda: embed_to_file(ready, folder / f"{ranks.count()}.npy")
else:
    points = torch.nn.functional.normalize(torch.randn(65536, 128, generator=generator), dim=1)
    work = lambda: kmeans(points, 400)
with joined():
    ranks.together("start", lambda: None)
    began, busy = time.perf_counter(), time.process_time()
    work()
    busy = torch.tensor([time.process_time() - busy], dtype=torch.float64)
    slowest = float(ranks.gathered(busy).max())
    if ranks.rank() == 0:
        (folder / "seconds").write_text(f"{time.perf_counter() - began} {slowest}")
"""


def encoder(path: Path) -> None:
    """Write a checkpoint whose images take a while each."""
    import torch

    from nemd_toolkit.encoders import build_resnet

    torch.manual_seed(0)
    net = build_resnet("resnet18", channels=1)
    state = {f"module.encoder_q.{name}": value for name, value in net.state_dict().items()}
    image = {"channels": 1, "size": [64, 64], "mean": [0.3], "std": [0.4]}
    nemd = {"format": "pauc-train/1", "method": "moco", "image": image, "prototypes": []}
    torch.save({"state_dict": state, "arch": "resnet18", "nemd": nemd}, path)


def stage_seconds(stage: str, processes: int, folder: Path) -> Times:
    """Time one stage alone, from when all have loaded their data."""
    program = folder / "stage.py"
    program.write_text(STAGE, encoding="utf-8")
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    subprocess.run(
        [sys.executable, *(launch if processes > 1 else []), str(program), stage, str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    wall, processor = map(float, (folder / "seconds").read_text(encoding="utf-8").split())
    return {"wall": wall, "processor": processor}


def own_seconds(words: list[object], out: Path, **options: Any) -> Times:
    """Time that an analysis says it took, without that of loading torch, twice in torchrun."""
    seconds_of(1, words, **options)
    document = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return {"wall": float(document["provenance"]["seconds"])}


def speed(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Give a row for each stage, and one for what torchrun costs a single process."""
    encoder(folder / "last.pt")
    rows = [
        in_turns(
            stage,
            options.repeats,
            lambda stage=stage: stage_seconds(stage, 1, folder),  # type: ignore[misc]
            lambda stage=stage: stage_seconds(stage, 2, folder),  # type: ignore[misc]
        )
        for stage in options.stages
    ]
    path, *_, counts = data_of("digits", folder, "")
    words = ["analyze", path, "--prototypes", counts, "--out", folder / "r", "-q"]
    return [
        *rows,
        in_turns(
            "analysis of digits, no torchrun (one) and torchrun with one process (two)",
            options.repeats,
            lambda: own_seconds(words, folder / "r", torchrun=False),
            lambda: own_seconds(words, folder / "r"),
        ),
    ]


def process_of(rank: int, out: Path) -> int | None:
    """Find our process of that rank, while it lives."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended, or is another's
            continue
        if f"RANK={rank}".encode() in environment and os.fsencode(out) in words:
            return int(folder.name)
    return None


def kills(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Kill at random moments, and go on in the same folder until a run ends by itself."""
    path, *_, counts = data_of("fashion", folder, options.fashion)
    rng = random.Random(options.seed)
    words = ["analyze", path, "--prototypes", counts, "--out"]
    usual = seconds_of(2, [*words, folder / "whole", "-q"])
    log: list[dict[str, Any]] = []
    equal = True
    while sum(run["killed"] for run in log) < options.kills:
        out = folder / "broken"
        running = start(2, [*words, out])
        after, rank = rng.uniform(0.1, 0.95) * usual, rng.randrange(2)
        pid = None
        try:
            running.wait(after)
        except subprocess.TimeoutExpired:
            pid = process_of(rank, out)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
        killed = time.perf_counter()
        said = running.communicate(timeout=120)[1]
        ended = "whole" if running.returncode == 0 else "lost"
        log.append(
            {
                "after_seconds": round(after, 2), "rank": rank, "killed": pid is not None,
                "ended": ended, "seconds_to_end": round(time.perf_counter() - killed, 2),
                "sentence": len(re.findall(re.escape(_SENTENCE), said)),
                "stages": len(list(out.glob(".stages/*.stage"))),
                "report": (out / "report.json").exists(),
            }
        )  # fmt: skip
        print(log[-1], flush=True)
        if ended == "whole":
            equal &= numbers(out) == numbers(folder / "whole")
            shutil.rmtree(out)
    seconds_of(2, [*words, out, "-q"])
    return {
        "data": "fashion-mnist", "seconds_without_a_kill": round(usual, 1), "kills": log,
        "longest_seconds_to_end": max(kill["seconds_to_end"] for kill in log),
        "equal": equal and numbers(out) == numbers(folder / "whole"),
    }  # fmt: skip


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("part", choices=("equality", "speed", "kills"))
    parser.add_argument("--data", nargs="+", default=["digits", "fashion", "rows"])
    parser.add_argument("--fashion", default=".", metavar="DIR")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--stages", nargs="+", default=["pairs", "embed", "k-means"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("reports/scale/ranks.json"))
    options = parser.parse_args()
    from transport import commit, this_machine

    from nemd_toolkit.files import write_text

    parts = {"equality": equality, "speed": speed, "kills": kills}
    with tempfile.TemporaryDirectory() as name:
        found = parts[options.part](options, Path(name))  # type: ignore[operator]
    document = json.loads(options.out.read_text()) if options.out.exists() else {}
    if isinstance(found, list):  # rows of other data and stages stay
        key = "data" if options.part == "equality" else "stage"
        new = {row[key] for row in found}
        found = [row for row in document.get(options.part, []) if row[key] not in new] + found
    about = {"load": os.getloadavg()[1], "date": datetime.now(UTC).isoformat(timespec="seconds")}
    document |= {"schema": SCHEMA, "machine": this_machine("cpu"), options.part: found}
    document |= about | {"commit": commit()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(options.out, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
