"""What encoders still tell of the differences within a class, beside their NEMD score.

    python benchmarks/within_class.py FOLDER --data digits     # of `pauc-train compare`

Coagulation says that what differs within a prototype is lost. So it is looked for: from the rows of
a layer, the mean of their class taken off, a ridge regression tells the pixels, theirs taken off as
well (its penalty by generalised cross-validation); R² is on held-out images, 0 where nothing is
left. `within_class.json`, schema nemd-within-class/1: {"schema", "data", "commit", "runs":
[{"method", "seed", "state", "numbers", "r_squared": {layer: R² | null}}], "correlations": {layer:
{number: {"rho", "low", "high", "count"}}}}; beside it a picture.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from trained_numbers import rank_correlation

import nemd_toolkit as nt
from nemd_toolkit.errors import InputError
from nemd_toolkit.figures.saving import png_bytes
from nemd_toolkit.figures.style import BLUE, VERMILLION, new_figure, themed
from nemd_toolkit.files import replacing, write_text
from nemd_toolkit.images import open_images

SCHEMA = "nemd-within-class/1"
LAYERS = ("projector", "backbone")
NUMBERS = ("score", "excess", "effective_rank", "linear_probe")
PENALTIES = 10.0 ** np.arange(-6, 4)
Rows = NDArray[np.float64]


class Classes:
    """Pixels of both parts without the mean of their class in training."""

    def __init__(self, data: str) -> None:
        parts = [open_images(data, split=split) for split in ("train", "test")]
        self.labels = [np.asarray(part.labels) for part in parts]
        pixels = [p.batch(torch.arange(p.count)).flatten(1).double().numpy() for p in parts]
        self.pixels = self.without_means(*pixels)

    def without_means(self, train: Rows, test: Rows) -> tuple[Rows, Rows]:
        """Take the mean of a row's class, in training, off each row."""
        first, second = self.labels
        means = np.stack([train[first == label].mean(axis=0) for label in np.unique(first)])
        places = [np.searchsorted(np.unique(first), labels) for labels in (first, second)]
        return train - means[places[0]], test - means[places[1]]

    def r_squared(self, train: Rows, test: Rows) -> float:
        """R² of held-out pixels by rows, within classes; 1 is all of them, 0 nothing."""
        train, test = self.without_means(train, test)
        known, wanted = self.pixels
        told = RidgeCV(alphas=PENALTIES).fit(train, known).predict(test)
        return float(1 - np.square(wanted - told).sum() / np.square(wanted).sum())


def one_run(folder: Path, data: str, classes: Classes) -> dict[str, Any] | None:
    """R² by layer of a trained run; None for one that failed."""
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))["result"]
    if result["failed"] is not None:
        return None
    found: dict[str, float | None] = {}
    for layer in LAYERS:
        try:
            rows = [
                nt.embed(folder / "last.pt", data, layer=layer, split=split).vectors
                for split in ("train", "test")
            ]
        except InputError:  # CPC's and AMDIM's small networks are no encoders of ours
            found[layer] = None
            continue
        found[layer] = classes.r_squared(*(r.double().numpy() for r in rows))
    kept = {name: result[name] for name in ("method", "seed", "state", "numbers")}
    return {**kept, "r_squared": found}


def correlations(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Spearman's ρ of R² with each number, over runs; intervals resample methods."""
    found: dict[str, dict[str, Any]] = {}
    for layer in LAYERS:
        found[layer] = {}
        for name in NUMBERS:
            both = [
                (run["numbers"][name], run["r_squared"][layer], run["method"])
                for run in runs
                if run["r_squared"][layer] is not None and run["numbers"].get(name) is not None
            ]
            one = rank_correlation(*zip(*both, strict=True)) if both else None  # type: ignore[arg-type]
            found[layer][name] = one and {
                key: getattr(one, key) for key in ("rho", "low", "high", "count")
            }
    return found


@themed
def draw(runs: Sequence[dict[str, Any]]) -> Figure:
    """Draw a point for each method, the mean over its seeds, coloured by its verdicts."""
    figure, [axes] = new_figure(4.2)
    for name in dict.fromkeys(run["method"] for run in runs):
        own = [run for run in runs if run["method"] == name]
        scores = [run["numbers"]["score"] for run in own]
        told = [run["r_squared"]["projector"] for run in own]
        if None in scores or None in told:
            continue
        place = float(np.mean(scores)), float(np.mean(told))
        ill = any(run["state"] == "collapsed" for run in own)
        axes.plot(*place, marker="s" if ill else "o", color=VERMILLION if ill else BLUE)
        axes.annotate(name, place, xytext=(4, 3), textcoords="offset points", fontsize=7)
    axes.set_xlabel("NEMD score of the projector (squares: called collapsed)")
    axes.set_ylabel("R² of pixels within a class")
    axes.grid(visible=True)
    return figure


def main() -> None:
    """Parse, read all runs of a comparison, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--out", type=Path, default=Path("reports/pauc_study/within_class"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    classes = Classes(options.data)
    folders = sorted(path.parent for path in options.folder.glob("*/seed-*/result.json"))
    runs = [run for f in folders if (run := one_run(f, options.data, classes)) is not None]
    document = {
        "schema": SCHEMA,
        "data": options.data.partition(":")[0],
        "runs": runs,
        "correlations": correlations(runs),
    }
    write_text(options.out.with_suffix(".json"), json.dumps(document, indent=1) + "\n")
    with replacing(options.out.with_suffix(".png")) as part:
        part.write_bytes(png_bytes(draw(runs), dpi=130))
    print(json.dumps(document["correlations"], indent=1))


if __name__ == "__main__":
    main()
