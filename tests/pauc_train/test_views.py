"""Random views: identity, range, determinism, and that each change does what its name says."""

import pytest
import torch

from nemd_toolkit.errors import InputError
from pauc_train import views as module
from pauc_train.views import VIEWS, Draws, Views


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_view(images, views, generator):
    return module.random_view(images, views, Draws(generator, len(images)))


def images(b=6, c=3, h=12, w=8):
    return torch.rand(b, c, h, w, generator=seeded(9))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("preset", [name for name in VIEWS if name != "none"])
def test_presets_keep_shape_and_range_and_follow_the_generator(preset, channels):
    x = images(c=channels)
    view = random_view(x, VIEWS[preset], seeded(1))
    side = VIEWS[preset].side
    assert view.shape == (*x.shape[:2], round(12 * side), round(8 * side))
    assert 0 <= float(view.min()) <= float(view.max()) <= 1
    assert torch.equal(view, random_view(x, VIEWS[preset], seeded(1)))
    assert not torch.equal(view, random_view(x, VIEWS[preset], seeded(2)))
    assert not torch.equal(
        view[0], random_view(x[:1].expand(2, -1, -1, -1), VIEWS[preset], seeded(1))[1]
    )


def test_views_do_not_draw_from_the_global_generator():
    before = torch.get_rng_state()
    random_view(images(), VIEWS["photos"], seeded())
    assert torch.equal(torch.get_rng_state(), before)


def test_parameters_that_change_nothing_give_the_image_back():
    assert torch.equal(random_view(images(), Views(), seeded()), images())
    assert VIEWS["none"] == Views()


def test_an_identity_window_samples_the_image_itself():
    """The sampling path with a window that neither moves nor scales."""
    almost = Views(area=(1.0, 1.0 + 1e-12), inside=True)
    torch.testing.assert_close(random_view(images(), almost, seeded()), images(), rtol=0, atol=1e-5)


def test_a_certain_flip_mirrors_left_and_right():
    flipped = random_view(images(), Views(flip=1.0), seeded())
    torch.testing.assert_close(flipped, images().flip(3), rtol=0, atol=1e-5)


def test_rotation_is_in_pixels_also_for_oblong_images():
    """A disc stays a disc; in coordinates of the sides it would become an ellipse."""
    y, x = torch.meshgrid(torch.arange(24) - 11.5, torch.arange(16) - 7.5, indexing="ij")
    disc = ((x**2 + y**2) < 30).float()[None, None]
    turned = random_view(disc.expand(20, -1, -1, -1), Views(rotation=180.0), seeded())
    assert float((turned - disc).abs().mean()) < 0.03


def test_a_crop_shows_a_part_of_the_image():
    ramp = torch.linspace(0, 1, 64).expand(50, 1, 64, 64)
    crop = random_view(ramp, Views(area=(0.25, 0.25), inside=True), seeded())
    seen = crop.amax((1, 2, 3)) - crop.amin((1, 2, 3))  # half the side: half of the ramp
    torch.testing.assert_close(seen, torch.full((50,), 0.5), rtol=0, atol=0.02)
    assert float(crop.mean((1, 2, 3)).std()) > 0.1  # windows lie in different places


def test_shift_moves_by_at_most_its_part_of_the_side():
    point = torch.zeros(200, 1, 21, 21)
    point[:, :, 10, 10] = 1.0
    moved = random_view(point, Views(shift=0.2), seeded())
    places = torch.arange(21.0)
    columns = (moved.sum((1, 2)) * places).sum(1) / moved.sum((1, 2, 3))
    assert 3.5 < float((columns - 10).abs().max()) < 4.2 + 0.1


def test_grey_leaves_no_colour():
    grey = random_view(images(), Views(grey=1.0), seeded())
    torch.testing.assert_close(grey[:, 0], grey[:, 1])
    torch.testing.assert_close(grey[:, 0], grey[:, 2])


def test_brightness_scales_each_image_by_one_factor():
    flat = torch.full((50, 1, 2, 2), 0.5)
    factors = random_view(flat, Views(brightness=0.4), seeded()) / 0.5
    assert 0.6 <= float(factors.min()) < 0.7 < 1.3 < float(factors.max()) <= 1.4
    assert torch.equal(factors.amax((1, 2, 3)), factors.amin((1, 2, 3)))


def test_contrast_keeps_the_mean():
    x = 0.4 + 0.2 * images(c=1)
    changed = random_view(x, Views(contrast=0.4), seeded())
    torch.testing.assert_close(changed.mean((1, 2, 3)), x.mean((1, 2, 3)))
    ratio = changed.std((1, 2, 3)) / x.std((1, 2, 3))
    assert 0.6 <= float(ratio.min()) < float(ratio.max()) <= 1.4


def test_noise_has_the_deviation_asked_for():
    flat = torch.full((50, 1, 16, 16), 0.5)
    noisy = random_view(flat, Views(noise=0.05), seeded())
    assert float(noisy.std()) == pytest.approx(0.05, rel=0.03)


def test_erasing_removes_about_its_area_from_its_share_of_images():
    ones = torch.ones(2000, 1, 32, 32)
    views = Views(erase=0.5, erase_area=(0.1, 0.1))
    lost = 1 - random_view(ones, views, seeded()).mean((1, 2, 3))
    assert float((lost > 0).float().mean()) == pytest.approx(0.5, abs=0.04)
    assert 0.05 < float(lost[lost > 0].mean()) <= 0.1  # some reach over the edge


def test_pixels_outside_zero_to_one_are_refused():
    with pytest.raises(InputError, match="0, 1"):
        random_view(images() * 255, Views(), seeded())


@pytest.mark.parametrize("preset", VIEWS)
def test_a_process_sees_its_share_of_the_whole_batches_views(preset):
    x = images(b=8)
    whole = random_view(x, VIEWS[preset], seeded())
    for share in (slice(0, 4), slice(4, 8)):
        part = module.random_view(x[share], VIEWS[preset], Draws(seeded(), 8, share))
        torch.testing.assert_close(part, whole[share], rtol=0, atol=1e-6)
