"""CMC's halves against published colours, its pairing of banks, and the debiased loss."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from nemd_toolkit.errors import InputError
from pauc_train import colour
from pauc_train.method import Setup
from pauc_train.methods import METHODS
from pauc_train.methods.cmc import halves
from pauc_train.methods.debiased_cmc import debiased_contrast
from tests.pauc_train.methods.small import batch_of, started

# L*a*b* of the corners of sRGB under D65; their extremes are the ranges in CMC's train_CMC.py
CORNERS = {
    (1, 0, 0): (53.24, 80.09, 67.20),
    (0, 1, 0): (87.73, -86.18, 83.18),
    (0, 0, 1): (32.30, 79.19, -107.86),
    (1, 1, 0): (97.14, -21.55, 94.48),
    (1, 0, 1): (60.32, 98.23, -60.82),
    (0, 1, 1): (91.11, -48.09, -14.13),
    (1, 1, 1): (100.0, 0.0, 0.0),
    (0, 0, 0): (0.0, 0.0, 0.0),
}


def wave(*shape, phase=0.0):
    return torch.sin(1.7 * torch.arange(math.prod(shape)) + phase).reshape(shape)


def test_lab_has_the_published_values_at_the_corners_of_the_cube():
    images = torch.tensor(list(CORNERS), dtype=torch.float32).view(8, 3, 1, 1)
    expected = torch.tensor(list(CORNERS.values()))
    torch.testing.assert_close(colour.lab(images)[:, :, 0, 0], expected, atol=0.02, rtol=0)


def test_grey_pixels_have_no_colour_and_the_lightness_of_their_luminance():
    grey = torch.tensor([0.02, 0.2, 0.5, 0.9])
    lab = colour.lab(grey.view(4, 1, 1, 1).expand(4, 3, 1, 1))[:, :, 0, 0]
    for value, (lightness, a, b) in zip(grey.tolist(), lab.tolist(), strict=True):
        y = value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        expected = 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y
        assert lightness == pytest.approx(expected, abs=0.01)
        assert abs(a) + abs(b) < 0.02


def test_halves_of_all_colours_fill_minus_one_to_one():
    images = torch.tensor(list(CORNERS), dtype=torch.float32).view(8, 3, 1, 1)
    lightness, colours = halves(images)
    both = torch.cat([lightness, colours], dim=1)[:, :, 0, 0]
    torch.testing.assert_close(both.amin(0), -torch.ones(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(both.amax(0), torch.ones(3), atol=1e-3, rtol=0)


def test_slopes_of_a_plane_are_its_slopes():
    y, x = torch.meshgrid(torch.arange(5.0), torch.arange(5.0), indexing="ij")
    _, slopes = halves((2 * y - 3 * x).view(1, 1, 5, 5))
    assert torch.equal(slopes[0, :, 1:-1, 1:-1].amin((1, 2)), torch.tensor([2.0, -3.0]))
    assert torch.equal(slopes[0, :, 1:-1, 1:-1].amax((1, 2)), torch.tensor([2.0, -3.0]))


def colour_training(mean, std):
    config = METHODS["cmc"].config(arch="resnet8-tiny", embedding_dim=8, bank_negatives=5)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = torch.Generator().manual_seed(0)
        return METHODS["cmc"].start(
            Setup(
                config=config, count=20, channels=3, size=(8, 8), generator=generator,
                mean=mean, std=std,
            )
        )  # fmt: skip


def test_how_pixels_were_normalised_makes_no_difference_to_colours():
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    plain = colour_training((0.0,), (1.0,)).eval()
    other = colour_training((0.5, 0.4, 0.3), (0.2, 0.3, 0.1)).eval()
    mean, std = torch.tensor(other.mean).view(3, 1, 1), torch.tensor(other.std).view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(
            other.features((images - mean) / std), plain.features(images), atol=1e-4, rtol=1e-3
        )


def test_images_of_two_channels_are_refused():
    config = METHODS["cmc"].config(arch="resnet8-tiny")
    setup = Setup(config=config, count=9, channels=2, size=(8, 8), generator=torch.Generator())
    with pytest.raises(InputError, match="cmc: expected grey or RGB images, got 2 channels"):
        METHODS["cmc"].start(setup)


@pytest.mark.parametrize("name", ["cmc", "biased-cmc"])
def test_each_half_looks_for_its_image_in_the_other_ones_bank(name):
    chosen = {"objective": "softmax"} if name == "cmc" else {}
    training = started(name, embedding_dim=8, temperature=0.5, bank_negatives=0, **chosen)
    before = copy.deepcopy(training)
    batch = batch_of(8)
    terms = training(batch, torch.Generator())
    with torch.no_grad():
        one, two = halves(batch.views[0])
        first = F.normalize(before.head1(before.encoder1(one)), dim=1)
        second = F.normalize(before.head2(before.encoder2(two)), dim=1)
    for term, queries, bank in (
        ("lightness", first, before.bank2),
        ("colours", second, before.bank1),
    ):
        expected = 0.0
        for query, image in zip(queries, batch.indices.tolist(), strict=True):
            powers = [math.exp(float(query @ vector) / 0.5) for vector in bank.memory]
            expected -= math.log(powers[image] / sum(powers)) / len(queries)
        assert terms[term].value.item() == pytest.approx(expected, rel=1e-4)
        assert terms[term].weight == 1
    moved = F.normalize(before.bank1.memory[batch.indices] + first, dim=1)
    torch.testing.assert_close(training.bank1.memory[batch.indices], moved)


@pytest.mark.parametrize(
    ("class_prior", "loss"),
    [(0.01, 0.8847661018371582), (0.1, 0.5733959674835205), (0.3, 0.15104544162750244)],
)
def test_debiased_loss_is_that_of_the_authors_code(class_prior, loss):
    """Figures: chingyaoc/DCL, main.py, T=.5; the bound holds for 0, 2 and all 10 rows."""
    first = F.normalize(wave(5, 6, phase=1.0), dim=1)
    second = F.normalize(first + 0.3 * wave(5, 6, phase=2.0), dim=1)
    out = torch.cat([first, second])
    products = out @ out.T / 0.5
    rows = []
    for i in range(10):
        pair = (i + 5) % 10
        negatives = [products[i, j] for j in range(10) if j not in (i, pair)]
        rows.append(torch.stack([products[i, pair], *negatives]))
    value = debiased_contrast(torch.stack(rows), class_prior=class_prior, temperature=0.5)
    assert value.item() == pytest.approx(loss, rel=1e-5)


def test_without_a_prior_the_debiased_loss_is_cross_entropy():
    logits = 3 * wave(6, 9)
    value = debiased_contrast(logits, class_prior=0.0, temperature=0.07)
    expected = F.cross_entropy(logits, torch.zeros(6, dtype=torch.long))
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_prior_changes_what_debiased_cmc_adds_up():
    chosen = {"embedding_dim": 8, "temperature": 0.5, "bank_negatives": 0}
    values = [
        started("debiased-cmc", class_prior=prior, **chosen)(batch_of(8), torch.Generator())
        for prior in (0.0, 0.2)
    ]
    biased = started("biased-cmc", **chosen)(batch_of(8), torch.Generator())
    assert torch.equal(values[0]["lightness"].value, biased["lightness"].value)
    assert values[1]["lightness"].value != values[0]["lightness"].value


def test_features_are_those_of_both_networks():
    training = started("cmc", embedding_dim=8).eval()
    images = batch_of(8).views[0]
    with torch.no_grad():
        whole = training.features(images)
        one, two = halves(images)
        assert torch.equal(whole[:, :32], training.encoder1(one))
        assert torch.equal(whole[:, 32:], training.encoder2(two))
