"""ImageNet recipes on a synthetic folder of the same shape: whether they start, what they take.

    python benchmarks/imagenet_dry_run.py --recipe imagenet-100 --method pauc --steps 3

The folder has the recipe's classes and training images (100 and 126,689; 1,000 and 1,281,167), each
a hard link to one of 64 JPEGs of 500 x 375 pixels; opening it, the order of an epoch, decoding,
views, networks, loss and gradient are those of `pauc-train fit`. Changed are the batch (`--batch`:
a processor has no room for 256 at 224 pixels; queue and prototypes keep their sizes), the precision
(float32: a processor has no use for bfloat16) and the number of steps. In place of an E-step there
are random centroids, as many as the recipe has.

The floating point operations of the first step are counted (torch's FlopCounterMode). Hours on
eight GPUs follow as images x epochs x operations an image / (8 x peak x share), with NVIDIA's dense
bfloat16 peaks and an assumed share of them. `cores_per_gpu` is what decoding and views need to keep
up, at the rate of one core here. `dry_run.json`, schema nemd-dry-run/1: {"schema", "rows":
[{"recipe", "method", "arch", "images", "classes", "open_seconds", "steps": [{"prepare_seconds" (one
thread), "step_seconds", "loss"}], "batch", "images_per_second" (median step, without preparing),
"peak_gigabytes", "checkpoint_gigabytes", "gigaflops_per_image", "batch_of_recipe", "epochs",
"assumed_share_of_peak", "hours_on_8": {gpu: hours}, "prepared_per_second_per_core",
"cores_per_gpu": {gpu: cores}, "threads", "date", "commit"}]}.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from transport import commit

from nemd_toolkit.files import write_text
from pauc_train.expectation import Clustering
from pauc_train.loop import _prepare
from pauc_train.methods import method_named
from pauc_train.recipe import load_config
from pauc_train.run import Run, save
from pauc_train.run_folder import RunFolder
from pauc_train.step import take_step

SCHEMA = "nemd-dry-run/1"
SHAPES = {"imagenet-100": (100, 126_689), "imagenet-1k": (1_000, 1_281_167)}
PEAKS = {"A100": 312e12, "H100": 989e12}  # NVIDIA's data sheets, dense bfloat16
SHARE = 0.3  # of the peak; assumed
DISTINCT = 64


def make_folder(folder: Path, classes: int, images: int, seed: int) -> Path:
    """Lay out class folders of hard links to smooth noise in colour."""
    rng = np.random.default_rng(seed)
    files = []
    (folder / "files").mkdir(parents=True)
    for number in range(DISTINCT):
        coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 24, 32)).astype(np.float32))
        smooth = F.interpolate(coarse, (375, 500), mode="bicubic")[0]
        noisy = smooth + torch.from_numpy(rng.normal(0, 12, (3, 375, 500)).astype(np.float32))
        pixels = noisy.clamp(0, 255).byte().permute(1, 2, 0).numpy()
        files.append(folder / "files" / f"{number}.jpg")
        Image.fromarray(pixels).save(files[-1], quality=90)
    where = folder / "train"
    for label in range(classes):
        name = where / f"n{label:08}"
        name.mkdir(parents=True)
        for number in range(label, images, classes):
            os.link(files[number % DISTINCT], name / f"{number:07}.jpg")
    return where


def clusterings(run: Run, seed: int) -> tuple[Clustering, ...]:
    """Give random centroids of the recipe's numbers, as an E-step would give its own."""
    counts = getattr(run.config, "clusters", ())
    generator = torch.Generator().manual_seed(seed)
    count, dim = run.feed.images.count, run.config.embedding_dim
    return tuple(
        Clustering(
            centroids=F.normalize(torch.randn(k, dim, generator=generator), dim=1),
            assignment=torch.randint(0, k, (count,), generator=generator),
            phi=torch.full((k,), 0.2),
            objective=1.0,
            used=k,
        )
        for k in counts
    )


def dry_run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Take the first steps of the recipe, and say what they took."""
    classes, images = SHAPES[options.recipe]
    data = f"folder:{make_folder(folder, classes, images, options.seed)}"
    settings = {"batch_size": options.batch, "precision": "float32", "workers": 0}
    asked = load_config(options.method, options.recipe, {})
    config = load_config(options.method, options.recipe, settings)
    start = time.perf_counter()
    out = RunFolder(folder / "out")
    run = _prepare(
        method_named(options.method), data, config, options.seed, out, "cpu", "off", print
    )
    opened = time.perf_counter() - start
    run.training.clusterings = clusterings(run, options.seed)
    steps, operations = take(run, options)
    save(run, 0, options.steps, row=None)
    return {
        "recipe": options.recipe,
        "method": options.method,
        "arch": config.arch,
        "images": run.feed.images.count,
        "classes": classes,
        "open_seconds": opened,
        "steps": steps,
        "batch": options.batch,
        "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "checkpoint_gigabytes": run.folder.last.stat().st_size / 1e9,
        "batch_of_recipe": asked.batch_size,
        "epochs": asked.epochs,
        "threads": torch.get_num_threads(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **projected(steps, operations / options.batch, options.batch, images * asked.epochs),
    }


def projected(
    steps: list[dict[str, float]], each: float, batch: int, images: int
) -> dict[str, Any]:
    """Rates here, and hours and cores there, for so many operations an image and images in all."""
    prepared = batch / float(np.median([step["prepare_seconds"] for step in steps]))
    rates = {gpu: SHARE * peak / each for gpu, peak in PEAKS.items()}  # images a second
    return {
        "images_per_second": batch / float(np.median([step["step_seconds"] for step in steps])),
        "gigaflops_per_image": each / 1e9,
        "assumed_share_of_peak": SHARE,
        "hours_on_8": {gpu: images / (8 * rate) / 3600 for gpu, rate in rates.items()},
        "prepared_per_second_per_core": prepared,
        "cores_per_gpu": {gpu: rate / prepared for gpu, rate in rates.items()},
    }


def take(run: Run, options: argparse.Namespace) -> tuple[list[dict[str, float]], float]:
    """Time preparing and computing apart; the first step is the one that is counted."""
    found, operations = [], 0.0
    batches = run.feed.epoch(0, run.config.epochs)
    whole = run.feed.images.count // options.batch
    for step in range(options.steps):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        start = time.perf_counter()
        batch = next(batches)
        ready = time.perf_counter()
        torch.set_num_threads(threads)
        draws = torch.Generator().manual_seed(step)
        before = dict(run.sums)
        if step == 0:
            with FlopCounterMode(display=False) as counter:
                take_step(run, batch, step, whole, draws)
            operations = float(counter.get_total_flops())
        else:
            take_step(run, batch, step, whole, draws)
        found.append(
            {
                "prepare_seconds": ready - start,
                "step_seconds": time.perf_counter() - ready,
                "loss": run.sums["loss"] - before.get("loss", 0.0),
            }
        )
        print(found[-1], file=sys.stderr, flush=True)
    return found, operations


def main() -> None:
    """Run one recipe and method, and keep the rows of others."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--recipe", choices=sorted(SHAPES), required=True)
    parser.add_argument("--method", default="pauc")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("reports/training/dry_run.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        row = dry_run(options, Path(folder)) | {"commit": commit()}
    print(json.dumps(row, indent=1))
    kept = json.loads(options.out.read_text())["rows"] if options.out.exists() else []
    kept = [r for r in kept if (r["recipe"], r["method"]) != (row["recipe"], row["method"])]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(options.out, json.dumps({"schema": SCHEMA, "rows": [*kept, row]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
