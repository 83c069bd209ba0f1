"""The embedding benchmark runs end to end in miniature."""

import importlib
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(
    ("mode", "words"), [("throughput", ["--turns", "1"]), ("kill", ["--kills", "1"])]
)
def test_it_writes_its_numbers_and_keeps_those_of_other_settings(
    tmp_path, monkeypatch, capsys, mode, words
):
    monkeypatch.syspath_prepend(FOLDER)
    benchmark = importlib.import_module("embedding")
    out = tmp_path / "embedding.json"
    old = {"arch": "another", "data": "digits", "threads": 1}
    out.write_text(json.dumps({mode: [old]}))
    fixed = ["--data", "digits", "--arch", "resnet8-tiny", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["embedding.py", mode, *fixed, *words])
    benchmark.main()
    kept, found = json.loads(out.read_text())[mode]
    assert kept == old
    if mode == "throughput":
        assert found["count"] == 1347
        assert found["ratio"] > 0
    else:
        assert found["kills"] == 1
        assert found["same_bytes"] == found["runs"] >= 1
