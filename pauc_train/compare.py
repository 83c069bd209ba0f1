"""Methods trained over seeds, evaluated and analysed: what `pauc-train compare` does.

The one part of the trainer that judges and reports. Every run has a folder with its checkpoint and
`result.json`; what is there is not done again.
"""

import json
import multiprocessing
import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

import nemd_toolkit as nt
from nemd_toolkit.errors import InputError, NemdError
from nemd_toolkit.files import write_text
from nemd_toolkit.progress import bar
from nemd_toolkit.report.trainings import TrainedRun, write_trainings
from pauc_train.data import apply, open_split
from pauc_train.evaluate import evaluate
from pauc_train.loop import fit
from pauc_train.process import end_with_parent
from pauc_train.rebuild import rebuild
from pauc_train.recipe import load_config, recipe_for

__all__ = ["Asked", "Entry", "compare"]

# as many as the recipe trains with
_PROTOTYPES = {"digits": (40, 20, 10), "fashion-mnist": (200, 100, 50)}
_RESULT = "pauc-result/1"
_FILE = "result.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a comparison: a method, and settings of its own."""

    name: str  # of the line and of its folder
    method: str
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What decides a run: equal ones are not run again."""

    name: str
    method: str
    data: str
    seed: int
    epochs: int | None
    overrides: Mapping[str, Any]
    layer: str
    prototypes: tuple[int, ...] | None  # that NEMD is measured with; None: by the number of images

    @property
    def settings(self) -> dict[str, Any]:
        """All settings that the recipe does not give."""
        return {**self.overrides, **({} if self.epochs is None else {"epochs": self.epochs})}


def compare(
    entries: Sequence[Entry | str],
    data: str,
    *,
    seeds: Sequence[int],
    out: Path,
    epochs: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    layer: str = "projector",
    workers: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Train every entry with every seed, evaluate and analyse it; gives the page's path.

    entries: names of methods, or entries with settings; those in `overrides` are for all. layer:
    where NEMD is measured: projector (the space of the loss; backbone for methods without) or
    backbone. workers: trainings at a time, each in a process of its own. A run that fails is shown
    as such. Raises InputError for methods, settings or data that cannot be used.
    """
    lines = [Entry(name=e, method=e) if isinstance(e, str) else e for e in entries]
    if layer not in ("projector", "backbone"):
        raise InputError(f"--layer: expected projector or backbone, got {layer!r}; choose one")
    asked = [
        Asked(
            name=line.name,
            method=line.method,
            data=data,
            seed=seed,
            epochs=epochs,
            overrides={**(overrides or {}), **line.overrides},
            layer=layer,
            prototypes=_PROTOTYPES.get(data.partition(":")[0]),
        )
        for seed in seeds
        for line in lines
    ]
    for job in asked:  # a slip in the last one must not wait for the first to be trained
        load_config(job.method, recipe_for(data), job.settings)
    runs: dict[tuple[str, int], TrainedRun] = {}
    with bar("training and analysing", len(asked)) as advance:
        for job, found in _results(asked, out, workers):
            runs[job.name, job.seed] = found
            advance(1)
            say(_line(found))
    ordered = [runs[line.name, seed] for line in lines for seed in seeds]
    return write_trainings(ordered, out, about=_about(lines, asked[0], seeds))


def _results(asked: Sequence[Asked], out: Path, workers: int) -> Iterator[tuple[Asked, TrainedRun]]:
    """Give what is there, then train the rest, each in a process: its peak memory is its own."""
    missing = []
    for job in asked:
        folder = out / job.name / f"seed-{job.seed}"
        found = _kept(folder / _FILE, job)
        if found is None:
            missing.append((job, folder))
        else:
            yield job, found
    if missing:
        processes = multiprocessing.get_context("spawn")
        with processes.Pool(workers, end_with_parent, maxtasksperchild=1) as pool:
            yield from pool.imap_unordered(_run, missing)


def _about(lines: Sequence[Entry], job: Asked, seeds: Sequence[int]) -> dict[str, str]:
    shared = {k: v for k, v in job.overrides.items() if k not in lines[0].overrides}
    settings = ", ".join(f"{k}={v}" for k, v in shared.items())
    own = {
        line.name: f"{line.method}, " + ", ".join(f"{k}={v}" for k, v in line.overrides.items())
        for line in lines
        if line.overrides
    }
    return {
        "data": job.data,
        "seeds": ", ".join(map(str, seeds)),
        "epochs": "as the recipe says" if job.epochs is None else str(job.epochs),
        "settings": settings or "as the recipe says",
        "NEMD": f"of the {job.layer}, training images, K = {_said(job.prototypes)}; numbers are "
        "the mean over K; verdicts, and the place beyond the axes, of the K that shows the most",
        "linear probe, kNN": "of the backbone, held-out images",
        **own,
    }


def _line(run: TrainedRun) -> str:
    if run.failed is not None:
        return f"{run.method} {run.seed}: {run.failed}"
    score, probe = run.numbers.get("score"), run.numbers.get("linear_probe")
    told = "no score" if score is None else f"score {score:.2f}"
    return f"{run.method} {run.seed}: {run.state}, {told}, linear probe {probe:.3f}"


def _run(job: tuple[Asked, Path]) -> tuple[Asked, TrainedRun]:
    asked, folder = job
    found = _trained(asked, folder)
    content = {"schema": _RESULT, "asked": asdict(asked), "result": asdict(found)}
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / _FILE, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return asked, found


def _kept(path: Path, asked: Asked) -> TrainedRun | None:
    """Give the result that an equal run left; None where there is none, or it had failed."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        same = content["asked"] == json.loads(json.dumps(asdict(asked)))
        result = content["result"]
        if not same or result["failed"] is not None:
            return None
        return TrainedRun(**{**result, "codes": tuple(result["codes"])})
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _trained(asked: Asked, folder: Path) -> TrainedRun:
    try:
        checkpoint = fit(
            asked.method, asked.data, seed=asked.seed, out=folder, overrides=asked.settings
        )
        accuracy = evaluate(checkpoint)
        analysis = _analysed(asked, checkpoint)
    except NemdError as error:
        said = str(error).replace(str(folder), folder.name)
        return TrainedRun(method=asked.name, seed=asked.seed, state=None, failed=said)
    nemd, spectrum = analysis.measures.nemd, analysis.measures.spectrum
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return TrainedRun(
        method=asked.name,
        seed=asked.seed,
        state=analysis.verdict.state,
        codes=analysis.verdict.codes,
        numbers={
            "linear_probe": accuracy.linear_probe,
            "knn": accuracy.knn,
            "score": nemd.score.value if nemd and nemd.score else None,
            "excess": nemd.excess.value if nemd and nemd.excess else None,
            "raw": nemd.raw.value if nemd and nemd.raw else None,
            "beyond_axes": _beyond_axes(analysis),
            "effective_rank": spectrum.effective_rank_centred,
            "seconds": _seconds(folder),
            "gigabytes": kilobytes * (1 if sys.platform == "darwin" else 1024) / 1e9,
        },
    )


def _seconds(folder: Path) -> float | None:
    """Seconds of all epochs, also of those before a run was gone on with; None without a log."""
    log = folder / "log.jsonl"
    if not log.exists():
        return None
    lines = log.read_text(encoding="utf-8").splitlines()
    return float(sum(json.loads(line)["seconds"] for line in lines))


def _beyond_axes(analysis: nt.Analysis) -> float | None:
    found = [c.nemd.beyond_axes for c in analysis.measures.clusterings if c.nemd is not None]
    return max((value for value in found if value is not None), default=None)


def _said(counts: tuple[int, ...] | None) -> str:
    return "by the number of images" if counts is None else ", ".join(map(str, counts))


def _analysed(asked: Asked, checkpoint: Path) -> nt.Analysis:
    """Analyse the layer that was asked for; the backbone where the method has no projector."""
    rebuilt = rebuild(checkpoint)
    if asked.layer == "projector" and rebuilt.training.branches:
        return nt.analyze(checkpoint, asked.data, asked.prototypes, seed=0)
    images = open_split(asked.data, "train", rebuilt.config.image_size)
    training = rebuilt.training.eval()
    rows = apply(images, rebuilt.pixels, training.features, torch.device("cpu"))
    return nt.analyze(nt.Embeddings(rows, labels=images.labels), None, asked.prototypes, seed=0)
