"""The record of one check: numbers with what they rest on, findings, and what came of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from nemd_toolkit.findings.finding import Finding
from nemd_toolkit.monitor.losses import LossNumbers
from nemd_toolkit.monitor.numbers import WindowNumbers

__all__ = ["Check"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One look at the window."""

    step: int  # steps seen, from 1
    numbers: WindowNumbers | None  # None where no two rows could be measured
    invalid: int  # rows of the window that were left out: NaN, infinite, or 0
    loss: LossNumbers | None  # since the last check; None where no loss was given
    findings: tuple[Finding, ...]  # of all that could be judged, fired or not
    lasting: tuple[Finding, ...]  # issues that have outlasted the patience
    seconds: float

    @property
    def collapse(self) -> Finding | None:
        """The first lasting issue that is a collapse, not a doubt."""
        return next((f for f in self.lasting if f.about.kind == "collapse"), None)

    def values(self) -> dict[str, float | int]:
        """Give the finite numbers by name, for plots."""
        found: dict[str, float | int | None] = {"seconds": self.seconds}
        if self.loss is not None:
            found |= {"loss": self.loss.mean, "loss_above_chance": _above(self.loss)}
        found |= {"invalid_rows": self.invalid}
        if self.numbers is not None:
            found |= _of_window(self.numbers)
        return {k: v for k, v in found.items() if v is not None and isfinite(v)}

    def plain(self) -> Mapping[str, Any]:
        """As JSON: step, what the numbers rest on, the numbers, and what was found."""
        return {
            "step": self.step,
            **self.values(),
            "findings": {f.about.code: f.status for f in self.findings if f.status not in _QUIET},
            "lasting": [f.about.code for f in self.lasting],
        }


_QUIET = ("passed", "not_applicable")


def _above(loss: LossNumbers) -> float | None:
    if loss.mean is None or loss.chance is None:
        return None
    return loss.mean - loss.chance


def _of_window(numbers: WindowNumbers) -> dict[str, float | int | None]:
    score, own = numbers.score, numbers.own
    found: dict[str, float | int | None] = {
        "rows": numbers.rows,
        "dim": numbers.dim,
        "window": numbers.window,
        "variance": numbers.variance,
        "mean_cosine": numbers.mean_cosine,
        "effective_rank": numbers.rank,
        "effective_rank_uniform": numbers.rank_null,
        "uniformity": numbers.uniformity,
        "score": score.value if score else None,
        "score_low": score.low if score else None,
        "score_k": score.k if score else None,
    }
    if own is not None:
        found |= {
            "own_prototypes": len(own.usage.sizes),
            "own_dead": own.usage.dead,
            "own_usage_entropy": own.usage.entropy,
            "own_repeated": dict(own.duplicates)[0.025],
        }
    return found
