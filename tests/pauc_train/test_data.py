"""Batches over images, and the schedule of the learning rate."""

import pytest
import torch

from nemd_toolkit.images import open_images
from pauc_train.config import Config
from pauc_train.data import Pixels, apply, batches, pixels_of
from pauc_train.optim import make_optimizer, set_learning_rate
from pauc_train.views import VIEWS, Views

CPU = torch.device("cpu")
PLAIN = Pixels(channels=1, size=(8, 8), mean=(0.0,), std=(1.0,))


@pytest.fixture(scope="module")
def digits():
    return open_images("digits", "test")  # 450 images


def epoch(images, views=Views(), seed=0, pixels=PLAIN, size=100):  # noqa: B008, frozen
    generator = torch.Generator().manual_seed(seed)
    return list(batches(images, pixels, views, batch_size=size, generator=generator, device=CPU))


def test_an_epoch_shows_images_once_and_leaves_out_the_incomplete_batch(digits):
    indices = torch.cat([batch.indices for batch in epoch(digits)])
    assert len(indices) == 400
    assert len(indices.unique()) == 400
    assert len(epoch(digits, size=450)) == 1


def test_indices_name_the_images_of_the_batch(digits):
    for batch in epoch(digits):
        assert torch.equal(batch.first, digits.batch(batch.indices))
        assert torch.equal(batch.second, batch.first)


def test_the_two_views_differ_and_the_order_depends_on_the_generator(digits):
    first = epoch(digits, VIEWS["digits"])[0]
    assert not torch.equal(first.first, first.second)
    assert not torch.equal(first.indices, epoch(digits, VIEWS["digits"], seed=1)[0].indices)


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


def test_the_schedule_is_half_a_cosine_from_the_full_rate(encoder):
    config = Config(epochs=4, learning_rate=0.4)
    optimizer = make_optimizer(encoder, config)
    rates = [set_learning_rate(optimizer, epoch, config) for epoch in range(4)]
    # ½(1 + cos 0°, 45°, 90°, 135°)
    assert rates == pytest.approx([0.4, 0.341421, 0.2, 0.058579], abs=1e-6)
    assert optimizer.param_groups[0]["lr"] == rates[3]


def test_the_optimizer_leaves_frozen_parameters_alone(encoder):
    encoder.conv1.requires_grad_(False)
    held = {
        id(p) for group in make_optimizer(encoder, Config()).param_groups for p in group["params"]
    }
    assert id(encoder.conv1.weight) not in held
    assert id(encoder.fc.weight) in held
