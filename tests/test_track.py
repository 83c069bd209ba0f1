"""Checkpoints over training: their order, what is analysed again, onsets, and a safe page."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from nemd_toolkit.errors import InputError
from nemd_toolkit.tracking import track, tracking
from pauc_train.saving import read_checkpoint, write_checkpoint
from tests import worlds
from tests.test_report import Page, assert_safe

OPTIONS = {"prototypes": (8,)}
WORDS = ("--prototypes", "8")


@pytest.fixture
def undrawn(monkeypatch):
    """No page is drawn, which takes seconds."""
    monkeypatch.setattr(tracking.Tracked, "write", lambda self, folder: Path(folder) / "track.html")


def save(folder: Path, name: str, spread: float = 0.9, seed: int = 0) -> Path:
    """A checkpoint's embeddings: groups of this spread, collapsed where it is small."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, _ = worlds.clusters(400, 16, 8, spread, seed=seed)
    np.save(folder / name, rows.numpy())
    return folder / name


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Seven epochs of a run that coagulates from epoch 4 on, and records of their analyses."""
    made = tmp_path_factory.mktemp("made")
    for epoch in range(7):
        save(made / "run", f"epoch_{epoch}.npy", 0.9 if epoch < 4 else 0.05, seed=epoch)
    assert track(made / "run", records=made / "nemd-track", **OPTIONS).analysed == 7
    return made


@pytest.fixture
def folder(made, tmp_path):
    """A copy of the run, and of its records as `nemd-track` beside it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "run"


@pytest.fixture
def analysed(monkeypatch):
    """Names of the files that are analysed, in their order."""
    names = []
    real = tracking.analyze

    def counting(source, *args, **options):
        names.append(Path(source).name)
        return real(source, *args, **options)

    monkeypatch.setattr(tracking, "analyze", counting)
    return names


def test_onset_is_named_exactly_and_the_best_is_healthy(folder, tmp_path):
    course = track(folder, records=tmp_path / "nemd-track", **OPTIONS).course
    assert course.collapse == 4
    assert course.kinds == ["coagulation"]
    assert [stop.label for stop in course.stops] == [f"epoch {e}" for e in range(7)]
    assert course.best.place in range(4)
    assert set(course.best.alike) <= set(range(4))
    begins = {o.about.code: o.begins for o in course.onsets if o.begins is not None}
    assert begins == {"NEMD002": 4}


@pytest.mark.parametrize("kind", ["total", "dimensional", "cone"])
def test_onset_of_other_kinds(kind, tmp_path):
    for epoch in range(4):
        severity = 0.0 if epoch < 2 else worlds.STATED[kind]
        world = worlds.make(kind, severity, worlds.Setting(count=500, dim=32, seed=epoch))
        (tmp_path / "r").mkdir(exist_ok=True)
        np.save(tmp_path / "r" / f"{epoch}.npy", world.rows.numpy())
    course = track(tmp_path / "r", records=tmp_path / "t", **OPTIONS).course
    assert course.collapse == 2


def test_only_new_checkpoints_are_analysed(folder, tmp_path, analysed):
    records = tmp_path / "nemd-track"
    first = track(folder, records=records, **OPTIONS)
    assert (first.analysed, analysed) == (0, [])
    save(folder, "epoch_7.npy", 0.05, seed=7)
    second = track(folder, records=records, **OPTIONS)
    assert second.analysed == 1
    assert analysed == ["epoch_7.npy"]
    assert second.course.stops[:7] == first.course.stops
    save(folder, "epoch_2.npy", 0.8, seed=20)  # written anew
    assert track(folder, records=records, **OPTIONS).analysed == 1


@pytest.mark.parametrize("changed", [{"seed": 1}, {"prototypes": (9,)}, {"ignore": "NEMD007"}])
def test_other_settings_analyse_anew_and_the_old_ones_are_kept(changed, tmp_path, analysed):
    save(tmp_path / "r", "1.npy")
    track(tmp_path / "r", records=tmp_path / "t", **OPTIONS)
    track(tmp_path / "r", records=tmp_path / "t", **(OPTIONS | changed))
    assert len(analysed) == 2
    track(tmp_path / "r", records=tmp_path / "t", **OPTIONS)
    assert len(analysed) == 2


def test_other_labels_of_the_same_name_analyse_anew(tmp_path, analysed):
    save(tmp_path / "r", "1.npy")
    for words in ("a b", "a b", "a c"):
        (tmp_path / "l.txt").write_text("\n".join(np.resize(words.split(), 400)))
        track(tmp_path / "r", records=tmp_path / "t", labels=tmp_path / "l.txt", **OPTIONS)
    assert len(analysed) == 2


def damage_digit(text: str) -> str:
    place = text.index('"value": ') + len('"value": 0.')
    return text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "[" * 100_000,
        lambda text: text.replace("nemd-track-record/1", "other/1"),
        damage_digit,
    ],
    ids=["cut", "empty", "other json", "nested", "other schema", "one digit"],
)
def test_a_damaged_record_is_made_again(damage, tmp_path, analysed):
    save(tmp_path / "r", "1.npy")
    first = track(tmp_path / "r", records=tmp_path / "t", **OPTIONS)
    (record,) = (tmp_path / "t" / "records").iterdir()
    good = record.read_text(encoding="utf-8")
    record.write_text(damage(good), encoding="utf-8")
    second = track(tmp_path / "r", records=tmp_path / "t", **OPTIONS)
    assert len(analysed) == 2
    assert second.course.stops == first.course.stops
    again = json.loads(record.read_text(encoding="utf-8"))  # but for the time it took
    assert set(again["body"]) == set(json.loads(good)["body"])


def test_a_run_that_is_killed_keeps_what_is_done(tmp_path, monkeypatch, analysed):
    counting, folder = tracking.analyze, tmp_path / "r"
    for epoch in range(4):
        save(folder, f"{epoch}.npy", seed=epoch)

    def dying(source, *args, **options):
        if len(analysed) == 2:
            raise KeyboardInterrupt
        return counting(source, *args, **options)

    monkeypatch.setattr(tracking, "analyze", dying)
    with pytest.raises(KeyboardInterrupt):
        track(folder, records=tmp_path / "t", **OPTIONS)
    assert len(list((tmp_path / "t" / "records").iterdir())) == 2
    monkeypatch.setattr(tracking, "analyze", counting)
    assert track(folder, records=tmp_path / "t", **OPTIONS).analysed == 2


def test_one_bad_checkpoint_stops_nothing(nemd, folder):
    (folder / "epoch_3.npy").write_bytes(b"\x93NUMPY broken")
    (folder / "notes.txt").write_text("no checkpoint")
    code, out, err = nemd("track", folder, *WORDS)
    assert code == 0
    assert "begins at epoch 4" in out
    assert "1 could not be, 1 other file left out" in out
    assert err.startswith("nemd: not analysed: epoch_3.npy: ")
    assert err.count("\n") == 1
    page = Page(Path("nemd-track/track.html"))
    assert "Not analysed. epoch_3.npy" in page.text
    document = json.loads(Path("nemd-track/track.json").read_text(encoding="utf-8"))
    assert document["failed"][0]["file"] == "epoch_3.npy"
    assert document["ignored_files"] == 1


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "expected checkpoints"),
        (["notes.txt", "log.jsonl"], "got 2 other files"),
        (["a.npy"], "could not be analysed; a.npy"),
    ],
)
def test_without_a_checkpoint_one_sentence_and_exit_code_2(nemd, tmp_path, names, words):
    (tmp_path / "r").mkdir()
    for name in names:
        (tmp_path / "r" / name).write_text("hello")
    code, out, err = nemd("track", "r")
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert nemd("track", "nowhere")[0] == 2
    assert not Path("nemd-track").exists()


@pytest.mark.parametrize(
    ("gate", "last", "expected"),
    [
        (None, 0.05, 0),
        ("issue", 0.05, 1),
        ("NEMD002", 0.05, 1),
        ("NEMD007", 0.05, 0),
        ("issue", 0.9, 0),
        ("nothing", 0.9, 2),
    ],
)
def test_a_gate_judges_the_last_checkpoint(nemd, undrawn, tmp_path, gate, last, expected):
    save(tmp_path / "r", "1.npy", 0.05 if last == 0.9 else 0.9)
    save(tmp_path / "r", "2.npy", last)
    words = [] if gate is None else ["--fail-on", gate]
    assert nemd("track", "r", *WORDS, *words)[0] == expected


def test_a_gate_cannot_be_told_where_the_last_checkpoint_is_unreadable(nemd, undrawn, tmp_path):
    save(tmp_path / "r", "1.npy")
    (tmp_path / "r" / "2.npy").write_bytes(b"")
    assert nemd("track", "r", *WORDS)[0] == 0
    assert nemd("track", "r", *WORDS, "--fail-on", "issue")[0] == 3
    shutil.move("r/2.npy", "r/0.npy")
    assert nemd("track", "r", *WORDS, "--fail-on", "issue")[0] == 0


def test_json_is_the_document_alone_and_the_same_each_time(nemd, folder, undrawn):
    code, out, err = nemd("track", folder, *WORDS, "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["schema"] == "nemd-track/1"
    assert set(document) == {
        *("schema", "headline", "unit", "ordered_by", "collapse", "best", "onsets", "checkpoints"),
        *("failed", "ignored_files", "repeated_files", "settings"),
    }
    assert document["collapse"]["begins"] == {"place": 4, "label": "epoch 4", "file": "epoch_4.npy"}
    assert document["headline"].startswith("Collapse (coagulation) begins at epoch 4.")
    assert len(document["checkpoints"]) == 7
    assert nemd("track", folder, *WORDS, "--json")[1] == out
    assert nemd("track", folder, *WORDS, "--quiet") == (0, "", "")


def test_page_and_table(folder, tmp_path):
    records = tmp_path / "nemd-track"
    path = track(folder, records=records, **OPTIONS).write(tmp_path / "t")
    page = Page(path)
    assert_safe(page)
    document = (tmp_path / "t" / "track.json").read_text(encoding="utf-8")
    assert document == track(folder, records=records, **OPTIONS).to_json()
    assert path.stat().st_size <= 1_000_000
    assert page.count("h1") == page.count("main") == 1
    assert page.text.index("Collapse (coagulation) begins") < page.text.index("Best without labels")
    images = [attrs for tag, attrs in page.tags if tag == "svg" and attrs.get("role") == "img"]
    assert len(images) == len(list((tmp_path / "t" / "figures").glob("*.png"))) >= 6
    assert all(attrs.get("scope") for tag, attrs in page.tags if tag == "th")
    with (tmp_path / "t" / "track.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["healthy"] * 4 + ["collapsed"] * 3
    assert float(rows[0]["score_low"]) < float(rows[0]["score"]) < float(rows[0]["score_high"])


def test_hostile_file_names_stay_text(nemd, tmp_path):
    names = (
        "<img src=x onerror=alert(1)> 1.npy",
        "=cmd|' C'!A0 2.npy",
        '" onload="alert(1) 3.npy',
        "{{ 7 * 7 }} 4.npy",
        "שלום \u202e 日本語 🦊 5.npy",
        "@" + "x" * 200 + " 6.npy",
    )
    for name in names:
        save(tmp_path / "r", name)
    os.link(tmp_path / "r" / names[0], tmp_path / "r" / "a\nb 7.npy")
    (tmp_path / "r" / "</script> 8.npy".replace("/", "∕")).write_bytes(b"bad")
    code, out, _ = nemd("track", "r", *WORDS)
    assert code == 0
    assert "\nb 7" not in out
    page = Page(Path("nemd-track/track.html"))
    assert_safe(page)
    assert names[0] in page.text
    assert "x" * 200 not in page.source
    with Path("nemd-track/track.csv").open(encoding="utf-8", newline="") as file:
        files = [row["file"] for row in csv.DictReader(file)]
    assert not [name for name in files if name.startswith(("=", "+", "-", "@"))]


def test_checkpoints_of_the_trainer_are_ordered_and_read_their_log(
    pcl_checkpoint, tmp_path, analysed
):
    run = tmp_path / "run"
    run.mkdir()
    content = read_checkpoint(Path(pcl_checkpoint))
    for epoch, name in ((1, "a.pt"), (0, "z.pt")):
        own = content["nemd"] | {"next": {"epoch": epoch + 1, "step": 0}}
        own["log"] = own["log"] | {"epoch": epoch}
        write_checkpoint(run / name, content | {"epoch": epoch, "nemd": own})
    shutil.copy(run / "a.pt", run / "last.pt")
    lines = [json.dumps({"epoch": epoch, "terms": {}}) for epoch in range(2)]
    (run / "log.jsonl").write_text("\n".join(lines) + "\n")
    found = track(run, "digits", 10, records=tmp_path / "t")
    assert [stop.file for stop in found.course.stops] == ["z.pt", "a.pt"]
    assert found.repeated == ("last.pt",)
    assert found.course.ordered_by == "the epochs that the checkpoints store"
    (run / "log.jsonl").write_text("\n".join([*lines, '{"epoch": 2, "terms": {}}']) + "\n")
    assert track(run, "digits", 10, records=tmp_path / "t").analysed == 0  # a later epoch's line
    (run / "log.jsonl").write_text("\n".join([lines[0], '{"epoch": 1, "terms": {"x": 1}}']) + "\n")
    assert track(run, "digits", 10, records=tmp_path / "t").analysed == 1  # of a.pt's own epoch


def test_equal_embeddings_of_two_epochs_are_two_stops(tmp_path, analysed):
    save(tmp_path / "r", "epoch1.npy")
    shutil.copy(tmp_path / "r" / "epoch1.npy", tmp_path / "r" / "epoch2.npy")
    found = track(tmp_path / "r", records=tmp_path / "t", **OPTIONS)
    assert len(found.course.stops) == 2
    assert len(analysed) == 1


def test_files_may_be_named_one_by_one(folder, tmp_path):
    named = [folder / "epoch_5.npy", folder / "epoch_0.npy", folder / "epoch_0.npy"]
    found = track(named, records=tmp_path / "nemd-track", **OPTIONS)
    assert [stop.label for stop in found.course.stops] == ["epoch 0", "epoch 5"]
    with pytest.raises(InputError, match="got nothing there"):
        track([folder / "epoch_5.npy", tmp_path / "none.npy"], records=tmp_path / "t")


def test_what_fires_and_passes_again_is_told_as_not_lasting(tmp_path):
    for epoch, spread in enumerate((0.05, 0.9, 0.05, 0.9)):
        save(tmp_path / "r", f"{epoch}.npy", spread, seed=epoch)
    found = track(tmp_path / "r", records=tmp_path / "t", **OPTIONS)
    assert (found.course.collapse, found.course.recovered) == (None, (0, 2))
    document = json.loads(found.to_json())
    assert "No collapse that lasts over 4 checkpoints." in document["headline"]
    onset = next(o for o in document["onsets"] if o["code"] == "NEMD002")
    assert onset == {
        "code": "NEMD002",
        "name": "coagulation",
        "begins": None,
        "not_lasting": ["checkpoint 0", "checkpoint 2"],
    }


def test_a_single_checkpoint_and_an_ill_one_have_a_page(tmp_path):
    for name, rows in (("a", worlds.equal(200, 8)), ("b", worlds.noise(300, 8))):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "1.npy", rows.numpy())
        found = track(tmp_path / name, records=tmp_path / "t")
        page = Page(found.write(tmp_path / "t" / name))
        assert_safe(page)
        assert found.course.best is None
        assert "No checkpoint is healthy" in page.text
