"""Reading a layer's outputs while a model trains, without touching the model's code."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from nemd_toolkit.errors import InputError

__all__ = ["LayerOutputs"]


class LayerOutputs:
    """The first output of a module inside `taken`, without its gradient.

    The first only: a second pass in one step is another view of the same images. `read` makes rows
    (b, d) of what the module gives, where that is something else. Raises InputError for a name
    that the model does not have.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(3, 2))
    >>> outputs = LayerOutputs(model, "0")
    >>> with outputs.taken():
    ...     _ = model(torch.zeros(5, 3))
    >>> outputs.rows.shape, outputs.rows.requires_grad
    (torch.Size([5, 2]), False)
    """

    def __init__(
        self, model: nn.Module, layer: str, read: Callable[[Any], Tensor] | None = None
    ) -> None:
        known = dict(model.named_modules())
        if layer not in known:
            some = ", ".join(name for name, _ in model.named_children()) or "none"
            raise InputError(
                f"layer: expected the name of a module (on top there are {some}), got {layer!r}; "
                "print(model) shows all names"
            )
        self.rows: Tensor | None = None
        self._layer, self._read = layer, read
        self._taking = False
        self._hook = known[layer].register_forward_hook(self._take)

    def _take(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        if not self._taking or self.rows is not None:
            return
        rows = output if self._read is None else self._read(output)
        if not isinstance(rows, Tensor) or rows.ndim != 2:
            got = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
            raise InputError(
                f"layer {self._layer!r}: expected an output of shape (batch, dimensions), got "
                f"{got}; give read=, a function of the output that returns such rows"
            )
        self.rows = rows.detach()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take the first output inside."""
        self.start()
        try:
            yield
        finally:
            self.stop()

    def start(self) -> None:
        """Forget the last rows, and take the next output."""
        self._taking, self.rows = True, None

    def stop(self) -> Tensor | None:
        """Take no more; give what was taken."""
        self._taking = False
        return self.rows

    def remove(self) -> None:
        """Leave the model as it was."""
        self._hook.remove()
