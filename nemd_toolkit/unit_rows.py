"""Rows as they came, from one array or many files, set on the sphere a block at a time.

The unit rows lie in memory or in a temporary file, as scratch.py decides; what they were made from
is read once, in blocks, and never held as a whole.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from nemd_toolkit.errors import InputError
from nemd_toolkit.progress import bar
from nemd_toolkit.scratch import block_rows, empty_rows, mapped_rows, release
from nemd_toolkit.sphere import not_finite, unit_and_length, without_direction

__all__ = ["Part", "RowParts", "one_part", "plain_blocks", "unit_rows"]

_WORTH_A_BAR = 5e7  # entries: a second or two


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Rows that follow one another, such as those of one file."""

    name: str  # in errors
    count: int
    blocks: Iterable[Float[Tensor, "b d"]]  # float32 or float64, `count` rows together


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowParts:
    """(count, dim) rows in parts, each read when its turn comes."""

    dim: int
    parts: Sequence[Part]

    @property
    def count(self) -> int:
        """Number of rows in all parts."""
        return sum(part.count for part in self.parts)


def one_part(rows: Any, name: str) -> RowParts:
    """Check the type of an array, tensor or list; its rows are read in blocks later.

    Raises InputError, beginning with `name`, for anything but a real (n, d) array.

    >>> one_part([[3.0, 4.0]], "embeddings").count
    1
    """
    try:
        points = rows if isinstance(rows, np.ndarray | Tensor) else torch.as_tensor(rows)
        kind = points.dtype
        if isinstance(kind, np.dtype):  # torch has no type for some
            kind = torch.as_tensor(np.empty(0, kind.newbyteorder("="))).dtype
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{name}: expected a numeric (n, d) array, got {type(rows).__name__} "
            f"({error}); give numbers, one row per sample"
        ) from None
    shape = tuple(points.shape)
    if len(shape) != 2 or 0 in shape or kind.is_complex:
        raise _no_matrix(name, shape, str(kind).removeprefix("torch."))
    part = Part(name=name, count=shape[0], blocks=plain_blocks(points))
    return RowParts(dim=shape[1], parts=[part])


def _no_matrix(name: str, shape: tuple[int, ...], kind: str) -> InputError:
    return InputError(
        f"{name}: expected a real (n, d) array with n ≥ 1 and d ≥ 2, got shape "
        f"{shape} of {kind}; give one row per sample"
    )


def plain_blocks(rows: Tensor | NDArray[Any]) -> Iterator[Float[Tensor, "b d"]]:
    """Give rows in blocks of float32 or float64 on the CPU, whatever type and byte order they have.

    >>> [block.dtype for block in plain_blocks(np.ones((2, 3), dtype=">i2"))]
    [torch.float32]
    """
    step = block_rows(rows.shape[1])
    swapped = isinstance(rows, np.ndarray) and not rows.dtype.isnative
    if isinstance(rows, np.ndarray):
        rows = mapped_rows(rows.view(rows.dtype.newbyteorder("=")))
    for some in rows.split(step):
        block = torch.from_numpy(some.numpy().byteswap()) if swapped else some.detach().cpu()
        yield block if block.dtype in (torch.float32, torch.float64) else block.float()
        release(some)


def unit_rows(rows: RowParts) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"]]:
    """Set rows to length 1 in float32, and give the lengths that they had, in float64.

    Raises InputError for less than a row of two numbers, and, naming the part, for other rows than
    announced, and for those that are not finite or have no direction: how many, and the first.

    >>> part = Part(name="rows", count=1, blocks=[torch.tensor([[3.0, 4.0]])])
    >>> unit_rows(RowParts(dim=2, parts=[part]))
    (tensor([[0.6000, 0.8000]]), tensor([5.], dtype=torch.float64))
    """
    if rows.count < 1 or rows.dim < 2:
        raise _no_matrix("embeddings", (rows.count, rows.dim), "numbers")
    vectors = empty_rows(rows.count, rows.dim)
    lengths = torch.empty(rows.count, dtype=torch.float64)
    start = 0
    with bar("reading rows", rows.count if rows.count * rows.dim >= _WORTH_A_BAR else 0) as advance:
        for part in rows.parts:
            stop = start + part.count
            _fill(part, vectors[start:stop], lengths[start:stop], advance)
            start = stop
    return vectors, lengths


def _fill(
    part: Part,
    vectors: Float[Tensor, "m d"],
    lengths: Float[Tensor, " m"],
    advance: Callable[[int], None],
) -> None:
    infinite, zero = _Tally(), _Tally()
    start = 0
    for block in part.blocks:
        stop = start + len(block)
        if stop > part.count or block.shape[1] != vectors.shape[1]:
            raise _other_rows(part, vectors.shape[1], (stop, block.shape[1]))
        largest = block.abs().amax(dim=1)  # of a row with NaN it is NaN
        infinite.add(~largest.isfinite())
        zero.add(largest == 0)
        unit, lengths[start:stop] = unit_and_length(block, largest)
        vectors[start:stop] = unit
        release(vectors[start:stop])
        advance(stop - start)
        start = stop
    if start != part.count:
        raise _other_rows(part, vectors.shape[1], (start, vectors.shape[1]))
    if infinite.count:
        raise not_finite(part.name, infinite.count, part.count, infinite.first)
    if zero.count:
        raise without_direction(part.name, zero.count, part.count, zero.first)


def _other_rows(part: Part, dim: int, got: tuple[int, int]) -> InputError:
    return InputError(
        f"{part.name}: expected {part.count:,} rows of {dim} numbers, got {got[0]:,} of {got[1]}; "
        "the file is damaged, or its rows differ in length"
    )


class _Tally:
    """How many rows of blocks that follow one another are so, and which is the first."""

    def __init__(self) -> None:
        self.count = self.first = self._seen = 0

    def add(self, which: Tensor) -> None:
        found = int(which.sum())
        if found and not self.count:
            self.first = self._seen + int(which.nonzero()[0])
        self.count += found
        self._seen += len(which)
