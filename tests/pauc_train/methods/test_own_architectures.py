"""CPC, CPC v2, AMDIM and LoCo as runs: the same bytes again, going on exactly, reading back."""

import pytest
import torch

import pauc_train.loop as loop
from pauc_train.methods import METHODS
from pauc_train.rebuild import rebuild

SMALL = {"epochs": 2, "batch_size": 50, "save_every": 2}


class StoppedError(Exception):
    """Stands for a machine that goes down."""


def stop(row):
    raise StoppedError


@pytest.mark.parametrize("name", ["cpc", "cpcv2", "amdim", "loco"])
def test_a_run_gives_the_same_bytes_again_stopped_or_not_and_is_read_back(name, tmp_path):
    whole = loop.fit(name, "digits", seed=3, out=tmp_path / "whole", overrides=SMALL)
    again = loop.fit(name, "digits", seed=3, out=tmp_path / "again", overrides=SMALL)
    assert again.read_bytes() == whole.read_bytes()
    with pytest.raises(StoppedError):
        loop.fit(name, "digits", seed=3, out=tmp_path / "stopped", overrides=SMALL, on_epoch=stop)
    gone_on = loop.fit(name, "digits", seed=3, out=tmp_path / "stopped", overrides=SMALL)
    assert gone_on.read_bytes() == whole.read_bytes()
    rebuilt = rebuild(whole)
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = rebuilt.training.eval().features(images)
    assert features.shape == (4, 64 if name in ("amdim", "loco") else 128)
    assert bool(features.isfinite().all())
    assert float(features.std(0).max()) > 0


@pytest.mark.parametrize(
    ("name", "accuracy"), [("cpc", 48.70), ("cpcv2", 65.90), ("amdim", 68.10), ("loco", 69.50)]
)
def test_the_posters_figures_are_stated(name, accuracy):
    assert METHODS[name].poster.imagenet1k == accuracy
    assert METHODS[name].poster.imagenet100 is None
