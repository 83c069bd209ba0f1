"""A run's monitor: it sees the encoder that an analysis reads first, and never touches weights.

It begins anew where a run goes on: what it has seen is in no checkpoint, so that a run has the same
bytes with it and without.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import ceil
from typing import Any, Literal

from torch import Tensor

from nemd_toolkit.monitor import Check, LayerOutputs, Monitor, sentence
from pauc_train import ranks
from pauc_train.config import Config
from pauc_train.method import Terms, Training

__all__ = ["Watch", "Watching"]

Watching = Literal["warn", "stop", "off"]

_WARMUP = 0.1  # part of the training before which what it began with is no collapse
# losses that choose one of K: the setting that says K, and what is added to it
_CLASSES = {"info_nce": ("queue_size", 1), "swapped_prediction": ("prototype_count", 0)}


class Watch:
    """A monitor of one training, or nothing where it is off or the method has no branch to read."""

    def __init__(
        self,
        training: Training,
        config: Config,
        watching: Watching,
        steps: int,
        say: Callable[[str], None],
    ) -> None:
        self._config, self._logged = config, 0
        self._outputs: LayerOutputs | None = None
        path = next(iter(training.branches.values()), None)
        if watching == "off" or path is None:
            return
        warmup = max(_WARMUP * config.epochs, config.rate_warmup_epochs) * steps
        self._outputs = LayerOutputs(training, path.projector or path.backbone)
        self.monitor = Monitor(
            on_finding=watching,
            warmup=ceil(warmup),
            log=None,
            prototypes=_own(training),
            say=say if ranks.rank() == 0 else lambda _: None,
        )

    def begin(self, steps: int) -> None:
        """Count from so many steps, where a run goes on."""
        if self._outputs is not None:
            self.monitor.steps = self._logged = steps

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take the encoder's output in the step inside."""
        if self._outputs is None:
            yield
            return
        with self._outputs.taken():
            yield

    def see(self, images: int, terms: Terms) -> None:
        """Hand the step's rows on, one of each of its images, with a loss that has a chance."""
        if self._outputs is None or self._outputs.rows is None:
            return
        name = next((name for name in _CLASSES if name in terms), None)
        classes = None
        if name is not None:
            setting, more = _CLASSES[name]
            classes = getattr(self._config, setting) + more
        self.monitor.step(
            self._outputs.rows[:images],
            loss=None if name is None else terms[name].value,
            classes=classes,
        )

    @property
    def collapse(self) -> str | None:
        """Why to stop, where that was asked for and there is a reason; in all processes."""
        if self._outputs is None or not self.monitor.should_stop:
            return None
        check: Check | None = self.monitor.last
        if check is None or check.collapse is None:
            return "monitor: the first process found a collapse"
        return sentence(check.collapse, check.step)

    def row(self) -> Mapping[str, Any] | None:
        """Give the newest check since this was asked last, for the log."""
        check = None if self._outputs is None else self.monitor.last
        if check is None or check.step <= self._logged:
            return None
        self._logged = check.step
        return check.plain()


def _own(training: Training) -> Callable[[], Tensor] | None:
    """Read learned prototypes as they are at the time."""
    if training.vectors is None:
        return None
    name = f"{training.vectors}.weight"
    return lambda: training.get_parameter(name)
