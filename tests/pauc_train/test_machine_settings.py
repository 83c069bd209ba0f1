"""Settings of the machine: they run, go on to the same bytes, and change nothing else."""

import pytest
import torch

from pauc_train import loop
from pauc_train.saving import read_checkpoint
from tests.pauc_train.test_loop import StoppedError, fit, stop_after


def weights(path):
    return read_checkpoint(path)["state_dict"]


def largest_difference(first, second):
    a, b = weights(first), weights(second)
    return max(float((a[k].float() - b[k].float()).abs().max()) for k in a)


@pytest.fixture
def short(tiny):
    return tiny | {"epochs": 2}


@pytest.mark.parametrize(
    "setting",
    [
        {"precision": "bfloat16"},
        {"channels_last": False},
        {"accumulate": 2},
        {"optimizer": "adamw", "learning_rate": 1e-3},
        {"optimizer": "lars", "learning_rate": 1.0, "rate_warmup_epochs": 1},
        {"workers": 2, "schedule": "cosine"},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_a_run_with_it_goes_on_to_the_same_bytes(setting, short, tmp_path):
    whole = fit("pauc", "digits", out=tmp_path / "a", overrides=short | setting)
    stopped = {"out": tmp_path / "b", "overrides": short | setting}
    with pytest.raises(StoppedError):
        fit("pauc", "digits", on_epoch=stop_after(0), **stopped)
    assert fit("pauc", "digits", **stopped).read_bytes() == whole.read_bytes()


def test_threads_that_prepare_batches_change_nothing(short, tmp_path):
    plain = fit("mocov2", "digits", out=tmp_path / "a", overrides=short)
    ahead = fit("mocov2", "digits", out=tmp_path / "b", overrides=short | {"workers": 3})
    assert largest_difference(plain, ahead) == 0


def test_bfloat16_is_near_float32_and_is_not_it(short, tmp_path):
    """One epoch: two trainings part from each other with time."""
    short = short | {"epochs": 1}
    plain = fit("mocov2", "digits", out=tmp_path / "a", overrides=short)
    half = fit("mocov2", "digits", out=tmp_path / "b", overrides=short | {"precision": "bfloat16"})
    assert 0 < largest_difference(plain, half) < 0.2
    assert all(v.dtype != torch.bfloat16 for v in weights(half).values())


def test_two_half_batches_make_the_step_of_the_whole_where_images_do_not_meet(
    short, tmp_path, monkeypatch
):
    """SimSiam's loss is a mean over images; without batch statistics two halves add up to it."""
    settings = short | {"epochs": 1, "sgd_momentum": 0.0, "schedule": "constant", "views": "none"}
    monkeypatch.setattr(loop, "prepared", frozen_statistics(loop.prepared))
    whole = fit("simsiam", "digits", out=tmp_path / "a", overrides=settings | {"batch_size": 256})
    halves = fit(
        "simsiam", "digits", out=tmp_path / "b",
        overrides=settings | {"batch_size": 128, "accumulate": 2},
    )  # fmt: skip
    start = fit(
        "simsiam", "digits", out=tmp_path / "c",
        overrides=settings | {"batch_size": 256, "learning_rate": 1e-12},
    )  # fmt: skip
    assert largest_difference(whole, start) > 1e-4
    assert largest_difference(whole, halves) < 1e-6


def frozen_statistics(prepared):
    def run(*asked):
        training = prepared(*asked)
        for module in training.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()
        return training

    return run
