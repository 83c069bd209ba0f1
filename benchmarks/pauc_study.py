"""The study: whether PAUC lowers NEMD below PCL's, and whether accuracy follows.

    python benchmarks/pauc_study.py choose --data digits --work DIR   # seeds 100…: which weights
    python benchmarks/pauc_study.py test --data digits --work DIR     # seeds 200…: the table

Settings are chosen on seeds and tables of their own (`choose`), then tested on others (`test`), so
that what is reported was not looked for. Each trains below WORK/DATA/STAGE (what is there is not
trained again) and writes `reports/pauc_study/DATA/STAGE/`: plot, CSV and JSON of
`pauc_train.compare`, `choice.json` or `answers.json` (pauc_study_answers.py), differences from PCL
as a table and a picture, and for `test` maps of PCL's and PAUC's embeddings side by side.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from pauc_study_answers import NUMBERS, answers, chosen, difference, read_runs
from pauc_study_plot import as_markdown, draw_differences, draw_maps

from nemd_toolkit.figures.saving import png_bytes
from nemd_toolkit.files import replacing, write_text
from pauc_train.compare import Entry, compare

CHOSEN: dict[str, Any] = {"alpha": 0.0, "beta": 3.0, "gamma": 0.0, "uniform_log": True}  # ships
FIRST_TO_CHOOSE, FIRST_TO_TEST = 100, 200  # seeds; recipes were tried on those below


NONE = {"alpha": 0.0, "beta": 0.0, "gamma": 0.0}
# every term alone, over weights and readings; then together
CANDIDATES: dict[str, dict[str, Any]] = {
    "align 0.1": {"alpha": 0.1},
    "align 1": {"alpha": 1.0},
    "align 0.1, s=1": {"alpha": 0.1, "align_power": 1.0},
    "uniform 1": {"beta": 1.0},
    "uniform 3": {"beta": 3.0},
    "uniform 10": {"beta": 10.0},
    "uniform 30": {"beta": 30.0},
    "uniform 10, t=1": {"beta": 10.0, "uniform_t": 1.0},
    "uniform 10, t=5": {"beta": 10.0, "uniform_t": 5.0},
    "log uniform 0.1": {"beta": 0.1, "uniform_log": True},
    "log uniform 0.3": {"beta": 0.3, "uniform_log": True},
    "log uniform 1": {"beta": 1.0, "uniform_log": True},
    "corr 0.01": {"gamma": 0.01},
    "corr 0.1": {"gamma": 0.1},
    "corr 1": {"gamma": 1.0},
    "corr 0.1, T=0.2": {"gamma": 0.1, "corr_temperature": 0.2},
    "corr 1, T=1": {"gamma": 1.0, "corr_temperature": 1.0},
    "corr 0.1, Jensen-Shannon": {"gamma": 0.1, "corr": "jensen-shannon"},
    "corr 1, Jensen-Shannon": {"gamma": 1.0, "corr": "jensen-shannon"},
    "corr 1, decorrelation": {"gamma": 1.0, "corr": "decorrelation"},
    "corr 10, decorrelation": {"gamma": 10.0, "corr": "decorrelation"},
    "0.1, 3, 0.01": {"alpha": 0.1, "beta": 3.0, "gamma": 0.01},
    "0.1, 10, 0": {"alpha": 0.1, "beta": 10.0},
    "0, 10, 0.01": {"beta": 10.0, "gamma": 0.01},
    # added when the lowest scores stood at the ends of those above
    "uniform 100": {"beta": 100.0},
    "log uniform 3": {"beta": 3.0, "uniform_log": True},
    "log uniform 10": {"beta": 10.0, "uniform_log": True},
    "corr 100, decorrelation": {"gamma": 100.0, "corr": "decorrelation"},
    "0.1, 30, 0": {"alpha": 0.1, "beta": 30.0},
    "0, 30, 0.01": {"beta": 30.0, "gamma": 0.01},
    "uniform 30, decorrelation 10": {"beta": 30.0, "gamma": 10.0, "corr": "decorrelation"},
}


def candidates() -> list[Entry]:
    """PCL and MoCo, and PAUC with every candidate's weights; a weight not named is 0."""
    others = [Entry(name=name, method=name) for name in ("pclv2", "mocov2")]
    return [*others, *(_pauc(name, {**NONE, **own}) for name, own in CANDIDATES.items())]


def tests() -> list[Entry]:
    """The questions: MoCo to PCL, ProtoNCE's weight, PAUC, and what each term and reading does."""
    entries = [Entry(name="mocov2", method="mocov2")]
    entries += [
        Entry(name=f"proto x{w:g}", method="pclv2", overrides={"prototype_weight": w})
        for w in (0.3, 1.0, 3.0, 10.0)
    ]
    settings: dict[str, dict[str, Any]] = {
        "pauc": CHOSEN,
        "pauc and align": {**CHOSEN, "alpha": 0.1},
        "pauc and corr": {**CHOSEN, "gamma": 0.01},
        "align and corr, no uniform": {**CHOSEN, "alpha": 0.1, "beta": 0.0, "gamma": 0.01},
        "uniform alone, literal": {**NONE, "beta": 30.0, "uniform_log": False},
        "align alone": {**NONE, "alpha": 1.0},
        "corr alone, literal": {**NONE, "gamma": 1.0},
        "corr alone, Jensen-Shannon": {**NONE, "gamma": 1.0, "corr": "jensen-shannon"},
        "corr alone, decorrelation": {**NONE, "gamma": 10.0, "corr": "decorrelation"},
    }
    return [*entries, *(_pauc(name, own) for name, own in settings.items())]


def _pauc(name: str, settings: dict[str, Any]) -> Entry:
    return Entry(name=name, method="pauc", overrides=settings)


def write(stage: str, work: Path, out: Path, data: str, seed: int) -> dict[str, Any]:
    """Copy tables and plot, and write what the runs say; gives that."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("trainings.json", "runs.csv", "methods.csv", "accuracy.png"):
        shutil.copyfile(work / name, out / name)
    runs = read_runs(work)
    is_choice = stage == "choose"
    base = "pclv2" if is_choice else "proto x1"
    found = chosen(runs, base) if is_choice else answers(runs, base)
    against = {
        entry: {name: difference(runs, entry, base, name) for name in NUMBERS}
        for entry in sorted(runs, key=lambda entry: _order(entry, is_choice))
        if entry != base
    }
    write_text(out / ("choice.json" if is_choice else "answers.json"), json.dumps(found, indent=1))
    write_text(out / "differences.md", as_markdown(against, base))
    _save(draw_differences(against, base), out / "differences.png")
    if not is_choice:
        maps = draw_maps(work, data, seed, {base: "PCL", "pauc": "PAUC"})
        _save(maps, out / "maps.png")
    return found


def _order(entry: str, is_choice: bool) -> int:
    names = [e.name for e in (candidates() if is_choice else tests())]
    return names.index(entry) if entry in names else len(names)


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as part:
        part.write_bytes(png_bytes(figure, dpi=130))


def main() -> None:
    """Parse and run one stage."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("stage", choices=("choose", "test"))
    parser.add_argument("--data", default="digits")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--layer", default="projector")
    parser.add_argument("--only", nargs="*", help="entries; by default all of the stage")
    parser.add_argument("--work", type=Path, required=True, help="folder for the trainings")
    parser.add_argument("--out", type=Path, default=Path("reports/pauc_study"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    is_choice = options.stage == "choose"
    first = FIRST_TO_CHOOSE if is_choice else FIRST_TO_TEST
    place = Path(options.data.partition(":")[0]) / options.stage
    entries = candidates() if is_choice else tests()
    page = compare(
        [e for e in entries if options.only is None or e.name in options.only],
        options.data,
        seeds=range(first, first + options.seeds),
        out=options.work / place,
        epochs=options.epochs,
        layer=options.layer,
        workers=options.workers,
        say=lambda text: print(text, flush=True),
    )
    found = write(options.stage, page.parent, options.out / place, options.data, first)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
