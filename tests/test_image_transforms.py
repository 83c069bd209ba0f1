"""The evaluation transform of a layout: scaled, centre cut out, normalised, and said."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from nemd_toolkit.checkpoints import ImageInfo
from nemd_toolkit.image_transforms import describe_transform, layout_sizing, layout_transform
from nemd_toolkit.images import Sizing, open_images, resize_and_crop

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def info(**changes):
    own = {"channels": 3, "size": (14, 14), "mean": (0.0,) * 3, "std": (1.0,) * 3, "resize": 16}
    return ImageInfo(**(own | changes))


def resized(picture, shorter, side, interpolation):
    """torchvision's Resize(shorter, interpolation) and CenterCrop(side), of a PIL image."""
    width, height = picture.size
    long = int(shorter * max(width, height) / min(width, height))
    size = (shorter, long) if width <= height else (long, shorter)
    whole = np.asarray(picture.resize(size, FILTERS[interpolation]))
    top = round((whole.shape[0] - side) / 2)
    left = round((whole.shape[1] - side) / 2)
    return whole[top : top + side, left : left + side]


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def checks(height, width):
    squares = np.indices((height, width)).sum(0) // 7 % 2 * 255
    return squares.astype(np.uint8)[..., None].repeat(3, 2)


def photo(height, width):
    return np.ascontiguousarray(load_sample_images().images[0][:height, :width])


SIZES = [(224, 256), (128, 146), (64, 70), (224, 248), (224, 224), (518, 592)]


@pytest.mark.parametrize(("side", "shorter"), SIZES)
@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("make", [noise, checks, photo])
@pytest.mark.parametrize("shape", [(375, 500), (331, 233), (32, 32)])
def test_pictures_come_as_pillow_makes_them_for_torchvision(
    tmp_path, side, shorter, interpolation, make, shape
):
    picture = make(*shape)
    expected = resized(Image.fromarray(picture), shorter, side, interpolation)
    (tmp_path / "a").mkdir()
    Image.fromarray(picture).save(tmp_path / "a" / "x.png")
    own = info(size=(side, side), resize=shorter, interpolation=interpolation)
    images = open_images(f"folder:{tmp_path}", size=layout_sizing(own))
    found = layout_transform(own, sized=True)(images.batch(torch.tensor([0])))
    assert np.array_equal((found[0].permute(1, 2, 0) * 255).round().numpy(), expected)


@pytest.mark.parametrize(("side", "shorter"), SIZES)
@pytest.mark.parametrize(("interpolation", "levels"), [("bilinear", 1.01), ("bicubic", 1e-4)])
@pytest.mark.parametrize("make", [noise, checks, photo])
def test_pixels_in_memory_come_within_a_level_of_that(side, shorter, interpolation, levels, make):
    """Bilinear ones are not rounded to bytes, and Pillow rounds twice."""
    picture = make(120, 160)
    expected = resized(Image.fromarray(picture), shorter, side, interpolation)
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    own = info(size=(side, side), resize=shorter, interpolation=interpolation)
    found = layout_transform(own)(pixels)[0].permute(1, 2, 0) * 255
    assert np.abs(found.numpy() - expected).max() < levels


def test_bicubic_is_not_bilinear_and_cuts_overshoot_off():
    edge = torch.zeros(1, 1, 8, 8)
    edge[..., 4:] = 1
    smooth, sharp = (
        resize_and_crop(edge, Sizing(size=(32, 32), interpolation=name)) for name in FILTERS
    )
    assert (smooth - sharp).abs().max() > 0.02
    assert (sharp.min(), sharp.max()) == (0, 1)


def test_without_a_resize_the_size_is_just_covered():
    plain = info(resize=None)
    assert layout_sizing(plain).cover == (14, 14)
    assert layout_transform(plain)(torch.rand(1, 3, 30, 20)).shape == (1, 3, 14, 14)
    assert layout_sizing(info(size=None)) is None


def test_images_of_the_right_size_are_scaled_only_if_the_method_does():
    pixels = torch.rand(1, 3, 14, 14)
    assert torch.equal(layout_transform(info(resize=None))(pixels), pixels)
    assert torch.equal(layout_transform(info(), sized=True)(pixels), pixels)
    assert not torch.equal(layout_transform(info())(pixels), pixels)


@pytest.mark.parametrize("interpolation", FILTERS)
def test_squeezed_pictures_lose_their_shape_not_their_sides(tmp_path, interpolation):
    """As ViTImageProcessor of transformers does."""
    picture = Image.fromarray(noise(40, 90))
    picture.save(tmp_path / "a.png")
    own = info(size=(24, 16), resize=None, squeezed=True, interpolation=interpolation)
    images = open_images(f"folder:{tmp_path}", size=layout_sizing(own))
    expected = np.asarray(picture.resize((16, 24), FILTERS[interpolation]))
    found = images.batch(torch.tensor([0]))[0].permute(1, 2, 0) * 255
    assert np.array_equal(found.round().numpy(), expected)
    assert describe_transform(own).startswith(f"images squeezed to 24x16 ({interpolation}")


def test_long_pictures_do_not_fill_the_memory(tmp_path):
    Image.new("L", (30_000, 1)).save(tmp_path / "a.png")
    images = open_images(f"folder:{tmp_path}", size=Sizing(size=(512, 512)))
    assert images.batch(torch.tensor([0])).shape == (1, 1, 512, 512)


def test_the_sentence_says_what_was_done():
    said = describe_transform(info(interpolation="bicubic"))
    assert "cover 16x16 (bicubic, as Pillow does on bytes), centre-cropped to 14x14" in said
    assert describe_transform(info(resize=None)).startswith("images scaled to cover 14x14 (bili")


def test_the_sentence_names_the_colour_space():
    assert "centre-cropped to 14x14, in CIE Lab (D65), less mean" in describe_transform(
        info(space="lab")
    )
