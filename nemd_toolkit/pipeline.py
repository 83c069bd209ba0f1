"""The whole way: source → embeddings → prototypes → measures → findings → analysis."""

import hashlib
import platform
import shlex
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nemd_toolkit import ranks, stages
from nemd_toolkit.encoder_choice import Encoder
from nemd_toolkit.errors import InputError
from nemd_toolkit.findings import (
    Baseline,
    Finding,
    Thresholds,
    decide,
    judge,
    judge_against,
    parse_codes,
)
from nemd_toolkit.findings import ignore as ignore_codes
from nemd_toolkit.measures import Measures, measure
from nemd_toolkit.memory import in_words, the_limit, within_memory
from nemd_toolkit.progress import bar
from nemd_toolkit.prototypes import (
    Prototypes,
    default_counts,
    fit_prototypes,
    prototypes_from_checkpoint,
    prototypes_from_labels,
)
from nemd_toolkit.report.analysis import Analysis, Provenance
from nemd_toolkit.report.baseline_file import numbers_of, read_baseline, require_comparable
from nemd_toolkit.report.comparability import Setting
from nemd_toolkit.report.exemplars import Exemplars, find_exemplars
from nemd_toolkit.report.gallery import chosen_clustering
from nemd_toolkit.report.neighbour_map import (
    MapKind,
    NeighbourMap,
    place_neighbours,
    require_map,
)
from nemd_toolkit.scratch import scratch_size
from nemd_toolkit.sources import Opened, open_source

__all__ = ["Prototyping", "analyze", "parse_prototypes", "versions"]

Prototyping = int | Literal["own", "labels"]
_LIBRARIES = ("timm", "torchvision", "transformers")  # that an encoder may come from
_PACKAGES = ("nemd-toolkit", "torch", "numpy", "scipy", "POT", "scikit-learn")


@within_memory
def analyze(
    source: Any,
    data: str | None = None,
    prototypes: Prototyping | Sequence[Prototyping] | None = None,
    seed: int = 0,
    *,
    labels: Sequence[Any] | NDArray[Any] | Path | str | None = None,
    layer: str | None = None,
    split: str = "train",
    device: str = "cpu",
    cache: Path | str | None = None,
    layout: str | None = None,
    branch: str | None = None,
    encoder: Encoder | None = None,
    thresholds: Thresholds | None = None,
    ignore: str | Sequence[str] = (),
    baseline: Path | str | None = None,
    neighbour_map: MapKind | None = None,
    memory: str | int | None = None,  # noqa: ARG001  (within_memory reads it)
) -> Analysis:
    """Analyse a checkpoint, embeddings (file, `Embeddings` or array) for collapse.

    data: images to embed with a checkpoint, such as "digits". prototypes: numbers for k-means,
    "own" for those in the checkpoint, "labels", or several of these; by default three numbers
    chosen from the number of samples. labels: one per row, or a file of them. layer: "projector"
    (the default where there is one) or "backbone". cache: folder of embeddings to take from and add
    to. layout: of the checkpoint, instead of recognising it. branch: of several encoders in it the
    one, such as "query". encoder: a network for the checkpoint's weights, such as "timm:NAME" or a
    module ("package.module:function" runs your own code). All these are as in `embed`. ignore:
    codes of checks that do not count; they stay visible. baseline: report.json of a reference run
    to judge against, instead of by absolute thresholds. neighbour_map: "tsne" or "umap", a picture
    more that no verdict rests on. memory: that the process may take, such as "4GB", by default half
    of what is available; rows beyond it lie in a temporary file (`memory_limit`), which changes no
    number, so that no report's command names it. Same seed, same machine, same numbers.

    Raises InputError for what cannot be read or analysed, and a baseline that is not comparable.

    >>> import torch
    >>> equal = torch.ones(200, 8)
    >>> analyze(equal).verdict.codes[0]
    'NEMD001'
    """
    start, limits = time.perf_counter(), thresholds or Thresholds()
    require_map(neighbour_map)
    ignored, reference = parse_codes(ignore, "ignore"), _reference(baseline, limits)
    opened = open_source(
        source,
        data,
        layer=layer,
        split=split,
        labels=labels,
        device=device,
        cache=cache,
        layout=layout,
        branch=branch,
        encoder=encoder,
    )
    clusterings = _prototypes(opened, prototypes, seed)
    _require_comparable(reference, opened, clusterings)
    measures = measure(opened.embeddings, clusterings, seed=seed, log=opened.log, head=opened.head)
    findings = ignore_codes(_judged(measures, limits, reference), ignored)
    against = reference[0] if reference else None
    exemplars, unread = _exemplars(opened, measures)
    judging = {"--ignore": ",".join(ignored), "--baseline": against.file if against else None}
    options = {"--layout": layout, "--encoder": _word(encoder), "--map": neighbour_map} | judging
    return Analysis(
        measures=measures,
        findings=findings,
        verdict=decide(findings, baseline=against.state if against else None),
        baseline=against,
        exemplars=exemplars,
        neighbour_map=_map(measures, neighbour_map, seed),
        provenance=_provenance(
            opened,
            command=_command(opened, clusterings, seed, split, device, options),
            notes=_notes(opened, measures, chosen=prototypes is None) + unread,
            seed=seed,
            device=device,
            start=start,
        ),
    )


def _exemplars(opened: Opened, measures: Measures) -> tuple[tuple[Exemplars, ...], tuple[str, ...]]:
    """Images to show of the clustering that figures show, and why there are none."""
    if opened.images is None:
        return (), ()
    try:
        return find_exemplars(chosen_clustering(measures.clusterings), opened.images), ()
    except InputError as reason:  # embeddings may come from a cache, their images be gone
        return (), (f"no images are shown: {reason}",)


def _map(measures: Measures, kind: MapKind | None, seed: int) -> NeighbourMap | None:
    """Place neighbours, in the process that writes the report alone: it takes all cores."""
    return ranks.first("the map", lambda: place_neighbours(measures, kind, seed=seed))


def parse_prototypes(text: str | None) -> tuple[Prototyping, ...] | None:
    """Read numbers, 'own' and 'labels' separated by commas; InputError for anything else.

    >>> parse_prototypes("50,100,labels")
    (50, 100, 'labels')
    """
    if text is None:
        return None
    found: list[Prototyping] = []
    for word in (part.strip() for part in text.split(",")):
        if word.isascii() and word.isdigit() and len(word) < 10:
            found.append(int(word))
        elif word == "own":
            found.append("own")
        elif word == "labels":
            found.append("labels")
        else:
            raise InputError(
                f"--prototypes: expected numbers, own or labels, got {text!r}; "
                "write for instance 50,100,labels"
            )
    return tuple(found)


def versions() -> dict[str, str]:
    """Versions of what the numbers rest on."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


def _identity(opened: Opened, seed: int) -> dict[str, str]:
    """All that finished stages rest on beside their own arguments."""
    vectors = opened.embeddings.vectors
    source = opened.sha256 or hashlib.sha256(vectors.numpy().data).hexdigest()
    chosen = (opened.layer, opened.branch, opened.encoder, opened.data, stages.fingerprint(vectors))
    return {"source": source, "chosen": repr(chosen), "seed": str(seed), **versions()}


def _word(encoder: Encoder | None) -> str | None:
    """Give the encoder for a command line, which only a name can be on."""
    return encoder if encoder is None or isinstance(encoder, str) else "ENCODER"


def _provenance(
    opened: Opened, *, command: str, notes: tuple[str, ...], seed: int, device: str, start: float
) -> Provenance:
    return Provenance(
        source=opened.name,
        sha256=opened.sha256,
        layout=opened.layout,
        layer=opened.layer,
        branch=opened.branch,
        default_branch=opened.default_branch,
        encoder=opened.encoder,
        data=opened.data,
        seed=seed,
        command=command,
        versions=_versions_of(opened),
        device=device,
        seconds=time.perf_counter() - start,
        notes=notes,
    )


def _versions_of(opened: Opened) -> dict[str, str]:
    library = (opened.encoder or "").partition(":")[0]
    return versions() | ({library: version(library)} if library in _LIBRARIES else {})


_Reference = tuple[Baseline, Setting]


def _reference(baseline: Path | str | None, limits: Thresholds) -> _Reference | None:
    return None if baseline is None else read_baseline(baseline, epsilon=limits.duplicate_epsilon)


def _require_comparable(
    reference: _Reference | None, opened: Opened, clusterings: Sequence[Prototypes]
) -> None:
    if reference is None:
        return
    ours = Setting(
        count=len(opened.embeddings),
        dim=opened.embeddings.dim,
        clusterings=tuple((p.k, p.source) for p in clusterings),
        n=None,  # not chosen yet, and of no matter to what is compared
        data=opened.data,
        layer=opened.layer,
        branch=None if opened.default_branch else opened.branch,
    )
    require_comparable(reference[0], reference[1], ours)


def _judged(
    measures: Measures, limits: Thresholds, reference: _Reference | None
) -> tuple[Finding, ...]:
    findings = judge(measures, limits)
    if reference is None:
        return findings
    ours = numbers_of(measures, epsilon=limits.duplicate_epsilon)
    return judge_against(findings, ours, reference[0].numbers, limits)


def _prototypes(
    opened: Opened, wanted: Prototyping | Sequence[Prototyping] | None, seed: int
) -> list[Prototypes]:
    if isinstance(wanted, (int, np.integer, str)):
        wanted = (wanted,)
    if wanted is not None and len(wanted) == 0:
        raise InputError("prototypes: expected at least one number, 'own' or 'labels', got none")
    choices = default_counts(len(opened.embeddings)) if wanted is None else wanted
    stages.identify(lambda: _identity(opened, seed))  # from here on work is long
    found: list[Prototypes] = []
    with bar("finding prototypes", len(choices)) as advance:
        for choice in choices:
            found += _prototypes_of(opened, choice, seed)
            advance(1)
    return found


def _prototypes_of(opened: Opened, choice: Prototyping, seed: int) -> Sequence[Prototypes]:
    if choice == "labels":
        return [prototypes_from_labels(opened.embeddings)]
    if choice == "own":
        if opened.checkpoint is None:
            raise InputError(
                f"prototypes: expected a checkpoint for 'own', got {opened.layout}; "
                "give numbers for k-means"
            )
        # an encoder that is given may find branches of its own in a file of no known layout
        branch = opened.branch if opened.branch in opened.checkpoint.branches else None
        return prototypes_from_checkpoint(opened.checkpoint, opened.embeddings, branch)
    if isinstance(choice, (int, np.integer)):  # NumPy's too
        return [fit_prototypes(opened.embeddings, int(choice), seed=seed)]
    raise InputError(f"prototypes: expected numbers, 'own' or 'labels', got {choice!r}")


def _notes(opened: Opened, measures: Measures, *, chosen: bool) -> tuple[str, ...]:
    e = opened.embeddings
    clusterings = [c.prototypes for c in measures.clusterings]
    notes = list(e.notes)
    if not e.were_unit:
        notes.append(
            f"rows were not unit vectors (lengths {e.norms[0]:.3g}…{e.norms[1]:.3g}) and were "
            "normalised"
        )
    held, limit = scratch_size(e.vectors), the_limit()
    if held and limit is not None:
        notes.append(
            f"rows are kept in a temporary file of {in_words(held)}: memory limit {in_words(limit)}"
        )
    sampled = [p for p in clusterings if p.fitted_rows is not None and p.fitted_rows < len(e)]
    if sampled:
        sizes = ", ".join(f"{p.fitted_rows:,} (K={p.k:,})" for p in sampled)
        notes.append(f"k-means fitted to a sample of the {len(e):,} rows: {sizes}")
    notes += _sampled_pairs(measures)
    if opened.head is not None:
        notes.append(
            "NC3 and NC4 take the rows of the checkpoint's classifier to be the labels in sorted "
            "order; in another order they mean nothing"
        )
    if chosen:
        counts = ", ".join(str(p.k) for p in clusterings)
        notes.append(f"numbers of prototypes chosen from the {len(e):,} samples: {counts}")
    return tuple(notes)


def _sampled_pairs(measures: Measures) -> list[str]:
    """Say which clusterings' NEMD rests on some of the pairs; the numbers are in report.json too.

    Of members at most 2n are taken anyway, and n stands beside the score.
    """
    found = [(c.k, c.nemd) for c in measures.clusterings if c.nemd is not None]
    sampled = [(k, nemd) for k, nemd in found if nemd.pairs < nemd.pairs_total]
    if not sampled:
        return []
    pairs = ", ".join(f"{n.pairs:,} of {n.pairs_total:,} (K={k:,})" for k, n in sampled)
    return [
        f"NEMD measured on a sample of the pairs of prototypes: {pairs}; and on two samples of "
        f"{sampled[0][1].n} members of each prototype in them"
    ]


def _command(
    opened: Opened,
    clusterings: Sequence[Prototypes],
    seed: int,
    split: str,
    device: str,
    judging: Mapping[str, str | None],
) -> str:
    kinds = dict.fromkeys(str(p.k) if p.source == "k-means" else p.source for p in clusterings)
    words = ["nemd", "analyze", opened.name, "--prototypes", ",".join(kinds), "--seed", str(seed)]
    options = {"--data": opened.spec, "--layer": opened.layer, "--labels": opened.labels}
    options |= {"--branch": None if opened.default_branch else opened.branch}
    if opened.checkpoint is not None:
        options |= {"--split": split, "--device": device}
    for option, value in (options | dict(judging)).items():
        words += [option, value] if value else []
    return shlex.join(words)
