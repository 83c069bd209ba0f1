"""`nemd inspect` answers what a checkpoint is; the document and the lines say the same."""

import json
import os

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.inspect_texts import OUT, inspected
from nemd_toolkit.checkpoints import read_checkpoint
from nemd_toolkit.cli import app
from nemd_toolkit.measures.duplicates import EPSILONS
from nemd_toolkit.report.inspection import inspection
from nemd_toolkit.report.inspection_text import inspection_lines
from tests.layouts.original_frameworks import ORIGINALS, RECOGNISED
from tests.test_checkpoints import encoder, ours, save


class Shout:
    def __reduce__(self):
        return os.system, ("echo executed",)


def test_inspect_tells_what_is_in_a_file_and_what_to_do_with_it(tmp_path):
    path = save(ours(), tmp_path / "last.pt")
    result = CliRunner().invoke(app, ["inspect", str(path)])
    assert result.exit_code == 0
    for words in (
        "pauc-train",
        "key: ResNet-8",
        "projector (6 wide)",
        "3 of dimension 6",
        "--data",
    ):
        assert words in result.stdout, words
    document = json.loads(CliRunner().invoke(app, ["inspect", str(path), "--json"]).stdout)
    assert document["schema"] == "nemd-inspection/1"
    assert document["branches"]["key"]["heads"] == {"projector": 6}
    assert document["prototypes"][0]["geometry"]["duplicates"]["0.025"] == 0.0
    assert document["bytes"] == path.stat().st_size


def test_what_is_not_run_is_listed_and_nothing_is_run(tmp_path, capfd):
    state = {f"encoder_q.{k}": v for k, v in encoder(0).items()}
    path = save({"state_dict": state, "hook": Shout(), "args": {"lr": 0.03}}, tmp_path / "a.pt")
    lines = inspection_lines(inspection(read_checkpoint(path), 1))
    assert any("posix.system" in line and "never executed" in line for line in lines)
    assert any("lr=0.03" in line for line in lines)
    assert "executed\n" not in capfd.readouterr().out


def test_weird_text_in_a_file_stays_on_its_line(tmp_path):
    data = ours()
    data["arch"] = "resnet\n\x1b[31mred"
    lines = inspection_lines(inspection(read_checkpoint(save(data, tmp_path / "a.pt")), 10**10))
    assert not any("\n" in line or "\x1b" in line for line in lines)
    assert any("10 GB" in line for line in lines)


def test_broken_prototypes_are_not_judged(tmp_path):
    data = ours()
    data["nemd"]["prototypes"][0]["centroids"] = torch.full((3, 6), torch.nan)
    lines = inspection_lines(inspection(read_checkpoint(save(data, tmp_path / "a.pt")), 1))
    assert "They hold NaN or infinity; take an earlier checkpoint." in lines


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", RECOGNISED)
def test_every_layout_has_an_answer_of_80_columns(tmp_path, name):
    lines = inspected(ORIGINALS[name](), tmp_path)
    text = "\n".join(lines)
    assert lines[1].startswith("Recognised as ")
    assert f"  layout     {name}, since it " in text
    assert max(map(len, lines)) <= 80
    commands = [line for line in lines if line.startswith("    nemd ")]
    assert commands
    assert ("--prototypes own" in "".join(commands)) == bool(ORIGINALS[name]().prototypes)
    for empty in ("None", "()", " ,", "  .", "nan", "\n\n\n"):
        assert empty not in text, empty


def test_the_page_of_texts_has_every_layout():
    page = OUT.read_text(encoding="utf-8")
    found = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert found == RECOGNISED


def test_a_collapse_of_the_vectors_is_told_with_what_to_do(tmp_path):
    data = ours()
    entry = data["nemd"]["prototypes"][0]
    entry["centroids"] = torch.eye(3, 6)[[0, 0, 1]]
    document = inspection(read_checkpoint(save(data, tmp_path / "a.pt")), 1)
    (own,) = document["prototypes"]
    assert own["branches"] == ["key", "query"]
    assert own["verdict"]["state"] == "collapsed"
    assert own["geometry"]["distinct"] == dict.fromkeys(EPSILONS, 2)
    text = "\n".join(inspection_lines(document))
    for words in (
        "The vectors alone show a collapse (NEMD003):",
        "✗ NEMD003 duplicated-prototypes: 33% of 3 vectors repeat another",
        "nemd explain NEMD003",
        "Vectors alone cannot show coagulation (NEMD002) and dead-prototypes (NEMD004)",
    ):
        assert words in text, words


def test_an_encoder_that_cannot_be_built_has_to_be_named(tmp_path):
    state = {f"encoder_q.{k}": v for k, v in encoder(0).items() if "bn1" not in k}
    path = save(state, tmp_path / "a.pt")
    document = inspection(read_checkpoint(path), 1)
    assert [entry["command"] for entry in document["commands"]] == [
        f"nemd analyze {path} --data folder:IMAGES --encoder timm:NAME",
        "nemd analyze embeddings.npz",
    ]
