"""Progress bars on stderr for the command line; silent when used as a library."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

__all__ = ["bar", "show_progress"]

_shown: ContextVar[bool] = ContextVar("nemd_progress_shown", default=False)


@contextmanager
def show_progress(shown: bool = True) -> Iterator[None]:
    """Let bars inside this block appear (if stderr is a terminal)."""
    token = _shown.set(shown)
    try:
        yield
    finally:
        _shown.reset(token)


@contextmanager
def bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar that vanishes when done; call what it gives with the number of steps done.

    >>> with bar("embedding", 3) as advance:
    ...     advance(3)
    """
    if not (_shown.get() and (console := Console(stderr=True)).is_terminal):
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(description, total=total)
        yield lambda steps: progress.update(task, advance=steps)
