"""Evaluation of checkpoints, and the command line around everything."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import pauc_train.__main__ as command
from nemd_toolkit.errors import InputError
from nemd_toolkit.images import open_images
from nemd_toolkit.measures.quality import knn_accuracy
from pauc_train.contrast import ContrastConfig
from pauc_train.evaluate import evaluate
from pauc_train.loop import fit
from pauc_train.methods import METHODS
from pauc_train.saving import read_checkpoint, write_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from tests.pauc_train.conftest import TINY

    out = tmp_path_factory.mktemp("run")
    fitting = {k: v for k, v in TINY.items() if k in ContrastConfig.__dataclass_fields__}
    return fit("mocov2", "digits", epochs=2, out=out, overrides=fitting)


def test_evaluation_counts_and_beside_it_raw_pixels(checkpoint):
    found = evaluate(checkpoint)
    assert (found.train_count, found.test_count, found.layer) == (1347, 450, "backbone")
    train, test = open_images("digits", "train"), open_images("digits", "test")
    raw = [images.batch(torch.arange(images.count)).flatten(1) for images in (train, test)]
    assert found.pixels_knn == knn_accuracy(raw[0], train.labels, raw[1], test.labels)
    assert 0.5 < found.knn <= 1
    assert 0.5 < found.linear_probe <= 1


def test_evaluation_normalises_pixels_with_the_stored_statistics(checkpoint, tmp_path):
    content = read_checkpoint(checkpoint)
    content["nemd"]["image"]["std"] = [1e6]  # features of a constant: chance
    write_checkpoint(tmp_path / "flat.pt", content)
    flat = evaluate(tmp_path / "flat.pt")
    assert flat.knn < evaluate(checkpoint).knn


def test_evaluation_uses_the_query_encoder(checkpoint, tmp_path):
    content = read_checkpoint(checkpoint)
    for key, value in content["state_dict"].items():
        if "encoder_k" in key:
            value.zero_()
    write_checkpoint(tmp_path / "q.pt", content)
    assert evaluate(tmp_path / "q.pt") == evaluate(checkpoint)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop("state_dict"), "state_dict"),
        (lambda c: c.update(state_dict=[1]), "state_dict"),
        (lambda c: c["nemd"].pop("image"), "image"),
        (lambda c: c["nemd"]["image"].update(std=[0.0]), "std"),
        (lambda c: c["nemd"]["image"].update(mean=["x"]), "image"),
        (lambda c: c["nemd"]["image"].update(channels=3, mean=[0] * 3, std=[1] * 3), "conv1"),
        (lambda c: c["nemd"].update(data=5), "data"),
        (lambda c: c["nemd"]["config"].update(image_size="x"), "image_size"),
        (
            lambda c: c["state_dict"]["module.encoder_q.conv1.weight"].fill_(float("nan")),
            "features: expected finite",
        ),
    ],
)
def test_a_damaged_checkpoint_is_one_sentence(checkpoint, tmp_path, change, words):
    content = read_checkpoint(checkpoint)
    change(content)
    write_checkpoint(tmp_path / "bad.pt", content)
    with pytest.raises(InputError, match=words) as caught:
        evaluate(tmp_path / "bad.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["nonsense", "meta"])
def test_evaluation_refuses_devices_that_cannot_compute(checkpoint, device):
    with pytest.raises(InputError, match="try cpu"):
        evaluate(checkpoint, device=device)


def test_images_of_another_shape_are_refused(checkpoint, tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("a", "b"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(2):
                pixels = rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    with pytest.raises(InputError, match="channels"):
        evaluate(checkpoint, f"folder:{tmp_path}")


def invoke(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["pauc-train", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        command.main()
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def test_fit_prints_the_path_and_evaluate_gives_json(monkeypatch, capsys, tmp_path):
    settings = [f"--set={s}" for s in ("arch=resnet8-tiny", "batch_size=50", "queue_size=100")]
    code, out, err = invoke(
        monkeypatch, capsys, "fit", "moco", "--data", "digits", "--epochs", 1, "--seed", 2,
        "--out", tmp_path, *settings,
    )  # fmt: skip
    assert (code, out.strip(), err) == (0, str(tmp_path / "last.pt"), "")
    config = read_checkpoint(tmp_path / "last.pt")["nemd"]["config"]
    assert (config["epochs"], config["queue_size"], config["views"]) == (1, 100, "digits")
    code, out, _ = invoke(monkeypatch, capsys, "evaluate", tmp_path / "last.pt", "--json")
    assert code == 0
    assert json.loads(out) == json.loads(json.dumps(evaluate(tmp_path / "last.pt").plain()))


def test_a_second_fit_says_that_nothing_is_left_to_do(checkpoint, monkeypatch, capsys, tmp_path):
    arguments = ("fit", "moco", "--data", "digits", "--epochs", 1, "--out", tmp_path)
    tiny = [f"--set={s}" for s in ("batch_size=128", "queue_size=64")]
    invoke(monkeypatch, capsys, *arguments, *tiny)
    code, _, err = invoke(monkeypatch, capsys, *arguments, *tiny)
    assert code == 0
    assert "complete with 1 epochs" in err
    _, _, quiet = invoke(monkeypatch, capsys, *arguments, *tiny, "--quiet")
    assert quiet == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fit", "mocco", "--data", "digits", "--out", "x"), "did you mean moco?"),
        (("fit", "moco", "--data", "digitz", "--out", "x"), "digitz"),
        (("fit", "moco", "--data", "digits", "--out", "x", "--set", "epoch=3"), "epochs"),
        (("fit", "moco", "--data", "digits", "--out", "x", "--recipe", "no.toml"), "no.toml"),
        (("evaluate", "none.pt"), "none.pt"),
    ],
)
def test_misuse_is_one_sentence_and_exit_code_2(arguments, words, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, out, err = invoke(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert err.startswith("pauc-train: ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_methods_are_listed_with_their_papers():
    out = CliRunner().invoke(command.app, ["methods"]).output
    assert [line.split()[0] for line in out.splitlines()[2::2]] == list(METHODS)
    assert "pauc                2022  84.46  97.15        75.16  two views" in out
    assert all(method.paper in out for method in METHODS.values())


def test_it_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "pauc_train", "methods"], capture_output=True, text=True, check=True
    )
    assert "pauc" in done.stdout
