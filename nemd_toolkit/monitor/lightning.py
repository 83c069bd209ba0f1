"""A callback of Lightning that hands a layer's outputs to a monitor.

MonitorCallback(monitor, layer="projector") is made when it is first asked for, since it is a
subclass of Lightning's own; without Lightning asking for it raises InputError.
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
    """Watches `layer`, the name of a submodule, in the training steps of a LightningModule.

    read: makes rows (b, d) of what the layer gives, where that is something else. classes: how many
    the loss chooses among, to compare it with ln K. The loss is what training_step returns. Where
    the monitor says so the Trainer stops, in all processes alike.
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

    def on_fit_start(self, _trainer: Any, module: Any) -> None:
        self._outputs = LayerOutputs(module, self._layer, self._read)

    def on_train_batch_start(self, *_: Any) -> None:
        if self._outputs is not None:
            self._outputs.start()

    def on_train_batch_end(self, trainer: Any, _module: Any, outputs: Any, *_: Any) -> None:
        rows = None if self._outputs is None else self._outputs.stop()
        if rows is None:
            return
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        self.monitor.step(rows, loss=loss, classes=None if loss is None else self._classes)
        if self.monitor.should_stop:
            trainer.should_stop = True

    def on_fit_end(self, *_: Any) -> None:
        if self._outputs is not None:
            self._outputs.remove()


@cache
def _made() -> type:
    try:
        from lightning.pytorch import Callback
    except ImportError:
        raise InputError(
            "MonitorCallback: expected the package lightning, found none; "
            "pip install 'nemd-toolkit[lightning]'"
        ) from None
    return type("MonitorCallback", (_Watching, Callback), {"__doc__": _Watching.__doc__})


def __getattr__(name: str) -> Any:
    if name == "MonitorCallback":
        return _made()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
