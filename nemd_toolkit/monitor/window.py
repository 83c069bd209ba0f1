"""The latest rows of a training, in memory of a fixed size."""

import torch
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.errors import InputError

__all__ = ["Window"]


class Window:
    """A ring of the last `size` rows on their own device: size · d · 4 bytes, and no more.

    >>> window = Window(3)
    >>> window.add(torch.arange(8.0).reshape(4, 2))
    >>> window.rows().tolist()
    [[2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._ring: Tensor | None = None
        self._next = 0  # place of the next row
        self._held = 0

    def __len__(self) -> int:
        return self._held

    @torch.no_grad()
    def add(self, rows: Float[Tensor, "b d"]) -> None:
        """Take a batch's rows in place of the oldest; raises InputError for another dimension."""
        rows = rows.detach()[-self.size :]
        ring = self._ring
        if ring is None:
            ring = self._ring = rows.new_zeros(self.size, rows.shape[1], dtype=torch.float32)
        if rows.shape[1] != ring.shape[1]:
            raise InputError(
                f"monitor: expected embeddings of {ring.shape[1]} dimensions as before, got "
                f"{rows.shape[1]}; use one monitor for each layer"
            )
        before = min(len(rows), self.size - self._next)  # what fits before the ring's end
        ring[self._next : self._next + before] = rows[:before]
        ring[: len(rows) - before] = rows[before:]
        self._next = (self._next + len(rows)) % self.size
        self._held = min(self.size, self._held + len(rows))

    def rows(self) -> Float[Tensor, "n d"]:
        """Give what is held, the oldest first; none is float32 (0, 0)."""
        if self._ring is None:
            return torch.zeros(0, 0)
        if self._held < self.size:
            return self._ring[: self._held]
        return self._ring.roll(-self._next, 0)
