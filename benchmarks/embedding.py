"""What the embedding pass costs beyond the encoder itself, and whether it survives being killed.

    python benchmarks/embedding.py throughput --data fashion-mnist:DIR
    python benchmarks/embedding.py kill --data digits --kills 20

`throughput`: the bare model's forward over all images (the same batches, prepared tensors in
memory, same threads), the same with weights and batches in channels-last order as the pass has
them, and the whole of `embed_to_file` (open, decode, embed, checksummed parts, write), in turns in
one process. `kill`: SIGKILL at random moments of `nemd embed`, started again
until its file is there, compared with the bytes of a run that was left alone. Rows are on disk
every ten seconds, so it needs a pass that takes longer than that.

`embedding.json`, schema nemd-embedding/1: {"schema", "throughput": [{"arch", "data", "count",
"batch", "workers", "threads", "bare_seconds": [], "bare_channels_last_seconds": [],
"full_seconds": [], "ratio" and "ratio_channels_last" (bare over full, of the medians), "ratios",
"machine", …}], "kill": [{"command", "kills", "kills_after_first_rows", "runs", "same_bytes", …}]}.
Rows of another arch, data or number of threads stay.
"""

import argparse
import copy
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nemd_toolkit.embedding_export import embed_to_file
from nemd_toolkit.encoders import build_resnet
from nemd_toolkit.encoding import prepare_pass
from nemd_toolkit.files import write_text
from nemd_toolkit.images import open_images

SCHEMA = "nemd-embedding/1"


def checkpoint(path: Path, arch: str, data: str, seed: int) -> Path:
    """Save a fresh encoder of `arch` in PCL's layout, for images such as these."""
    images = open_images(data)
    torch.manual_seed(seed)
    net = build_resnet(arch, channels=images.channels, dim=128)
    net.train()
    net(images.batch(torch.arange(min(256, images.count))))  # batch statistics
    state = {f"module.encoder_q.{k}": v for k, v in net.state_dict().items()}
    state |= {f"module.encoder_k.{k}": v for k, v in net.state_dict().items()}
    entry = {
        "channels": images.channels,
        "size": list(images.size),
        "mean": [0.5] * images.channels,
        "std": [0.25] * images.channels,
    }
    nemd = {"format": "pauc-train/1", "method": "pcl", "image": entry, "prototypes": []}
    torch.save({"epoch": 1, "arch": arch, "state_dict": state, "nemd": nemd}, path)
    return path


def throughput(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Time bare and whole passes in turns."""
    saved = checkpoint(folder / "last.pt", options.arch, options.data, options.seed)
    ready = prepare_pass(saved, options.data, "projector", batch=options.batch)
    batches = [  # what the encoder sees, made before any clock runs
        ready.decoded(ready.images.batch(indices))
        for indices in torch.arange(ready.images.count).split(options.batch)
    ]
    usual = copy.deepcopy(ready.forward).to(memory_format=torch.contiguous_format)
    bare, last, full = [], [], []
    for turn in range(options.turns):
        bare.append(bare_seconds(usual, batches, torch.contiguous_format))
        last.append(bare_seconds(ready.forward, batches, torch.channels_last))
        full.append(full_seconds(options, saved, folder / f"{turn}.npy"))
        print(f"bare {bare[-1]:.1f} s, {last[-1]:.1f} s, full {full[-1]:.1f} s", file=sys.stderr)
    return {
        "arch": options.arch,
        "data": options.data.partition(":")[0],
        "count": ready.images.count,
        "batch": options.batch,
        "workers": ready.workers,
        "bare_seconds": bare,
        "bare_channels_last_seconds": last,
        "full_seconds": full,
        "ratios": [b / f for b, f in zip(bare, full, strict=True)],
        "ratio": statistics.median(bare) / statistics.median(full),
        "ratio_channels_last": statistics.median(last) / statistics.median(full),
        "images_per_second": ready.images.count / statistics.median(full),
    }


def bare_seconds(
    forward: Callable[[torch.Tensor], object],
    batches: list[torch.Tensor],
    memory: torch.memory_format,
) -> float:
    """Time the forward alone."""
    batches = [seen.contiguous(memory_format=memory) for seen in batches]
    start = time.perf_counter()
    with torch.inference_mode():
        for seen in batches:
            forward(seen)
    return time.perf_counter() - start


def full_seconds(options: argparse.Namespace, saved: Path, out: Path) -> float:
    """Time all of it: reading the checkpoint and the data, embedding, and the file."""
    start = time.perf_counter()
    embed_to_file(prepare_pass(saved, options.data, "projector", batch=options.batch), out)
    return time.perf_counter() - start


def kill(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Kill at random moments until `kills` have hit a run; compare what comes out in the end."""
    saved = checkpoint(folder / "last.pt", options.arch, options.data, options.seed)
    whole = folder / f"whole.{options.format}"
    start = time.perf_counter()
    run(options, saved, whole).wait()
    usual = time.perf_counter() - start
    wanted = whole.read_bytes()
    rng = np.random.default_rng(options.seed)
    kills = finished = same = in_pass = 0
    while kills < options.kills:
        out = folder / f"{finished}.{options.format}"
        while not out.exists():
            process = run(options, saved, out)
            try:
                process.wait(rng.uniform(0.3, 1.05) * usual if kills < options.kills else None)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
                in_pass += any(Path(f"{out}.parts").glob("rows-*.npy"))
            else:
                if process.returncode:
                    raise SystemExit(f"nemd embed ended with {process.returncode}")
        finished += 1
        same += out.read_bytes() == wanted and not Path(f"{out}.parts").exists()
        print(f"{kills} kills, {same} of {finished} the same", file=sys.stderr)
    return {
        "arch": options.arch,
        "data": options.data.partition(":")[0],
        "command": "nemd embed",
        "batch": options.batch,
        "whole_seconds": usual,
        "format": options.format,
        "kills": kills,
        "kills_after_first_rows": in_pass,
        "runs": finished,
        "same_bytes": same,
    }


def run(options: argparse.Namespace, saved: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start `nemd embed` in a process of its own."""
    words = [str(saved), "--data", options.data, "--out", str(out), "--batch", str(options.batch)]
    return subprocess.Popen([sys.executable, "-m", "nemd_toolkit", "embed", *words, "--quiet"])


def circumstances() -> dict[str, Any]:
    """Say where and when."""
    command = ["git", "describe", "--always", "--dirty"]
    described = subprocess.run(command, capture_output=True, text=True, check=False)
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load": os.getloadavg()[0],  # this process's own included
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": described.stdout.strip(),
    }


def main() -> None:
    """Run a mode and write the document."""
    parser = argparse.ArgumentParser(description="Cost and resumption of the embedding pass")
    parser.add_argument("mode", choices=["throughput", "kill"])
    parser.add_argument("--data", required=True, help="such as fashion-mnist:DIR")
    parser.add_argument("--arch", default="resnet8-strided")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--format", default="npz", help="of the files that are compared")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("reports/embedding/embedding.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        about = circumstances()
        mode = {"throughput": throughput, "kill": kill}[options.mode]
        found = mode(options, Path(folder)) | about
    print(json.dumps(found, indent=1))
    kept = json.loads(options.out.read_text()) if options.out.exists() else {}
    setting = ("arch", "data", "threads")
    others = [r for r in kept.get(options.mode, []) if any(r[k] != found[k] for k in setting)]
    document = kept | {"schema": SCHEMA, options.mode: [*others, found]}
    write_text(options.out, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
