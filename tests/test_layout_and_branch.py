"""`--layout` and `--branch`: other numbers, said in the provenance, and never compared silently."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import nemd_toolkit as nt
from nemd_toolkit.checkpoints import layout_names, read_checkpoint
from nemd_toolkit.encoders import build_resnet
from nemd_toolkit.errors import InputError
from nemd_toolkit.prototypes import prototypes_from_checkpoint
from nemd_toolkit.sources import open_source
from tests.layouts.original_frameworks import ORIGINALS
from tests.test_encoder_choice import tiny


@pytest.fixture
def moco(tmp_path):
    """A file of MoCo's layout whose two encoders differ."""
    state = {}
    for seed, prefix in enumerate(("module.encoder_q.", "module.encoder_k.")):
        torch.manual_seed(seed)
        net = build_resnet("resnet8-tiny", channels=1, dim=6)
        net(torch.rand(32, 1, 8, 8))
        state |= {f"{prefix}{name}": value for name, value in net.state_dict().items()}
    torch.save({"state_dict": state, "arch": "resnet8-tiny"}, tmp_path / "moco.pt")
    return tmp_path / "moco.pt"


WORDS = ("--data", "digits", "--split", "test", "--prototypes", "5")


def document(nemd, *words):
    code, out, err = nemd("analyze", *words, *WORDS, "--json", "--out", "r")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_another_branch_gives_other_numbers_and_says_so(nemd, moco):
    default, query, key = (
        document(nemd, moco, *words) for words in ((), ("--branch", "query"), ("--branch", "key"))
    )
    places = [found["provenance"] for found in (default, query, key)]
    assert [(p["branch"], p["default_branch"]) for p in places] == [
        ("key", True),
        ("query", False),
        ("key", True),
    ]
    assert default["measures"] == key["measures"]
    ranks = [found["measures"]["spectrum"]["effective_rank"] for found in (default, query)]
    assert abs(ranks[0] - ranks[1]) > 0.01
    assert "--branch query" in places[1]["command"]
    assert "--branch" not in places[0]["command"]
    wanted = nt.embed(moco, "digits", "projector", split="test", branch="query")
    assert nt.analyze(wanted, prototypes=5).measures.nemd.raw == (
        nt.analyze(moco, "digits", 5, split="test", branch="query").measures.nemd.raw
    )


def test_the_command_in_the_report_repeats_it(nemd, moco):
    words = ("--branch", "query", "--layout", "pcl/moco")
    first = document(nemd, moco, *words)
    command = first["provenance"]["command"].split()
    assert command[-2:] == ["--layout", "pcl/moco"]
    code, out, _ = nemd(*command[1:], "--json")
    again = json.loads(out)
    assert code == 0
    for found in (first, again):
        del found["provenance"]["seconds"]
    assert again == first


def test_branches_are_not_compared_silently(nemd, moco):
    document(nemd, moco)
    Path("r").rename("default")
    code, out, err = nemd("analyze", moco, *WORDS, "--branch", "query", "--baseline",
                          "default/report.json")  # fmt: skip
    assert (code, out) == (2, "")
    assert "branch (the default one there, query here)" in err
    document(nemd, moco, "--branch", "query")
    code, out, err = nemd("analyze", moco, *WORDS, "--branch", "query", "--baseline",
                          "r/report.json")  # fmt: skip
    assert code == 0
    report = json.loads(Path("default/report.json").read_text())
    del report["provenance"]["branch"], report["provenance"]["default_branch"]
    Path("old.json").write_text(json.dumps(report))  # as written before these were
    assert nemd("analyze", moco, *WORDS, "--baseline", "old.json")[0] == 0


def test_a_comparison_takes_the_branch_of_each(nemd, moco):
    Path("other.pt").write_bytes(moco.read_bytes())
    code, _, err = nemd("compare", moco, "other.pt", *WORDS, "--branch", "query", "--out", "c")
    assert (code, err) == (0, "")
    for name in ("moco", "other"):
        found = json.loads(Path(f"c/{name}/report.json").read_text())
        assert found["provenance"]["branch"] == "query"
    assert json.loads(Path("c/comparison.json").read_text())["warnings"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--branch", "teacher"), "expected one of the branches query, key, got 'teacher'"),
        (("--layout", "moco"), "expected one of pauc-train/1, pcl/moco, "),
        (("--layout", "dino"), "expected the layout dino, got the keys encoder_q.*"),
    ],
)
@pytest.mark.parametrize("command", ["analyze", "embed", "compare"])
def test_wrong_names_are_answered_with_the_right_ones(nemd, moco, command, words, message):
    sources = {"compare": (moco, moco)}.get(command, (moco,))
    out = ("--out", "e.npz") if command == "embed" else ()
    code, out, err = nemd(command, *sources, "--data", "digits", *words, *out)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    if message.startswith("expected one of pauc"):
        assert all(name in err for name in layout_names())


@pytest.mark.parametrize("option", ["layout", "branch", "encoder"])
@pytest.mark.parametrize("file", ["e.npy", "e.pt"])
def test_embeddings_have_neither(nemd, option, file):
    rows = np.random.default_rng(0).normal(size=(50, 8)).astype("float32")
    np.save("e.npy", rows)
    torch.save({"embeddings": torch.from_numpy(rows)}, "e.pt")
    code, out, err = nemd("analyze", file, f"--{option}", "query")
    assert (code, out) == (2, "")
    assert f"--{option}: expected with a checkpoint only, got 'query' with embeddings" in err
    assert err.count("\n") == 1


def test_a_checkpoint_that_was_read_has_its_layout(moco):
    with pytest.raises(InputError, match="a file to read as dino, got a checkpoint read as pcl"):
        nt.embed(read_checkpoint(moco), "digits", layout="dino")


def test_what_is_left_out_of_our_own_encoders_is_said(nemd, tmp_path):
    torch.manual_seed(0)
    torch.save(build_resnet("resnet8-tiny", channels=1, dim=6).state_dict(), tmp_path / "a.pt")
    notes = document(nemd, "a.pt")["provenance"]["notes"]
    said = "2 others were left out (classifier.weight, classifier.bias)"
    assert [note.endswith(said) for note in notes].count(True) == 1
    assert not any("left out" in note for note in document(nemd, "a.pt", "--layer", "classifier")
                   ["provenance"]["notes"])  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_own_prototypes_are_those_of_the_branch(tmp_path):
    path = ORIGINALS["dino"]().save(tmp_path)
    checkpoint, words = read_checkpoint(path), {"split": "test", "branch": "student"}
    embeddings = nt.embed(checkpoint, "digits", "projector", **words)
    (wanted,) = prototypes_from_checkpoint(checkpoint, embeddings, "student")
    (teacher,) = prototypes_from_checkpoint(checkpoint, embeddings)
    (found,) = nt.analyze(path, "digits", "own", **words).measures.clusterings
    assert torch.equal(found.prototypes.vectors, wanted.vectors)
    assert torch.equal(found.prototypes.assignment, wanted.assignment)
    assert not torch.equal(wanted.vectors, teacher.vectors)


def test_branches_that_an_encoder_finds_have_no_prototypes_of_their_own(tmp_path):
    state = {f"{name}.{key}": value for name in ("student", "teacher")
             for key, value in tiny(1).state_dict().items()}  # fmt: skip
    torch.save(state, tmp_path / "a.pt")
    words = {"split": "test", "branch": "student", "encoder": tiny(0)}
    with pytest.raises(InputError, match="prototypes of its own, got none in it"):
        nt.analyze(tmp_path / "a.pt", "digits", "own", **words)


def test_the_classifier_is_that_of_the_branch(tmp_path):
    torch.save(build_resnet("resnet8-tiny", channels=1, dim=10).state_dict(), tmp_path / "a.pt")
    checkpoint = read_checkpoint(tmp_path / "a.pt")
    own = checkpoint.branch()
    head = replace(own.heads[0], state={k: 2 * v for k, v in own.heads[0].state.items()})
    several = {"encoder": own, "other": replace(own, heads=(head,))}
    checkpoint = replace(checkpoint, branches=several)
    for branch, factor in (("encoder", 1), ("other", 2)):
        opened = open_source(checkpoint, "digits", layer="backbone", split="test", branch=branch)
        assert torch.equal(opened.head.weights, factor * own.heads[0].state["weight"])
