"""Stand-ins for objects of classes that a file names and that are never made."""

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Stub"]


@dataclass(slots=True, eq=False)
class Stub:
    """An object that a pickle asked for: its class is a name, its contents are kept, unread.

    >>> Stub("argparse.Namespace", attributes={"lr": 0.03})
    <argparse.Namespace, not executed>
    """

    name: str  # of the class or function, module first
    arguments: tuple[Any, ...] = ()  # that it was to be called with
    attributes: dict[Any, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)  # that were to be appended
    state: Any = None  # that it was to be given, if no dictionary

    def __repr__(self) -> str:
        return f"<{self.name}, not executed>"
