"""The README's lines do what they say."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from nemd_toolkit import cli
from nemd_toolkit.findings import CHECKS
from nemd_toolkit.pipeline import analyze
from pauc_train import __main__ as trainer
from tests import worlds

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
LINES = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith(("nemd ", "pauc-train "))
]


@pytest.fixture(scope="module")
def reference():
    """Give the report.json of a run on data of the same size as the others."""
    return analyze(worlds.clusters(1000, 32, 20, 0.5)[0]).to_json()


@pytest.fixture
def workplace(tmp_path, monkeypatch, pcl_checkpoint, reference):
    """A folder with the files that the README's lines name."""
    x, group = worlds.clusters(1000, 32, 20, 0.9)
    np.savez(tmp_path / "embeddings.npz", vectors=x.numpy(), labels=group.numpy())
    np.save(tmp_path / "other.npy", worlds.clusters(1000, 32, 20, 0.5)[0].numpy())
    (tmp_path / "runs" / "pcl").mkdir(parents=True)
    (tmp_path / "reference").mkdir()
    (tmp_path / "shards").mkdir()
    for number, rows in enumerate(x.numpy().reshape(4, 250, 32)):
        np.save(tmp_path / "shards" / f"part-{number:04}.npy", rows)
    (tmp_path / "reference" / "report.json").write_text(reference, encoding="utf-8")
    for name in ("last.pt", "runs/pcl/last.pt"):
        (tmp_path / name).write_bytes(Path(pcl_checkpoint).read_bytes())
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("line", LINES)
def test_commands_run_and_print(line, workplace, monkeypatch, capsys):
    words = shlex.split(line, comments=True)
    if words[1] == "fit":  # one epoch, to a folder of its own: the line is what is tested
        words[words.index("--epochs") + 1] = "1"
        words[words.index("--out") + 1] = "runs/new"
    if words[:2] == ["pauc-train", "compare"]:
        words[words.index("--epochs") + 1] = words[words.index("--seeds") + 1] = "1"
    monkeypatch.setattr(sys, "argv", words)
    try:
        (cli if words[0] == "nemd" else trainer).main()
    except SystemExit as ended:
        assert not ended.code  # noqa: PT017  the command line always ends this way
    assert capsys.readouterr().out


def test_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile("".join(blocks), "README.md", "exec"), {})
    assert (tmp_path / "report" / "report.html").exists()


def test_every_check_is_listed_and_set_up_takes_two_commands():
    for entry, _ in CHECKS:
        assert f"| {entry.code} | {entry.name} |" in README
    assert "pip install . && nemd demo" in README
    assert "pip install -e '.[test]' && pytest" in README
