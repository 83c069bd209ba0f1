"""Runs of the methods on one encoder: repeatable, resumable, readable."""

from dataclasses import fields

import pytest
import torch

from pauc_train.loop import fit
from pauc_train.methods import METHODS
from pauc_train.rebuild import rebuild
from pauc_train.saving import read_checkpoint

NAMES = [
    "simclr", "simclrv2", "swd", "mocov3", "moco-align-uniform", "adco", "mochi",
    "byol", "simsiam", "barlow-twins", "vicreg", "swav", "cld", "looc",
]  # fmt: skip
TINY = {
    "epochs": 2, "batch_size": 64, "embedding_dim": 8, "arch": "resnet8-tiny", "queue_size": 100,
    "projector_widths": [12], "predictor_width": 6, "prototype_count": 7, "queue_epoch": 0,
    "rate_warmup_epochs": 0.5, "small_crops": 1, "groups": 5,
    "adversaries": 50, "hardest": 20, "mixed_pairs": 10, "mixed_queries": 5,
    "mixing_warmup_epochs": 1,
}  # fmt: skip


class StoppedError(Exception):
    """Stands for a machine that goes down."""


def stop(row):
    raise StoppedError


def run(name, out, **asked):
    known = {declared.name for declared in fields(METHODS[name].config)}
    chosen = {key: value for key, value in TINY.items() if key in known}
    return fit(name, "digits", seed=3, out=out, overrides=chosen, **asked)


@pytest.fixture(scope="module", params=NAMES)
def whole(request, tmp_path_factory):
    return request.param, run(request.param, tmp_path_factory.mktemp("whole"))


def test_the_same_seed_gives_the_same_bytes(whole, tmp_path):
    name, last = whole
    torch.manual_seed(99)  # nothing may depend on it
    assert run(name, tmp_path).read_bytes() == last.read_bytes()


def test_a_stopped_run_goes_on_to_the_same_bytes(whole, tmp_path):
    name, last = whole
    with pytest.raises(StoppedError):
        run(name, tmp_path, on_epoch=stop)
    half = (tmp_path / "last.pt").read_bytes()
    assert half != last.read_bytes()
    assert run(name, tmp_path).read_bytes() == last.read_bytes()


def test_it_can_be_rebuilt(whole):
    name, last = whole
    rebuilt = rebuild(last)
    assert rebuilt.method == name
    features = rebuilt.training.eval().features(torch.rand(3, 1, 8, 8))
    assert features.shape == (3, 64)
    assert bool(torch.isfinite(features).all())


def test_branches_and_prototypes_are_where_the_checkpoint_says(whole):
    _, last = whole
    content = read_checkpoint(last)
    names = [key.removeprefix("module.") for key in content["state_dict"]]
    about = content["nemd"]
    for path in about["branches"].values():
        assert f"{path['backbone']}.conv1.weight" in names
        head = path["projector"] or f"{path['backbone']}.fc"
        assert any(key.startswith(f"{head}.") for key in names)
    if about["vectors"]:
        assert any(key.startswith(f"{about['vectors']}.") for key in names)
