"""Maps that keep neighbours, by openTSNE or UMAP: to look at, never part of the verdict.

Unlike principal axes they tear distances apart: neither the gaps between groups nor their sizes
mean anything, and another seed or version gives another map.
"""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from nemd_toolkit.errors import InputError
from nemd_toolkit.measures import Measures
from nemd_toolkit.progress import bar
from nemd_toolkit.scratch import rows_at

__all__ = ["MAPS", "MapKind", "NeighbourMap", "place_neighbours", "require_map"]

MapKind = Literal["tsne", "umap"]
MAPS: dict[str, str] = {"tsne": "openTSNE", "umap": "umap-learn"}  # kind: distribution
ROWS = 2_000  # drawn: t-SNE takes half a minute for them
LEAST_ROWS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourMap:
    """Places of a sample of embeddings on a plane; only who lies beside whom means something."""

    library: str  # and its version
    rows: Int[np.ndarray, " m"]  # which embeddings
    points: Float[np.ndarray, "m 2"]


def require_map(kind: str | None) -> None:
    """Raise InputError for a kind that is none, or whose library is missing.

    >>> require_map("pca")
    Traceback (most recent call last):
    ...
    nemd_toolkit.errors.InputError: --map: expected tsne or umap, got 'pca'; the map of principal \
axes is always there
    """
    if kind is None:
        return
    if kind not in MAPS:
        raise InputError(
            f"--map: expected {' or '.join(MAPS)}, got {kind!r}; the map of principal axes is "
            "always there"
        )
    try:
        __import__({"tsne": "openTSNE", "umap": "umap"}[kind])
    except ImportError:
        raise InputError(
            f"--map {kind}: expected the package {MAPS[kind]}, found none; "
            "pip install 'nemd-toolkit[maps]'"
        ) from None


def place_neighbours(
    measures: Measures, kind: MapKind | None, *, seed: int = 0
) -> NeighbourMap | None:
    """Place at most 2,000 of the embeddings that the map of principal axes shows; none for no kind.

    By cosine, with the library's defaults (perplexity 30, or 15 neighbours). Same seed, same
    machine, same version: same map. Raises InputError as `require_map`, and for fewer than 32
    embeddings.
    """
    require_map(kind)
    if kind is None:
        return None
    every = measures.projection.rows
    rows = every[np.linspace(0, len(every) - 1, min(ROWS, len(every))).round().astype(np.int64)]
    if len(rows) < LEAST_ROWS:
        raise InputError(
            f"--map: expected at least {LEAST_ROWS} embeddings, got {len(rows)}; leave it out"
        )
    every_point = measures.clusterings[0].prototypes.embeddings.vectors
    points = rows_at(every_point, torch.from_numpy(rows)).numpy()
    with bar(f"drawing a map by {MAPS[kind]}", 1):
        placed = _tsne(points, seed) if kind == "tsne" else _umap(points, seed)
    return NeighbourMap(
        library=f"{MAPS[kind]} {version(MAPS[kind])}", rows=rows, points=np.asarray(placed)
    )


def _tsne(points: Float[np.ndarray, "m d"], seed: int) -> Any:
    from openTSNE import TSNE

    perplexity = min(30, (len(points) - 1) // 3)
    return TSNE(metric="cosine", perplexity=perplexity, random_state=seed, n_jobs=1).fit(points)


def _umap(points: Float[np.ndarray, "m d"], seed: int) -> Any:
    from umap import UMAP

    return UMAP(metric="cosine", random_state=seed, n_jobs=1).fit_transform(points)
