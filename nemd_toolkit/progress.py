"""Progress bars on stderr for the command line; silent when used as a library."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

__all__ = ["bar", "note", "show_progress"]

_shown: ContextVar[bool] = ContextVar("nemd_progress_shown", default=False)


@contextmanager
def show_progress(shown: bool = True) -> Iterator[None]:
    """Let bars inside this block appear (if stderr is a terminal)."""
    token = _shown.set(shown)
    try:
        yield
    finally:
        _shown.reset(token)


def note(text: str) -> None:
    """Say something on stderr where bars may appear, terminal or not.

    >>> note("starting over")
    """
    if _shown.get():
        sys.stderr.write(f"nemd: {text}\n")


class _Rate(ProgressColumn):
    """Steps per second, of late."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s")


@contextmanager
def bar(description: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show a bar that vanishes when done; call what it gives with the number of steps done.

    It has the rate and the time that remains. `done` steps, of an earlier run, do not count for
    the rate. Without any step to do none is shown.

    >>> with bar("embedding", 3) as advance:
    ...     advance(3)
    """
    if not (total and _shown.get() and (console := Console(stderr=True)).is_terminal):
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(description, total=total, completed=done)
        yield lambda steps: progress.update(task, advance=steps)
