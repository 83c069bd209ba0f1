"""A callback of Hugging Face's Trainer that hands a layer's outputs to a monitor.

MonitorCallback(monitor, layer="pooler", read=…) is made when it is first asked for, since it is a
subclass of theirs; without transformers asking for it raises InputError.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from torch import Tensor

from nemd_toolkit.errors import InputError
from nemd_toolkit.monitor.layer import LayerOutputs
from nemd_toolkit.monitor.monitor import Monitor

__all__ = ["MonitorCallback"]

MonitorCallback: Any  # made by `__getattr__`


class _Watching:
    """Watches `layer`, the name of a submodule, in the training steps of a Trainer's model.

    read: makes rows (b, d) of what the layer gives, such as `lambda out: out[0][:, 0]` for the
    first token of a transformer. classes: how many the loss chooses among, to compare it with ln K;
    the loss is the Trainer's own mean, when it logs one. Of several batches to a step the first is
    seen. Where the monitor says so the Trainer stops, in all processes alike.
    """

    def __init__(
        self,
        monitor: Monitor,
        *,
        layer: str,
        read: Callable[[Any], Tensor] | None = None,
        classes: int | None = None,
    ) -> None:
        self.monitor = monitor
        self._layer, self._read, self._classes = layer, read, classes
        self._outputs: LayerOutputs | None = None
        self._loss: float | None = None

    def on_train_begin(self, *_: Any, model: Any, **__: Any) -> None:
        self._outputs = LayerOutputs(model, self._layer, self._read)

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        if self._outputs is not None:
            self._outputs.start()

    def on_log(self, *_: Any, logs: Any = None, **__: Any) -> None:
        self._loss = (logs or {}).get("loss")

    def on_step_end(self, _args: Any, _state: Any, control: Any, **__: Any) -> None:
        rows = None if self._outputs is None else self._outputs.stop()
        if rows is None:
            return
        loss, self._loss = self._loss, None
        self.monitor.step(rows, loss=loss, classes=None if loss is None else self._classes)
        if self.monitor.should_stop:
            control.should_training_stop = True

    def on_train_end(self, *_: Any, **__: Any) -> None:
        if self._outputs is not None:
            self._outputs.remove()


@cache
def _made() -> type:
    try:
        from transformers import TrainerCallback
    except ImportError:
        raise InputError(
            "MonitorCallback: expected the package transformers, found none; "
            "pip install 'nemd-toolkit[trainer]'"
        ) from None
    return type("MonitorCallback", (_Watching, TrainerCallback), {"__doc__": _Watching.__doc__})


def __getattr__(name: str) -> Any:
    if name == "MonitorCallback":
        return _made()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
