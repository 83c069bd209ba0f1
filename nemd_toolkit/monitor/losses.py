"""The loss since the last check, added up where it is: a training need not wait for its value."""

from dataclasses import dataclass
from math import isfinite, log

import torch
from torch import Tensor

from nemd_toolkit.errors import InputError

__all__ = ["LossNumbers", "Losses"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossNumbers:
    """Means over the steps since the last check that had a finite loss."""

    steps: int
    not_finite: int  # of them, with a loss of NaN or infinity: left out of the mean
    mean: float | None  # None where no step had a finite loss
    chance: float | None  # mean of ln K: the loss of equal logits; None where K is not known

    @property
    def gap(self) -> float | None:
        """Nats between the loss and that of guessing; None where either is not known."""
        return None if self.mean is None or self.chance is None else abs(self.mean - self.chance)


class Losses:
    """Sums on the loss's device, read once a check.

    >>> losses = Losses()
    >>> losses.add(torch.tensor(2.0), classes=None)
    >>> losses.add(float("nan"), classes=None)
    >>> losses.read()
    LossNumbers(steps=2, not_finite=1, mean=2.0, chance=None)
    >>> losses.read() is None
    True
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._steps, self._chance, self._known = 0, 0.0, True
        self._sum: Tensor | float = 0.0
        self._finite: Tensor | int = 0

    def add(self, loss: Tensor | float, classes: int | None) -> None:
        """Add a step's loss; raises InputError for one that is no single number."""
        if classes is not None and classes < 2:
            raise InputError(f"classes: expected at least 2, got {classes}; leave it out")
        self._steps += 1
        self._chance += log(classes) if classes else 0.0
        self._known = self._known and classes is not None
        if not isinstance(loss, Tensor):
            self._sum += loss if isfinite(loss) else 0.0
            self._finite += isfinite(loss)
            return
        if loss.numel() != 1:
            raise InputError(
                f"loss: expected a single number, got shape {tuple(loss.shape)}; give its mean"
            )
        value = loss.detach().reshape(())
        finite = torch.isfinite(value)
        self._sum = self._sum + torch.where(finite, value.float(), 0.0)
        self._finite = self._finite + finite.int()

    def read(self) -> LossNumbers | None:
        """Give the means, and begin anew; None where no loss was added."""
        steps, finite = self._steps, int(self._finite)
        if steps == 0:
            return None
        found = LossNumbers(
            steps=steps,
            not_finite=steps - finite,
            mean=float(self._sum) / finite if finite else None,
            chance=self._chance / steps if self._known else None,
        )
        self._clear()
        return found
