"""The demo: MoCo v2, PCL v2 and PAUC trained on scikit-learn's digits, analysed and compared.

The one place where the toolkit calls the trainer; nothing is downloaded.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from nemd_toolkit.pipeline import analyze
from nemd_toolkit.report.analysis import Analysis
from nemd_toolkit.report.comparison import write_comparison

__all__ = ["METHODS", "run_demo"]

METHODS = ("mocov2", "pclv2", "pauc")
DATA = "digits"
PROTOTYPES = (40, 20, 10)  # as many as PCL and PAUC train with, see the recipe

Extra = dict[str, dict[str, float]]


def run_demo(
    out: Path, seed: int, say: Callable[[str], None]
) -> tuple[list[tuple[str, Analysis]], Extra, Path]:
    """Train, analyse and compare; gives the analyses, their accuracies and the comparison's path.

    Trainings that are already in `out` are not run again.
    """
    from pauc_train.evaluate import evaluate
    from pauc_train.loop import fit

    analyses: list[tuple[str, Analysis]] = []
    accuracies: Extra = {}
    for method in METHODS:
        folder = out / method
        say(f"training {method} on {DATA}")
        checkpoint = fit(method, DATA, seed=seed, out=folder, say=say)
        say(f"analysing {method}")
        found = analyze(checkpoint, DATA, PROTOTYPES, seed)
        # named from the demo's folder, so that the report is the same wherever it is written
        name = checkpoint.relative_to(out).as_posix()
        command = found.provenance.command.replace(str(checkpoint), name)
        found = replace(found, provenance=replace(found.provenance, source=name, command=command))
        found.write(folder)
        accuracy = evaluate(checkpoint)
        analyses.append((method, found))
        accuracies[method] = {
            "kNN": accuracy.knn,
            "linear probe": accuracy.linear_probe,
            "pixel kNN": accuracy.pixels_knn,
        }
    links = {method: f"{method}/report.html" for method in METHODS}
    page = write_comparison(analyses, out, accuracies, links)
    return analyses, accuracies, page
