"""Neural collapse of labelled embeddings: NC1 to NC4 (Papyan et al. 2020), CDNV (Galanti 2022).

For class c with rows x, n_c of them, mean μ_c, and centre μ_G = (1/K) Σ_c μ_c:

    Σ_W = (1/K) Σ_c (1/n_c) Σ_x (x − μ_c)(x − μ_c)ᵀ,   Σ_B = (1/K) Σ_c (μ_c − μ_G)(μ_c − μ_G)ᵀ.

Every class counts alike, whatever its size; for classes of equal size these are the papers'. Rows
are the unit rows of `Embeddings`, not the raw features of the papers, hence
tr Σ_W + tr Σ_B + ‖μ_G‖² = 1. Only NC3 and NC4 take the rows as they came, with their lengths, for
the head was trained on those. Classes of one row have no variance and are left out, and counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.errors import InputError
from nemd_toolkit.row_sums import sum_over_rows
from nemd_toolkit.sphere import chord

__all__ = ["MOST_CLASSES", "LinearHead", "NeuralCollapse", "measure_neural_collapse"]

MOST_CLASSES = 10_000  # pairs of classes grow as the square
# unit float32 rows err by this: shorter differences of class means, and singular values of the
# matrix of centred class means / √K up to it, are rounding and count as 0
_ROUNDING = float(np.finfo(np.float32).eps)
_ENTRIES = 4_000_000  # of a block of rows or of pairs of classes: 32 MB


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinearHead:
    """A linear classifier: logits h·Wᵀ + b on the rows h as they came, before normalising.

    A row of W for each class, in the sorted order of the distinct labels.
    """

    weights: Float[Tensor, "k d"]
    bias: Float[Tensor, " b"] | None = None  # b = k


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuralCollapse:
    """How far rows have drawn together by their labels: all numbers go to 0 at collapse, nc4 to 1.

    What is undefined is None, and `missing` says why. Where labels tell nothing about the rows,
    nc1 and CDNV grow with the rows per class (CDNV is then about half of them): compare runs of
    one data set.
    """

    classes: int  # K: those with at least two rows
    rows: int  # of these classes
    lone_classes: int  # of one row, left out
    nc1: float | None  # (1/K) tr(Σ_B† Σ_W) ≥ 0
    nc1_quotient: float | None  # tr Σ_W / tr Σ_B ≥ 0
    nc2_norms: float | None  # std / mean over c of ‖μ_c − μ_G‖, in [0, √(K−1)]
    nc2_angles_std: float | None  # std over c≠c' of cos(μ_c − μ_G, μ_c' − μ_G), in [0, 1]
    nc2_angles_offset: float | None  # mean of |that cosine + 1/(K−1)|, in [0, 1 + 1/(K−1)]
    # these two of the rows as they came, not set to length 1
    nc3: float | None  # ‖W/‖W‖_F − M/‖M‖_F‖²_F in [0, 4], M the rows μ_c − μ_G
    nc4: float | None  # share of rows whose class by the head is that of the nearest μ_c; 1 at NC
    cdnv: float | None  # mean over pairs of (var_p + var_q) / (2 ‖μ_p − μ_q‖²) ≥ 0
    cdnv_largest: float | None  # of a pair
    missing: str | None
    head_missing: str | None  # why nc3 and nc4 are None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Labelled:
    """Rows and their classes; nothing is copied but a block at a time."""

    points: Float[Tensor, "n d"]
    which: Int[Tensor, " n"]  # −1 for rows that are left out
    scale: Float[Tensor, " n"] | None = None  # of each row

    def summed(
        self, shape: Sequence[int], add: Callable[[Tensor, Tensor, Tensor], None]
    ) -> Float64[Tensor, "..."]:
        """Sum over the rows that count; `add` is given a sum, rows in float64, and their classes.

        Processes share the rows, see `sum_over_rows`.
        """

        def add_block(total: Tensor, block: Tensor, part: slice) -> None:
            kept = self.which[part] >= 0
            scaled = block if self.scale is None else block * self.scale[part, None]
            add(total, scaled[kept].double(), self.which[part][kept])

        return sum_over_rows(self.points, shape, add_block)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Classes:
    """Rows by class, and their first two moments in float64."""

    rows: _Labelled
    sizes: Int[Tensor, " k"]
    means: Float[Tensor, "k d"]
    variances: Float[Tensor, " k"]  # E‖x − μ_c‖²

    @property
    def k(self) -> int:
        return len(self.sizes)

    @property
    def count(self) -> int:
        return int(self.sizes.sum())

    @property
    def centred(self) -> Float[Tensor, "k d"]:
        return self.means - self.means.mean(0)


def measure_neural_collapse(
    embeddings: Embeddings, head: LinearHead | None = None
) -> NeuralCollapse | None:
    """Measure NC1, NC2 and CDNV of the labels, and NC3 and NC4 of a head; None without labels.

    nc1 is Fig. 6 of Papyan, Han & Donoho 2020 (PNAS 117:24652), nc2_norms Fig. 2, nc2_angles_std
    Fig. 3, nc2_angles_offset Fig. 4, nc3 Fig. 5, nc4 one minus Fig. 7; cdnv is the
    class-distance normalized variance of Galanti, György & Hutter 2022 (arXiv 2112.15121).
    Standard deviations divide by their count. With two classes NC2 is always 0; with K > d + 1 no
    simplex exists and NC2 cannot reach 0.

    Raises InputError for a head of another shape than (classes, d), or that is not finite or all 0.

    >>> triangle = [[1.0, 0.0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]]
    >>> found = measure_neural_collapse(Embeddings(triangle * 2, labels=[0, 1, 2] * 2))
    >>> found.nc1, round(found.nc2_norms, 6), round(found.nc2_angles_offset, 6), found.cdnv
    (0.0, 0.0, 0.0, 0.0)
    """
    if embeddings.labels is None:
        return None
    names, places = np.unique(embeddings.labels, return_inverse=True)
    if head is not None:
        _require_head(head, len(names), embeddings.dim)
    sizes = np.bincount(places)
    kept = torch.as_tensor(sizes > 1)
    k = int(kept.sum())
    if not 2 <= k <= MOST_CLASSES:
        reason = f"needs 2 to {MOST_CLASSES:,} classes of two rows or more, got {k:,}"
        return _unmeasured(k, int(sizes[sizes > 1].sum()), len(sizes) - k, reason)
    # kept classes are numbered anew
    which = torch.where(kept, kept.cumsum(0) - 1, -1)[torch.as_tensor(places)]
    found = _measure(_classes(_Labelled(points=embeddings.vectors, which=which)), len(sizes) - k)
    if head is None or found.nc1 is None:
        return found
    return replace(found, **_of_head(embeddings, which, kept, head))


def _of_head(
    embeddings: Embeddings, which: Int[Tensor, " n"], kept: Tensor, head: LinearHead
) -> dict[str, Any]:
    """NC3 and NC4, both blind to a common scale: lengths are taken as shares of the greatest."""
    greatest = embeddings.lengths.max()
    shares = (embeddings.lengths / greatest).float()
    classes = _classes(_Labelled(points=embeddings.vectors, which=which, scale=shares))
    if float(classes.centred.norm()) <= _ROUNDING:
        return {"head_missing": "all class means coincide before rows are set to length 1"}
    bias = torch.zeros(1) if head.bias is None else head.bias[kept].double() / greatest
    weights = head.weights[kept].double()
    return {
        "nc3": _nc3(classes.centred, weights),
        "nc4": _nc4(classes, weights, bias),
        "head_missing": None,
    }


def _measure(classes: _Classes, lone: int) -> NeuralCollapse:
    centred = classes.centred
    norms = centred.norm(dim=1)
    between = float(norms.square().mean())
    if between <= _ROUNDING**2:
        reason = "all class means coincide, so there is no variance between classes"
        return _unmeasured(classes.k, classes.count, lone, reason)
    reasons = []
    angles = _angles(centred / norms[:, None]) if float(norms.min()) > _ROUNDING else (None, None)
    if angles[0] is None:
        reasons.append("a class mean lies at the centre of all, so it has no angle (NC2)")
    pairs, coincident = _cdnv(classes)
    if coincident:
        every = classes.k * (classes.k - 1) // 2
        reasons.append(
            f"class means coincide in {coincident:,} of {every:,} pairs, where CDNV is infinite"
        )
    return NeuralCollapse(
        classes=classes.k,
        rows=classes.count,
        lone_classes=lone,
        nc1=_nc1(classes),
        nc1_quotient=float(classes.variances.mean()) / between,
        nc2_norms=float(norms.std(correction=0) / norms.mean()),
        nc2_angles_std=angles[0],
        nc2_angles_offset=angles[1],
        nc3=None,
        nc4=None,
        cdnv=pairs[0],
        cdnv_largest=pairs[1],
        missing="; ".join(reasons) or None,
        head_missing="no linear classifier was given",
    )


def _nc1(classes: _Classes) -> float:
    """(1/K) tr(Σ_B† Σ_W), from the singular vectors v and values σ of the centred means / √K.

    Σ_B = Σ σ² v vᵀ, so that tr(Σ_B† Σ_W) = Σ_v vᵀ Σ_W v / σ²; no d x d matrix is needed.
    """
    _, singular, axes = torch.linalg.svd(classes.centred / classes.k**0.5, full_matrices=False)
    found = singular > _ROUNDING
    scaled = axes[found] / singular[found, None]  # (r, d)

    def add(total: Tensor, rows: Tensor, which: Tensor) -> None:
        inside = (rows - classes.means[which]) @ scaled.T  # (b, r)
        total.index_add_(0, which, inside.square().sum(1))

    squares = classes.rows.summed((classes.k,), add)
    return float((squares / classes.sizes).mean() / classes.k)


def _angles(directions: Float[Tensor, "k d"]) -> tuple[float, float]:
    """Give the standard deviation of cosines over pairs, and the mean of |cosine + 1/(K−1)|."""
    k = len(directions)
    total = squares = absolute = 0.0
    for start in range(0, k, _step(k)):
        # the offset, not the cosine: near a simplex the squares of cosines would cancel
        offset = (directions[start : start + _step(k)] @ directions.T).clamp(-1, 1) + 1 / (k - 1)
        offset = offset.triu(start + 1)  # each pair once, and no class with itself
        total += float(offset.sum())
        squares += float(offset.square().sum())
        absolute += float(offset.abs().sum())
    pairs = k * (k - 1) / 2
    return max(0.0, squares / pairs - (total / pairs) ** 2) ** 0.5, absolute / pairs


def _cdnv(classes: _Classes) -> tuple[tuple[float, float] | tuple[None, None], int]:
    """Mean and largest CDNV over pairs of classes, and how many pairs have no distance."""
    k, step = classes.k, _step(classes.k)
    total = largest = 0.0
    coincident = 0
    for start in range(0, k, step):
        part = slice(start, start + step)
        distances = chord(classes.means[part], classes.means)
        first = torch.ones_like(distances).triu(start + 1) > 0  # each pair once
        coincident += int((distances[first] <= _ROUNDING).sum())
        both = classes.variances[part, None] + classes.variances[None, :]
        values = both[first] / (2 * distances[first].clamp_min(_ROUNDING).square())
        total += float(values.sum())
        largest = max(largest, float(values.max())) if len(values) else largest
    if coincident:
        return (None, None), coincident
    return (total / (k * (k - 1) / 2), largest), 0


def _nc3(centred: Float[Tensor, "k d"], weights: Float[Tensor, "k d"]) -> float:
    return float((weights / weights.norm() - centred / centred.norm()).square().sum())


def _nc4(classes: _Classes, weights: Float[Tensor, "k d"], bias: Float[Tensor, " b"]) -> float:
    def add(total: Tensor, rows: Tensor, _: Tensor) -> None:
        for some in rows.split(_step(classes.k)):
            told = (some @ weights.T + bias).argmax(1)
            total += (told == chord(some, classes.means).argmin(1)).sum()

    return float(classes.rows.summed((), add)) / classes.count


def _classes(labelled: _Labelled) -> _Classes:
    """Take means and variances of the classes."""
    points, which = labelled.points, labelled.which
    sizes = torch.bincount(which[which >= 0])

    def add_rows(total: Tensor, rows: Tensor, of: Tensor) -> None:
        total.index_add_(0, of, rows)

    means = labelled.summed((len(sizes), points.shape[1]), add_rows) / sizes[:, None]

    def add_squares(total: Tensor, rows: Tensor, of: Tensor) -> None:
        total.index_add_(0, of, (rows - means[of]).square().sum(1))

    squares = labelled.summed((len(sizes),), add_squares)
    return _Classes(rows=labelled, sizes=sizes, means=means, variances=squares / sizes)


def _step(k: int) -> int:
    return max(1, _ENTRIES // k)


def _require_head(head: LinearHead, k: int, d: int) -> None:
    shape, bias = tuple(head.weights.shape), head.bias
    if shape != (k, d) or (bias is not None and tuple(bias.shape) != (k,)):
        got = "" if bias is None else f" and bias {tuple(bias.shape)}"
        raise InputError(
            f"head: expected weights ({k}, {d}), a row for each label in sorted order, and a bias "
            f"({k},) or none, got weights {shape}{got}; give the classifier of these classes"
        )
    values = head.weights if bias is None else torch.cat([head.weights.flatten(), bias])
    if not bool(values.isfinite().all()) or not bool(head.weights.any()):
        raise InputError(
            "head: expected finite weights that are not all 0, got others; give a trained head"
        )


def _unmeasured(k: int, rows: int, lone: int, reason: str) -> NeuralCollapse:
    return NeuralCollapse(
        classes=k,
        rows=rows,
        lone_classes=lone,
        nc1=None,
        nc1_quotient=None,
        nc2_norms=None,
        nc2_angles_std=None,
        nc2_angles_offset=None,
        nc3=None,
        nc4=None,
        cdnv=None,
        cdnv_largest=None,
        missing=reason,
        head_missing=reason,
    )
