"""Short names for runs, safe as folder names."""

import re
from collections.abc import Sequence
from pathlib import Path

__all__ = ["run_names"]


def run_names(sources: Sequence[Path]) -> list[str]:
    """Name each run by as much of the end of its path as tells it from the others.

    Two names that are still equal are numbered.

    >>> run_names([Path("runs/moco/last.pt"), Path("runs/pcl/last.pt")])
    ['moco-last', 'pcl-last']
    """
    parts = [[*path.absolute().parts[:-1], path.stem] for path in sources]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["-".join(_plain(word) for word in words[-length:]) for words in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{number}-{name}" for number, name in enumerate(names, start=1)]


def _plain(word: str) -> str:
    return re.sub(r"\W+", "_", word).strip("_")[:60] or "run"
