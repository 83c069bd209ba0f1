"""Write what `nemd inspect` says of a file of every layout, to be read as a newcomer reads it.

Run:  python -m benchmarks.inspect_texts  (writes reports/checkpoints/inspect.md, 20 seconds)
The files are those of tests/layouts, small networks under the true names.
"""

import tempfile
from pathlib import Path

import torch

from nemd_toolkit.checkpoints import read_checkpoint
from nemd_toolkit.report.inspection import inspection
from nemd_toolkit.report.inspection_text import inspection_lines
from tests.layouts.original import Original
from tests.layouts.original_frameworks import ORIGINALS, RECOGNISED

__all__ = ["OUT", "inspected"]

OUT = Path(__file__).parents[1] / "reports" / "checkpoints" / "inspect.md"
HEAD = """# What `nemd inspect` says

One file of every layout, with small networks under the true names and nesting of the code that the
layout is named after (`tests/layouts`); written by `python -m benchmarks.inspect_texts`.
"""


def inspected(original: Original, folder: Path) -> list[str]:
    """Give the lines on one file, named as if it lay in the current folder."""
    path = original.save(folder)
    files = [path] if path.is_file() else [*path.iterdir()]
    document = inspection(read_checkpoint(path), sum(file.stat().st_size for file in files))
    name = "checkpoint.pth" if path.is_file() else "model"
    return [line.replace(str(path), name) for line in inspection_lines(document)]


def main() -> None:
    """Write the page."""
    torch.manual_seed(0)
    parts = [HEAD]
    for name in RECOGNISED:
        with tempfile.TemporaryDirectory() as folder:
            lines = inspected(ORIGINALS[name](), Path(folder))
        parts.append("\n".join([f"## {name}", "", "```", *lines, "```", ""]))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
