"""Changes of colour and windows, against Pillow's and torchvision's own on fixed amounts."""

import numpy as np
import pytest
import torch
from PIL import Image

from pauc_train import colour
from pauc_train.geometry import Window, first_that_fits, sample

AMOUNTS = {
    "brightness": (0.2, 0.6, 1.0, 1.37, 1.8),
    "contrast": (0.2, 0.6, 1.0, 1.37, 1.8),
    "saturation": (0.0, 0.6, 1.0, 1.37, 1.8),
    "hue": (-0.5, -0.13, 0.0, 0.07, 0.4),
}


@pytest.fixture(scope="module")
def photos():
    """Smooth colours and noise, in steps of 1/255; greys and pure colours among them."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(5, 3, 6, 6, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (64, 64), mode="bilinear")
    pixels = smooth + 0.1 * torch.randn(5, 3, 64, 64, generator=generator)
    pixels[0, :, :8] = pixels[0, :1, :8]
    pixels[1, :, :8] = pixels[1, :, :8].round()
    return (pixels.clamp(0, 1) * 255).round() / 255


def through_pillow(photos, change, amounts):
    """Apply a function of Pillow images to each image with its amount."""
    found = []
    for photo, amount in zip(photos, amounts, strict=True):
        pixels = (photo.permute(1, 2, 0) * 255).round().byte().numpy()
        found.append(np.asarray(change(Image.fromarray(pixels), amount), dtype=np.float32))
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2) / 255


@pytest.mark.parametrize("name", AMOUNTS)
def test_jitter_is_torchvisions_on_tensors(name, photos, peers):
    functional = peers.torchvision.transforms.functional
    theirs = getattr(functional, f"adjust_{name}")
    amounts = AMOUNTS[name]
    expected = [theirs(photo, amount) for photo, amount in zip(photos, amounts, strict=True)]
    ours = getattr(colour, name)(photos, torch.tensor(amounts))
    # torchvision's luma has four digits, and does not sum to 1
    torch.testing.assert_close(ours, torch.stack(expected), rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    ("name", "levels"), [("brightness", 1), ("contrast", 1.5), ("saturation", 1.5)]
)
def test_jitter_is_pillows_within_rounding(name, levels, photos, peers):
    theirs = getattr(peers.torchvision.transforms.functional, f"adjust_{name}")
    expected = through_pillow(photos, theirs, AMOUNTS[name])
    ours = getattr(colour, name)(photos, torch.tensor(AMOUNTS[name]))
    assert float((ours - expected).abs().max()) * 255 <= levels + 1e-3


def test_hue_is_pillows_within_its_eight_bits_of_hue(photos, peers):
    theirs = peers.torchvision.transforms.functional.adjust_hue
    expected = through_pillow(photos, theirs, AMOUNTS["hue"])
    off = (colour.hue(photos, torch.tensor(AMOUNTS["hue"])) - expected).abs() * 255
    assert float(off.mean()) < 1.2
    # of Pillow's 256 hues each is 6 levels where colours are pure; the turn is cut to a whole one
    assert float(off.max()) < 18


def test_hue_by_hand():
    orange = torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1)
    turned = [
        colour.hue(orange, torch.tensor([part])).flatten().tolist() for part in (1 / 6, -1 / 6)
    ]
    assert turned[0] == pytest.approx([0.5, 1.0, 0.0], abs=1e-6)  # 30° + 60°
    assert turned[1] == pytest.approx([1.0, 0.0, 0.5], abs=1e-6)  # 30° - 60°
    grey = torch.full((1, 3, 1, 1), 0.3)
    assert torch.equal(colour.hue(grey, torch.tensor([0.4])), grey)


def test_grey_is_pillows_within_rounding(photos):
    expected = through_pillow(photos, lambda image, _: image.convert("L").convert("RGB"), range(5))
    off = (colour.grey(photos) - expected).abs().max()
    assert float(off) * 255 <= 0.51


def test_solarising_is_torchvisions_and_pillows(photos, peers):
    functional = peers.torchvision.transforms.functional
    ours = colour.solarise(photos)
    torch.testing.assert_close(ours, functional.solarize(photos, 0.5))
    expected = through_pillow(photos, lambda image, _: functional.solarize(image, 128), range(5))
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("side", [20, 32, 64])
def test_blur_is_torchvisions_with_simclrs_window(side, photos, peers):
    sigma = (0.1, 0.5, 1.0, 1.3, 2.0)
    window = 2 * (side // 10 // 2) + 1
    assert window >= 3
    small = photos[:, :, :side, :side]
    blurred = [
        peers.torchvision.transforms.functional.gaussian_blur(photo, window, width)
        for photo, width in zip(small, sigma, strict=True)
    ]
    ours = colour.blur(small, torch.tensor(sigma))
    torch.testing.assert_close(ours, torch.stack(blurred), rtol=0, atol=1e-6)


def test_blur_of_oblong_images_and_of_small_ones(photos, peers):
    oblong = photos[:2, :, :40, :30]
    ours = colour.blur(oblong, torch.tensor([0.7, 1.9]))
    for row, width in enumerate((0.7, 1.9)):
        theirs = peers.torchvision.transforms.functional.gaussian_blur(oblong[row], [3, 5], width)
        torch.testing.assert_close(ours[row], theirs, rtol=0, atol=1e-6)
    tiny = photos[:, :, :8, :8]
    assert torch.equal(colour.blur(tiny, torch.full((5,), 2.0)), tiny)


def windows(boxes, side):
    """Windows of boxes of whole pixels: top, left, height, width."""
    top, left, height, width = torch.tensor(boxes).float().T / side
    still = torch.zeros(len(boxes))
    return Window(
        width=width, height=height, x=2 * left + width - 1, y=2 * top + height - 1,
        angle=still, mirror=still + 1,
    )  # fmt: skip


def test_a_crop_is_torchvisions_but_for_the_windows_edge(photos, peers):
    """Torchvision repeats the window's edge; ours reads the image's next pixel."""
    boxes = [(0, 0, 64, 64), (3, 5, 40, 40), (20, 9, 30, 50), (1, 30, 60, 34), (40, 0, 16, 24)]
    ours = sample(photos, windows(boxes, 64), (96, 96), edge=True)
    for row, box in enumerate(boxes):
        theirs = peers.torchvision.transforms.functional.resized_crop(
            photos[row], *box, [96, 96], antialias=False
        )
        edge = -(-96 // (2 * min(box[2:])))  # half a pixel of the image
        inner = slice(edge, 96 - edge)
        off = (ours[row] - theirs).abs()
        assert float(off[:, inner, inner].max()) < 1 / 255 / 10
        if row == 0:  # a window that ends where the image does
            assert float(off.max()) < 1 / 255 / 10


def test_of_the_tries_the_first_that_fits_is_taken():
    width = torch.tensor([[0.4, 0.5], [1.1, 0.6], [1.1, 1.2], [0.9, 0.3]])
    height = torch.tensor([[0.3, 0.5], [0.2, 0.7], [0.1, 0.9], [1.1, 0.8]])
    found = first_that_fits(width, height)
    assert found[0].tolist() == pytest.approx([0.4, 0.6, 1.0, 0.3])
    assert found[1].tolist() == pytest.approx([0.3, 0.7, 1.0, 0.8])
