"""The command line as people meet it: output, exit codes, and one sentence for bad input."""

import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from nemd_toolkit.pipeline import analyze
from nemd_toolkit.report.naming import run_names
from nemd_toolkit.report.text import finding_lines
from tests import worlds


@pytest.fixture
def healthy(tmp_path):
    x, group = worlds.clusters(1000, 32, 20, 0.9)
    np.savez(tmp_path / "healthy.npz", vectors=x.numpy(), labels=group.numpy())
    return tmp_path / "healthy.npz"


@pytest.fixture
def points(tmp_path):
    np.save(tmp_path / "points.npy", worlds.points(8, 600, 32).numpy())
    return tmp_path / "points.npy"


def test_analyze_prints_the_verdict_every_finding_and_the_page(nemd, healthy, tmp_path):
    code, out, _ = nemd("analyze", healthy, "--prototypes", "20", "--out", tmp_path / "r")
    assert code == 0
    assert out.startswith("Healthy")
    for number in (1, 2, 3, 6, 7, 8, 9, 10):
        assert f"NEMD{number:03}" in out
    assert out.rstrip().endswith(str(tmp_path / "r" / "report.html"))
    names = {path.name for path in (tmp_path / "r").iterdir()}
    assert {"report.html", "report.json", "prototypes.csv", "nemd_pairs.csv", "card.png"} <= names


@pytest.mark.parametrize("width", [50, 80, 120])
def test_findings_fit_a_terminal_of_any_width(width):
    found = analyze(worlds.points(8, 600, 32))
    lines = [line for _, text in finding_lines(found, width) for line in text.split("\n")]
    assert max(map(len, lines)) <= max(width, 51)  # a name and its status take 51
    plain = " ".join(" ".join(lines).split())
    for finding in found.findings:
        assert " ".join(finding.message.split()) in plain
    assert len(finding_lines(found)) == len(found.findings)


def test_rows_that_are_no_unit_vectors_are_normalised_and_said(nemd, tmp_path):
    x = worlds.clusters(1000, 32, 20, 0.9)[0].numpy()
    np.save(tmp_path / "unit.npy", x)
    np.save(tmp_path / "long.npy", 3 * x)
    unit, long = (nemd("analyze", f"{name}.npy", "--prototypes", "20") for name in ("unit", "long"))
    assert "normalised" not in unit[1]
    assert "rows were not unit vectors (lengths 3…3) and were normalised" in long[1]
    assert unit[1].splitlines()[0] == long[1].splitlines()[0]  # the same numbers


def test_json_is_the_document_alone_on_stdout(nemd, points):
    code, out, _ = nemd("analyze", points, "--json", "--out", "r")
    document = json.loads(out)
    assert code == 0
    assert document["schema"] == "nemd-report/1"
    assert document["verdict"]["state"] == "collapsed"
    assert "NEMD002" in document["verdict"]["codes"]
    assert set(document) == {"schema", "verdict", "findings", "measures", "provenance"}
    score = document["measures"]["nemd"]["score"]
    assert score["low"] <= score["value"] <= score["high"]
    assert document == json.loads(Path("r/report.json").read_text(encoding="utf-8"))


def test_same_seed_gives_the_same_document_apart_from_time(nemd, healthy):
    documents = []
    for name in ("a", "b"):
        nemd("analyze", healthy, "--seed", "3", "--out", name, "--quiet")
        document = json.loads(Path(f"{name}/report.json").read_text(encoding="utf-8"))
        del document["provenance"]["seconds"]
        documents.append(document)
    assert documents[0] == documents[1]


def test_quiet_prints_nothing(nemd, healthy):
    assert nemd("analyze", healthy, "--quiet", "--prototypes", "20") == (0, "", "")
    assert Path("nemd-healthy/report.html").exists()


@pytest.mark.parametrize(
    ("world", "gate", "code"),
    [
        ("points", "issue", 1),
        ("points", "NEMD002", 1),
        ("points", "nemd001,NEMD006", 0),
        ("healthy", "issue", 0),
        ("noise", "issue", 3),
        ("noise", "NEMD008", 1),
        ("noise", None, 0),
        ("equal", "NEMD002", 3),
        ("equal", "issue", 1),
        ("points", "everything", 2),
    ],
)
def test_gate_exit_codes(nemd, healthy, points, tmp_path, world, gate, code):
    np.save(tmp_path / "noise.npy", worlds.noise(1000, 32).numpy())
    np.save(tmp_path / "equal.npy", worlds.equal(1000, 32).numpy())
    path = {"healthy": healthy, "points": points}.get(world, tmp_path / f"{world}.npy")
    words = [] if gate is None else ["--fail-on", gate]
    assert nemd("analyze", path, "--prototypes", "20", *words)[0] == code


def test_compare_sets_runs_side_by_side(nemd, healthy, points):
    code, out, _ = nemd("compare", healthy, points, "--prototypes", "20", "--out", "c")
    assert code == 0
    assert "healthy" in out
    assert "collapsed" in out
    assert Path("c/comparison.html").exists()
    assert Path("c/healthy/report.html").exists()
    assert nemd("compare", healthy)[0] == 2


def test_checkpoint_is_embedded_and_its_own_prototypes_analysed(nemd, pcl_checkpoint):
    words = ("analyze", pcl_checkpoint, "--data", "digits", "--prototypes", "10,own,labels")
    code, out, _ = nemd(*words, "--json")
    assert code == 0
    document = json.loads(out)
    sources = [c["source"] for c in document["measures"]["clusterings"]]
    assert sources[0] == "k-means"
    assert sources[-1] == "labels"
    assert set(sources[1:-1]) == {"own"}
    assert document["provenance"]["layer"] == "projector"
    assert document["measures"]["embeddings"]["count"] == 1347
    code, out, _ = nemd("embed", pcl_checkpoint, "--data", "digits", "--out", "e.npz")
    assert code == 0
    assert np.load("e.npz")["vectors"].shape[0] == 1347


def test_explain_env_and_help(nemd):
    code, out, _ = nemd("explain", "nemd002")
    assert code == 0
    assert "coagulation" in out
    assert "What to do" in out
    assert "torch" in nemd("env")[1]
    assert "analyze" in nemd("--help")[1]
    assert nemd("explain", "NEMD999")[0] == 2


class Bomb:
    def __reduce__(self):
        return (os.system, ("touch executed",))


def write_bomb(path):
    path.write_bytes(pickle.dumps({"state_dict": Bomb()}))


def write_zip_bomb(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bomb/data.pkl", pickle.dumps({"state_dict": Bomb()}, protocol=2))
        archive.writestr("bomb/version", "3\n")


x = worlds.noise(100, 8).numpy()
with_nan, with_zero = x.copy(), x.copy()
with_nan[3, 2], with_zero[5] = np.nan, 0

BAD = {
    "missing": ("no.npy", None, "no.npy"),
    "empty npy": ("a.npy", lambda p: p.write_bytes(b""), "empty"),
    "empty pt": ("a.pt", lambda p: p.write_bytes(b""), "empty"),
    "a folder": ("a.pt", lambda p: p.mkdir(), "folder"),
    "one dimension": ("a.npy", lambda p: np.save(p, x[0]), "shape (8,)"),
    "three dimensions": ("a.npy", lambda p: np.save(p, x[None]), "shape (1, 100, 8)"),
    "NaN": ("a.npy", lambda p: np.save(p, with_nan), "NaN or infinity in 1 of 100 rows"),
    "infinity": ("a.pt", lambda p: torch.save(torch.full((9, 3), torch.inf), p), "infinity"),
    "zero row": ("a.npy", lambda p: np.save(p, with_zero), "norm 0 (first: row 5)"),
    "objects": ("a.npy", lambda p: np.save(p, np.array([{}, {}]), allow_pickle=True), "a.npy"),
    "text": ("a.pt", lambda p: p.write_text("hello"), "a.pt"),
    "unknown layout": ("a.pt", lambda p: torch.save({"w": torch.ones(3)}, p), "layout"),
    "pickle bomb": ("a.pt", write_bomb, "a.pt"),
    "pickle bomb in a zip": ("a.pth", write_zip_bomb, "a.pth"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(nemd, tmp_path, name):
    file, write, words = BAD[name]
    if write:
        write(tmp_path / file)
    before = set(Path().iterdir())
    code, out, err = nemd("analyze", file)
    assert code == 2
    assert out == ""
    assert words in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert set(Path().iterdir()) == before  # nothing written, nothing executed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--prototypes", "5000"], "between 1 and 1000"),
        (["--prototypes", "0"], "between 1 and 1000"),
        (["--prototypes", "many"], "expected numbers, own or labels"),
        (["--prototypes", "own"], "expected a checkpoint for 'own'"),
        (["--prototypes", "9" * 5000], "expected numbers, own or labels"),
        (["--data", "digits"], "with a checkpoint only"),
        (["--device", "cuda"], "with a checkpoint only"),
        (["--split", "test"], "with a checkpoint only"),
        (["--labels", "zip.npy"], "zip.npy"),
        (["--layer", "backbone"], "with a checkpoint only"),
        (["--labels", "short.txt"], r"expected one per row (1000), got an array of shape (3,)"),
        (["--labels", "none.txt"], "expected a file of labels"),
        (["--labels", "binary.txt"], "UTF-8"),
        (["--labels", "one.txt", "--prototypes", "labels"], "at least 2 classes, got one"),
        (["--fail-on", "NEMD999"], "expected issue, warning or codes"),
        (["--out", "short.txt"], "short.txt"),
    ],
)
def test_wrong_options_are_one_sentence_and_exit_code_2(nemd, healthy, tmp_path, options, words):
    (tmp_path / "short.txt").write_text("a\nb\nc\n")
    (tmp_path / "one.txt").write_text("a\n" * 1000)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "zip.npy").write_bytes(b"PK\x03\x04")
    code, out, err = nemd("analyze", healthy, *options)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_labels_may_come_from_a_spreadsheet_and_the_command_names_them(nemd, points, tmp_path):
    lines = "\r\n".join(f"c{i % 6}" for i in range(600))
    (tmp_path / "l.txt").write_bytes(b"\xef\xbb\xbf" + lines.encode() + b"\r\n")
    code, out, _ = nemd("analyze", points, "--prototypes", "labels", "--labels", "l.txt", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["measures"]["embeddings"]["classes"] == 6
    assert document["provenance"]["command"].endswith("--prototypes labels --seed 0 --labels l.txt")


@pytest.mark.parametrize("seed", ["-1", "18446744073709551615", "x"])
def test_seeds_are_checked(nemd, points, seed):
    assert nemd("analyze", points, "--seed", seed)[0] == 2


def test_compare_writes_nothing_when_one_run_cannot_be_read(nemd, healthy):
    assert nemd("compare", healthy, "missing.npy", "--out", "c")[0] == 2
    assert not Path("c").exists()


def test_embed_checks_its_suffix_first_and_says_what_npy_leaves_out(nemd, pcl_checkpoint):
    assert nemd("embed", pcl_checkpoint, "--data", "digits", "--out", "e.csv")[0] == 2
    code, out, _ = nemd("embed", pcl_checkpoint, "--data", "digits", "--out", "e.npy")
    assert code == 0
    assert "left out" in out
    assert np.load("e.npy").shape[0] == 1347


def test_labels_are_required_where_they_are_the_prototypes(nemd, points):
    code, _, err = nemd("analyze", points, "--prototypes", "labels")
    assert code == 2
    assert "--labels" in err


def test_a_checkpoint_needs_images_and_names_what_it_knows(nemd, pcl_checkpoint):
    code, _, err = nemd("analyze", pcl_checkpoint)
    assert code == 2
    assert "trained on digits" in err
    for data in ("nothing", "folder:none", "fashion-mnist:none"):
        assert nemd("analyze", pcl_checkpoint, "--data", data)[0] == 2
    assert nemd("analyze", pcl_checkpoint, "--data", "digits", "--layer", "fc9")[0] == 2
    for device in ("tpu9", "meta"):
        assert nemd("analyze", pcl_checkpoint, "--data", "digits", "--device", device)[0] == 2
    assert nemd("analyze", pcl_checkpoint, "--data", "digits", "--split", "half")[0] == 2


def test_an_output_that_cannot_be_written_is_said(nemd, healthy):
    code, _, err = nemd("analyze", healthy, "--out", "/proc/nemd")
    assert code == 2
    assert err.count("\n") == 1


def test_run_names_tell_runs_apart():
    assert run_names([Path("a/x.pt"), Path("b/y.pt")]) == ["x", "y"]
    assert run_names([Path("r/a/x.pt"), Path("r/b/x.pt")]) == ["a-x", "b-x"]
    assert run_names([Path("x.pt"), Path("x.pt")]) == sorted({*run_names([Path("x.pt")] * 2)})
    assert "/" not in "".join(run_names([Path("../é <b>.pt"), Path("z.pt")]))
