"""Batches over images, and the schedule of the learning rate."""

import pytest
import torch

from nemd_toolkit.images import open_images
from pauc_train.config import Config
from pauc_train.data import Feed, Pixels, apply, pixels_of
from pauc_train.method import preset
from pauc_train.optim import learning_rate

CPU = torch.device("cpu")
PLAIN = Pixels(channels=1, size=(8, 8), mean=(0.0,), std=(1.0,))


@pytest.fixture(scope="module")
def digits():
    return open_images("digits", "test")  # 450 images


def epoch(images, views="none", seed=0, size=100, start=0, workers=0):
    feed = Feed(
        images=images, pixels=PLAIN, views=(preset(views),) * 2, batch_size=size, seed=seed,
        device=CPU, workers=workers,
    )  # fmt: skip
    return list(feed.epoch(1, 4, start))


def test_an_epoch_shows_images_once_and_leaves_out_the_incomplete_batch(digits):
    indices = torch.cat([batch.indices for batch in epoch(digits)])
    assert len(indices) == 400
    assert len(indices.unique()) == 400
    assert len(epoch(digits, size=450)) == 1


def test_indices_name_the_images_of_the_batch(digits):
    for batch in epoch(digits):
        assert torch.equal(batch.views[0], digits.batch(batch.indices))
        assert torch.equal(batch.views[1], batch.views[0])


def test_the_two_views_differ_and_the_order_depends_on_the_generator(digits):
    first = epoch(digits, "digits")[0]
    assert not torch.equal(*first.views)
    assert not torch.equal(first.indices, epoch(digits, "digits", seed=1)[0].indices)


@pytest.mark.parametrize("workers", [0, 3])
def test_an_epoch_is_gone_on_with_at_any_batch_whatever_the_workers(digits, workers):
    whole = epoch(digits, "digits")
    rest = epoch(digits, "digits", start=2, workers=workers)
    assert len(rest) == len(whole) - 2
    for a, b in zip(rest, whole[2:], strict=True):
        assert torch.equal(a.indices, b.indices)
        assert all(torch.equal(x, y) for x, y in zip(a.views, b.views, strict=True))
        assert (a.epoch, a.progress) == (b.epoch, b.progress)


def test_progress_is_the_part_of_all_epochs_that_is_done(digits):
    assert [batch.progress for batch in epoch(digits)] == [0.25, 0.3125, 0.375, 0.4375]


def test_normalised_pixels_have_mean_zero_and_deviation_one(digits):
    pixels = pixels_of(digits)
    flat = apply(digits, pixels, lambda x: x.flatten(1), CPU)
    assert float(flat.mean()) == pytest.approx(0, abs=1e-5)
    assert float(flat.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert pixels.plain() == {
        "channels": pixels.channels,
        "size": list(pixels.size),
        "mean": list(pixels.mean),
        "std": list(pixels.std),
    }


def test_a_plain_pass_keeps_the_order(digits):
    flat = apply(digits, PLAIN, lambda x: x.flatten(1), CPU)
    assert torch.equal(flat, digits.batch(torch.arange(450)).flatten(1))


@pytest.mark.parametrize(
    ("change", "passed", "rates"),
    [
        # ½(1 + cos 0°, 45°, 90°, 135°)
        ({}, (0, 1, 2, 3, 3.9), (0.4, 0.341421, 0.2, 0.058579, 0.058579)),
        ({"schedule": "cosine"}, (0, 1, 2.5, 4), (0.4, 0.341421, 0.123463, 0)),
        ({"schedule": "step", "milestones": (0.5, 0.75)}, (1.9, 2, 3.5), (0.4, 0.04, 0.004)),
        ({"schedule": "constant"}, (0, 3.9), (0.4, 0.4)),
        # from 0, then half a cosine over the other two epochs
        ({"schedule": "cosine", "rate_warmup_epochs": 2.0}, (0, 0.5, 2, 3), (0, 0.1, 0.4, 0.2)),
    ],
)
def test_schedules(change, passed, rates):
    config = Config(epochs=4, learning_rate=0.4, **change)
    assert [learning_rate(config, at) for at in passed] == pytest.approx(rates, abs=1e-6)
