"""Runs of the methods with a bank or classes for images: same bytes, going on exactly, rebuilt."""

import copy
from dataclasses import fields

import pytest
import torch

from pauc_train import loop
from pauc_train.method import Batch, Setup, total
from pauc_train.methods import METHODS
from pauc_train.rebuild import rebuild
from pauc_train.views import Draws

NAMES = ("npid", "pirl", "cmc", "biased-cmc", "debiased-cmc", "pic", "infomin")
SMALL = {
    "arch": "resnet8-tiny", "epochs": 2, "batch_size": 50, "embedding_dim": 8, "save_every": 1,
    "bank_negatives": 20, "grid": 2, "temperature": 0.2, "queue_size": 100,
    "views": "digits", "jigsaw_views": "digits", "small_views": "digits-small", "small_crops": 1,
    "recent_classes": 30, "rate_warmup_epochs": 0.5,
}  # fmt: skip


class StoppedError(Exception):
    """Stands for a machine that goes down."""


def stop(_):
    raise StoppedError


def settings(name, **changed):
    known = {declared.name for declared in fields(METHODS[name].config)}
    return {key: value for key, value in {**SMALL, **changed}.items() if key in known}


def fit(name, out, **asked):
    return loop.fit(name, "digits", seed=5, out=out, overrides=settings(name), **asked)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bytes_again_also_after_a_stop_and_a_model_of_them(name, tmp_path):
    whole = fit(name, tmp_path / "whole")
    with pytest.raises(StoppedError):
        fit(name, tmp_path / "parts", on_epoch=stop)
    parts = fit(name, tmp_path / "parts")
    assert whole.read_bytes() == parts.read_bytes()
    rebuilt = rebuild(whole)
    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = rebuilt.training.eval().features(images)
    assert features.shape == (5, 64)
    assert bool(torch.isfinite(features).all())
    assert float(features.std(0).mean()) > 1e-4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_loss_reaches_every_parameter_and_moves_the_vectors_of_its_images_only(name, channels):
    method = METHODS[name]
    config = method.config(**settings(name))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        training = method.start(
            Setup(
                config=config,
                count=40,
                channels=channels,
                size=(8, 8),
                generator=torch.Generator().manual_seed(1),
            )
        ).train()
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(6, channels, 8, 8, generator=generator)
    views = tuple(view(images, Draws(generator, 6)) for view in method.views(config))
    indices = torch.tensor([3, 1, 39, 20, 7, 8])
    before = copy.deepcopy(training.state_dict())
    terms = training(Batch(views=views, indices=indices, epoch=0, progress=0.0), generator)
    total(terms).backward()
    unmoved = [
        key
        for key, parameter in training.named_parameters()
        if parameter.requires_grad and float(parameter.grad.abs().max()) == 0
    ]
    assert unmoved == []
    others = torch.ones(40, dtype=torch.bool)
    others[indices] = False
    for key, value in training.state_dict().items():
        if key.endswith("memory"):
            changed = (value != before[key]).any(1)
            assert torch.equal(changed, ~others)
            torch.testing.assert_close(value.norm(dim=1), torch.ones(40))
