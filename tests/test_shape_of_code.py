"""Files stay readable: at most 400 lines each, no file without a docstring."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [
    path
    for folder in ("nemd_toolkit", "pauc_train", "tests", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".j2", ".css", ".js"}
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_have_at_most_400_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_functions_of_the_packages_stay_short():
    long = []
    for path in FILES:
        if path.suffix != ".py" or "tests" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                first = node.body[0]
                described = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
                start = first.end_lineno if described else first.lineno - 1
                if (node.end_lineno - start) > 40:
                    long.append(f"{path.name}:{node.name}")
    assert long == []
