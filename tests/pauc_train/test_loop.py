"""Runs: the same bytes again, going on exactly, files that are whole, and errors."""

import json
import tempfile
from dataclasses import fields, replace

import pytest
import torch

import pauc_train.loop as loop
import pauc_train.step as step
from nemd_toolkit.errors import InputError, NemdError
from pauc_train.data import pixels_of
from pauc_train.method import Term, total
from pauc_train.methods import METHODS
from pauc_train.saving import read_checkpoint, write_checkpoint
from tests.pauc_train.conftest import open_few


def fit(method, data, *, overrides, **asked):
    """Train with those of the settings that the method has."""
    known = {declared.name for declared in fields(METHODS[method].config)}
    chosen = {key: value for key, value in overrides.items() if key in known}
    return loop.fit(method, data, overrides=chosen, **asked)


class StoppedError(Exception):
    """Stands for a machine that goes down."""


def stop_after(epoch):
    def check(row):
        if row["epoch"] == epoch:
            raise StoppedError

    return check


def tensors(tree):
    """All tensors of a checkpoint, in order."""
    if isinstance(tree, torch.Tensor):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else []
    return [tensor for part in parts for tensor in tensors(part)]


def same(first, second):
    a, b = tensors(read_checkpoint(first)), tensors(read_checkpoint(second))
    return len(a) == len(b) > 20 and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def epochs_of(folder):
    return [json.loads(line)["epoch"] for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    from tests.pauc_train.conftest import TINY

    return fit("pauc", "digits", seed=3, out=tmp_path_factory.mktemp("whole"), overrides=TINY)


def test_a_stopped_run_goes_on_to_the_same_bytes(whole, tiny, tmp_path):
    with pytest.raises(StoppedError):
        fit("pauc", "digits", seed=3, out=tmp_path, overrides=tiny, on_epoch=stop_after(1))
    assert epochs_of(tmp_path) == [0, 1]
    said = []
    last = fit("pauc", "digits", seed=3, out=tmp_path, overrides=tiny, say=said.append)
    assert "after epoch 2 of 4" in said[0]
    assert same(last, whole)
    assert last.read_bytes() == whole.read_bytes()
    assert epochs_of(tmp_path) == [0, 1, 2, 3]


def test_lines_of_an_epoch_that_was_not_saved_are_dropped(whole, tiny, tmp_path):
    with pytest.raises(StoppedError):
        fit("pauc", "digits", seed=3, out=tmp_path, overrides=tiny, on_epoch=stop_after(1))
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"epoch": 2}\ndamaged\n[]\n{"epoch": "x"}\n{"epo')
    fit("pauc", "digits", seed=3, out=tmp_path, overrides=tiny)
    assert epochs_of(tmp_path) == [0, 1, 2, 3]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(whole, tiny, tmp_path):
    torch.manual_seed(99)  # nothing may depend on it
    again = fit("pauc", "digits", seed=3, out=tmp_path / "a", overrides=tiny)
    assert same(again, whole)
    assert again.read_bytes() == whole.read_bytes()
    other = fit("pauc", "digits", seed=4, out=tmp_path / "b", overrides=tiny)
    assert not same(other, whole)


def test_a_finished_run_is_left_as_it_is(whole, tiny):
    before = whole.read_bytes()
    assert fit("pauc", "digits", seed=3, out=whole.parent, overrides=tiny) == whole
    assert whole.read_bytes() == before


def test_global_state_is_left_as_it_was(tiny, tmp_path):
    state = torch.get_rng_state()
    assert not torch.are_deterministic_algorithms_enabled()
    threads = torch.get_num_threads()
    seen = []
    fit(
        "moco",
        "digits",
        epochs=1,
        out=tmp_path,
        overrides={**tiny, "threads": threads + 1},
        on_epoch=lambda _: seen.append(torch.get_num_threads()),
    )
    assert (seen, torch.get_num_threads()) == ([threads + 1], threads)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.get_rng_state(), state)


def test_a_checkpoint_is_pcls_with_what_pcl_omits(whole):
    content = torch.load(whole, weights_only=True)
    assert set(content) == {"epoch", "arch", "state_dict", "optimizer", "nemd"}
    assert (content["epoch"], content["arch"]) == (3, "resnet8-tiny")
    state = content["state_dict"]
    assert state["module.queue"].shape == (8, 300)
    torch.testing.assert_close(state["module.queue"].norm(dim=0), torch.ones(300))
    for key in ("module.encoder_q.conv1.weight", "module.encoder_k.fc.2.bias", "module.queue_ptr"):
        assert key in state
    about = content["nemd"]
    assert (about["format"], about["method"], about["data"]) == ("pauc-train/1", "pauc", "digits")
    assert about["image"]["channels"] == 1
    assert about["image"]["size"] == [8, 8]
    assert [p["k"] for p in about["prototypes"]] == [4, 6]
    for p in about["prototypes"]:
        torch.testing.assert_close(p["centroids"].norm(dim=1), torch.ones(p["k"]))
        assert (p["assignment"].shape, p["assignment"].dtype) == ((256,), torch.int64)
    assert about["config"]["clusters"] == [4, 6]
    assert [p.name for p in sorted(whole.parent.glob("*.tar"))] == [
        "checkpoint_0001.pth.tar",
        "checkpoint_0003.pth.tar",
    ]


def test_the_stored_statistics_are_the_pixels(whole):
    from nemd_toolkit.images import open_images

    pixels = open_images("digits", "train").batch(torch.arange(256)).double()
    about = read_checkpoint(whole)["nemd"]["image"]
    assert about["mean"] == pytest.approx([float(pixels.mean())])
    assert about["std"] == pytest.approx([float(pixels.std(correction=0))])


def test_moco_stores_no_prototypes_and_warm_up_stores_none(tiny, tmp_path):
    for method in ("moco", "pcl"):
        last = fit(method, "digits", epochs=1, out=tmp_path / method, overrides=tiny)
        assert read_checkpoint(last)["nemd"]["prototypes"] == []


def test_the_log_holds_every_term_and_the_clusterings(whole):
    rows = [json.loads(line) for line in (whole.parent / "log.jsonl").read_text().splitlines()]
    assert list(rows[0]["terms"]) == ["info_nce"]
    assert list(rows[1]["terms"]) == ["info_nce", "proto_nce", "p_align", "p_uniform", "p_corr"]
    assert rows[0]["clusterings"] == []
    assert [c["k"] for c in rows[1]["clusterings"]] == [4, 6]
    assert all(c["used"] == c["k"] and c["objective"] > 0 for c in rows[3]["clusterings"])
    assert [row["steps"] for row in rows] == [5] * 4
    config = read_checkpoint(whole)["nemd"]["config"]
    assert [row["learning_rate"] for row in rows] == pytest.approx(
        [config["learning_rate"] * x for x in (1, 0.853553, 0.5, 0.146447)], rel=1e-5
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"overrides": {"alpha": 9}}, "alpha"),
        ({"seed": 5}, "seed 3 there, 5 here"),
        ({"epochs": 9}, "epochs 4 there, 9 here"),
        ({"method": "pcl"}, "method pauc there, pcl here"),
    ],
)
def test_a_folder_of_another_run_is_left_alone(whole, tiny, change, words):
    before = {path.name: path.read_bytes() for path in whole.parent.iterdir()}
    asked = {"method": "pauc", "seed": 3, **change}
    asked["overrides"] = {**tiny, **change.get("overrides", {})}
    with pytest.raises(InputError, match=words):
        fit(data="digits", out=whole.parent, **asked)
    assert {path.name: path.read_bytes() for path in whole.parent.iterdir()} == before


def test_a_run_that_stopped_before_its_first_checkpoint_starts_anew(tiny, tmp_path):
    (tmp_path / "log.jsonl").write_text('{"epoch": 0, "steps": 1}\n')
    fit("moco", "digits", out=tmp_path, overrides=tiny | {"epochs": 1})
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1


def test_a_write_that_fails_leaves_the_old_checkpoint_whole(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    ours = {"format": "pauc-train/1", "config": {}}
    write_checkpoint(path, {"nemd": ours, "epoch": 1})

    def half(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="space"):
        write_checkpoint(path, {"epoch": 2})
    assert read_checkpoint(path)["epoch"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_broken_checkpoint_is_one_sentence(tmp_path, content):
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(InputError, match="last.pt: expected a") as caught:
        read_checkpoint(tmp_path / "last.pt")
    assert "\n" not in str(caught.value)


def test_another_programs_checkpoint_is_refused(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "a.pt")
    with pytest.raises(InputError, match="pauc-train/1"):
        read_checkpoint(tmp_path / "a.pt")
    with pytest.raises(InputError, match="got no file"):
        read_checkpoint(tmp_path / "b.pt")


@pytest.mark.parametrize("unread", [1, 3])  # on a CPU; where losses are read in threes
def test_a_loss_that_is_not_finite_stops_and_says_what_to_try(tiny, tmp_path, monkeypatch, unread):
    monkeypatch.setattr(step, "_unread_at_most", lambda run: unread)
    plain = step.total
    calls = []

    def broken(terms):
        calls.append(terms)
        value = plain(terms)
        return value * float("nan") if len(calls) == 8 else value  # epoch 1, step 2

    monkeypatch.setattr(step, "total", broken)
    with pytest.raises(NemdError, match="epoch 1, step 2") as caught:
        fit("moco", "digits", out=tmp_path, overrides=tiny)
    for words in ("info_nce", "last.pt", "learning_rate"):
        assert words in str(caught.value)
    assert read_checkpoint(tmp_path / "last.pt")["epoch"] == 0


def test_losses_that_wait_change_nothing(tiny, tmp_path, monkeypatch):
    fit("moco", "digits", out=tmp_path / "a", overrides=tiny)
    monkeypatch.setattr(step, "_unread_at_most", lambda run: 4)
    fit("moco", "digits", out=tmp_path / "b", overrides=tiny)
    a, b = (tmp_path / name / "last.pt" for name in "ab")
    assert a.read_bytes() == b.read_bytes()
    assert epochs_of(tmp_path / "a") == epochs_of(tmp_path / "b")


def test_weights_that_the_last_step_ruined_are_not_saved(tiny, tmp_path):
    one_step = {**tiny, "batch_size": 256, "learning_rate": 1e30}
    with pytest.raises(NemdError, match="weights.*no checkpoint was written"):
        fit("moco", "digits", out=tmp_path, overrides=one_step)
    assert list(tmp_path.iterdir()) == []


def test_ruined_weights_later_leave_the_last_good_checkpoint(tiny, tmp_path, monkeypatch):
    def set_rate(optimizer, config, passed):
        optimizer.param_groups[0]["lr"] = 1e30 if passed else 0.03
        return 0.0

    monkeypatch.setattr(loop, "set_learning_rate", set_rate)
    with pytest.raises(NemdError, match="weights.*epoch 1.*last good checkpoint is .*last.pt"):
        fit("moco", "digits", out=tmp_path, overrides={**tiny, "batch_size": 256})
    assert read_checkpoint(tmp_path / "last.pt")["epoch"] == 0
    assert epochs_of(tmp_path) == [0]


def fewer(*asked):
    images = open_few(*asked)
    return replace(images, ids=images.ids[:-1], labels=images.labels[:-1])


@pytest.mark.parametrize(
    ("name", "changed", "words"),
    [
        ("open_split", fewer, "images 256 there, 255 here"),
        ("pixels_of", lambda images: replace(pixels_of(images), mean=(0.25,)), "mean .* there"),
    ],
)
def test_other_images_than_before_are_refused(whole, tiny, monkeypatch, name, changed, words):
    monkeypatch.setattr(loop, name, changed)
    before = {path.name: path.read_bytes() for path in whole.parent.iterdir()}
    with pytest.raises(InputError, match=words):
        fit("pauc", "digits", seed=3, out=whole.parent, overrides=tiny)
    assert {path.name: path.read_bytes() for path in whole.parent.iterdir()} == before


def damaged(content, kind):
    state, about, optimizer = content["state_dict"], content["nemd"], content["optimizer"]
    first = next(iter(state))
    {
        "no state": lambda: content.pop("state_dict"),
        "a list": lambda: content.update(state_dict=[1]),
        "a key that is a number": lambda: state.update({5: state.pop(first)}),
        "text for a tensor": lambda: state.update({first: "x"}),
        "nan": lambda: state[first].fill_(float("nan")),
        "no place": lambda: about.pop("next"),
        "an epoch of text": lambda: about["next"].update(epoch="x"),
        "an epoch too far": lambda: about["next"].update(epoch=99),
        "a step too far": lambda: about["next"].update(step=5),
        "no optimizer": lambda: content.pop("optimizer"),
        "no momentum": optimizer["state"].clear,
        "another momentum": lambda: optimizer["state"][0].update(momentum_buffer=torch.ones(2)),
        "no image": lambda: about.pop("image"),
        "an image of text": lambda: about.update(image="x"),
        "a setting of tensors": lambda: about["config"].update(alpha=torch.ones(3)),
    }[kind]()
    return content


DAMAGE = (
    "no state", "a list", "a key that is a number", "text for a tensor", "nan", "no place",
    "an epoch of text", "an epoch too far", "a step too far", "no optimizer", "no momentum",
    "another momentum", "no image", "an image of text", "a setting of tensors",
)  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_not_gone_on_with(whole, tiny, tmp_path, kind):
    write_checkpoint(tmp_path / "last.pt", damaged(read_checkpoint(whole), kind))
    before = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(InputError, match="choose another folder") as caught:
        fit("pauc", "digits", seed=3, out=tmp_path, overrides=tiny)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "last.pt").read_bytes() == before


@pytest.mark.parametrize("place", ["file/run", "file/a/b"])
def test_a_folder_that_cannot_be_made_is_refused_before_training(tiny, tmp_path, place):
    (tmp_path / "file").write_text("precious")
    rows = []
    with pytest.raises(InputError, match="out: cannot write"):
        fit("moco", "digits", out=tmp_path / place, overrides=tiny, on_epoch=rows.append)
    assert rows == []
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_takes_no_files_is_left_as_it_was(tiny, tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        fit("moco", "digits", out=tmp_path / "a" / "b", overrides=tiny)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("method", "setting"), [("moco", {"epochs": 1, "warmup_epochs": 0}), ("pcl", {"epochs": 1})]
)
def test_runs_that_never_cluster_may_ask_for_any_number_of_prototypes(
    method, setting, tiny, tmp_path
):
    fit(method, "digits", out=tmp_path, overrides={**tiny, "clusters": [25000], **setting})


@pytest.mark.parametrize(
    ("setting", "words"),
    [({"batch_size": 2000}, "batch_size"), ({"clusters": [5, 257]}, "clusters=.5")],
)
def test_too_few_images_are_said_before_training(tiny, tmp_path, setting, words):
    with pytest.raises(InputError, match=words):
        fit("pcl", "digits", out=tmp_path / "x", overrides={**tiny, **setting})
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("device", ["nonsense", "meta", "hpu", ""])
def test_a_device_that_cannot_compute_is_refused(tiny, tmp_path, device):
    with pytest.raises(InputError, match="try cpu"):
        fit("pcl", "digits", out=tmp_path, overrides=tiny, device=device)


def test_total_sums_weighted_terms_and_leaves_out_weight_zero():
    terms = {
        "a": Term(value=torch.tensor(2.0), weight=0.5),
        "b": Term(value=torch.tensor(float("nan")), weight=0.0),
    }
    assert float(total(terms)) == 1.0
