"""The whole way: source → embeddings → prototypes → measures → findings → analysis."""

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.errors import InputError
from nemd_toolkit.findings import decide, judge
from nemd_toolkit.measures import measure
from nemd_toolkit.progress import bar
from nemd_toolkit.prototypes import (
    Prototypes,
    default_counts,
    fit_prototypes,
    prototypes_from_labels,
)
from nemd_toolkit.report.analysis import Analysis, Provenance

__all__ = ["analyze"]

Prototyping = int | Literal["own", "labels"]


def analyze(
    source: Any,
    data: str | None = None,
    prototypes: Sequence[Prototyping] | None = None,
    seed: int = 0,
) -> Analysis:
    """x."""
    start = time.perf_counter()
    embeddings = source if isinstance(source, Embeddings) else Embeddings(source)
    clusterings = []
    for wanted in prototypes or default_counts(len(embeddings)):
        if wanted == "labels":
            clusterings.append(prototypes_from_labels(embeddings))
        else:
            clusterings.append(fit_prototypes(embeddings, wanted, seed=seed))
    measures = measure(embeddings, clusterings, seed=seed)
    findings = judge(measures)
    return Analysis(
        measures=measures,
        findings=findings,
        verdict=decide(findings),
        provenance=Provenance(
            source="array",
            sha256=None,
            layout="embeddings",
            layer=None,
            data=data,
            seed=seed,
            command="nemd analyze array.npy",
            versions={"torch": torch.__version__},
            device="cpu",
            seconds=time.perf_counter() - start,
            notes=(),
        ),
    )
