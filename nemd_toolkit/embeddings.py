"""Embeddings: unit vectors with labels, groups and ids; reading and writing them.

Formats: .npy, .npz (keys vectors, labels, groups, ids), .pt, .safetensors, .parquet. No file is
ever unpickled into objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from nemd_toolkit.errors import InputError
from nemd_toolkit.unit_rows import RowParts, one_part, unit_rows

__all__ = ["Embeddings"]

_UNIT = 1e-3  # rows within this of length 1 count as unit: half-precision storage rounds so

Column = Sequence[Any] | NDArray[Any] | Tensor


@dataclass(frozen=True, slots=True, init=False, eq=False)
class Embeddings:
    """n unit vectors in R^d, float32 on the CPU, with what is known of each row.

    Rows of other lengths are normalised, and `lengths` keeps what they had, so that a report can
    say so. Beyond the memory limit the vectors lie in a temporary file, see `scratch`. Raises
    InputError for anything but a finite (n, d) array with n ≥ 1, d ≥ 2, and columns of length n.

    >>> e = Embeddings([[3.0, 4.0], [0.0, 2.0]], labels=["cat", "dog"])
    >>> e.vectors
    tensor([[0.6000, 0.8000], [0.0000, 1.0000]])
    >>> e.norms, e.were_unit
    ((2.0, 5.0), False)
    """

    vectors: Float[Tensor, "n d"]
    labels: NDArray[Any] | None  # one per row, numbers or strings
    groups: NDArray[Any] | None  # rows of one group are views of one sample
    ids: NDArray[Any] | None
    lengths: Float[Tensor, " n"]  # of the rows as they came, float64
    notes: tuple[str, ...]  # how they were made, for a report; not kept in files

    def __init__(
        self,
        vectors: Any,
        labels: Column | None = None,
        groups: Column | None = None,
        ids: Column | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        rows = vectors if isinstance(vectors, RowParts) else one_part(vectors, "embeddings")
        unit, lengths = unit_rows(rows)
        if not bool(lengths.isfinite().all()):
            raise InputError(
                "embeddings: expected rows of a length that float64 can hold, got longer ones; "
                "scale them down"
            )
        fields = {
            "vectors": unit,
            "labels": _column(labels, rows.count, "labels"),
            "groups": _column(groups, rows.count, "groups"),
            "ids": _column(ids, rows.count, "ids"),
            "lengths": lengths,
            "notes": tuple(notes),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.vectors)

    def with_labels(self, labels: Column) -> "Embeddings":
        """Give the same rows with other labels."""
        other = object.__new__(Embeddings)
        for name in (
            "vectors",
            "groups",
            "ids",
            "lengths",
            "notes",
        ):  # to the bit, and not normalised anew
            object.__setattr__(other, name, getattr(self, name))
        object.__setattr__(other, "labels", _column(labels, len(self), "labels"))
        return other

    @property
    def dim(self) -> int:
        """Number of coordinates, d."""
        return int(self.vectors.shape[1])

    @property
    def norms(self) -> tuple[float, float]:
        """Least and greatest length that rows came with."""
        return float(self.lengths.min()), float(self.lengths.max())

    @property
    def were_unit(self) -> bool:
        """Whether the rows came with unit length."""
        least, greatest = self.norms
        return abs(least - 1) <= _UNIT and abs(greatest - 1) <= _UNIT


def _column(values: Column | None, n: int, name: str) -> NDArray[Any] | None:
    if values is None:
        return None
    try:
        column = np.asarray(values)
    except ValueError:
        raise InputError(f"{name}: expected one per row ({n}), got lists of several") from None
    if column.dtype.kind == "S":
        column = np.char.decode(column, "utf-8", "replace")
    if column.ndim != 1 or len(column) != n:
        raise InputError(
            f"{name}: expected one per row ({n}), got an array of shape {column.shape}; "
            f"give {name} in the order of the rows"
        )
    if column.dtype.kind == "O":
        return column.astype(str)
    if column.dtype.kind not in "biuU":
        raise InputError(
            f"{name}: expected integers or strings, got {column.dtype}; convert them first"
        )
    return column
