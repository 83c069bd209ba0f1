"""Colour spaces: known answers of scikit-image's conversions, and its own where it is there."""

import numpy as np
import pytest
import torch

from nemd_toolkit.images import to_space
from tests.colours import rgb2lab, rgb2ycbcr

LAB = {  # scikit-image color.rgb2lab of these bytes
    (255, 0, 0): (53.240588, 80.092308, 67.202751),
    (0, 255, 0): (87.735099, -86.18303, 83.179703),
    (0, 0, 255): (32.295673, 79.185591, -107.8573),
    (10, 200, 30): (70.500132, -70.513831, 64.94084),
    (0, 0, 0): (0, 0, 0),
}
YCBCR = {(255, 255, 255): (235, 128, 128), (255, 0, 0): (81.481, 90.203, 240),
         (0, 0, 255): (40.966, 240, 109.786), (0, 0, 0): (16, 128, 128)}  # fmt: skip
# SECAM: white is light without colour; the signals reach ±1.333
YDBDR = {(255, 255, 255): (1, 0, 0), (0, 0, 255): (0.114, 1.333, 0.217),
         (255, 0, 0): (0.299, -0.45, -1.333)}  # fmt: skip


def one(colour):
    return torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1) / 255


@pytest.mark.parametrize(
    ("space", "answers", "atol"),
    [("lab", LAB, 2e-4), ("ycbcr", YCBCR, 1e-3), ("ydbdr", YDBDR, 1e-6)],
)
def test_known_answers(space, answers, atol):
    for colour, answer in answers.items():
        found = to_space(one(colour), space).flatten().tolist()
        assert found == pytest.approx(answer, abs=atol), colour
    assert torch.equal(to_space(one((1, 2, 3)), "rgb"), one((1, 2, 3)))


@pytest.mark.parametrize(("space", "reference"), [("lab", rgb2lab), ("ycbcr", rgb2ycbcr)])
def test_all_colours_of_a_grid_agree_with_double_precision(space, reference):
    steps = np.linspace(0, 255, 18).round() / 255
    grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 1, 3)
    ours = to_space(torch.from_numpy(grid).permute(0, 3, 1, 2).float(), space)
    expected = torch.from_numpy(reference(grid)).permute(0, 3, 1, 2).float()
    tolerance = {"lab": 2e-4, "ycbcr": 2e-2}[space]  # the matrix of YCbCr has three decimals
    torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance)


def test_scikit_images_own_conversions():
    color = pytest.importorskip("skimage.color")
    rgb = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    pixels = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
    for space in ("lab", "ycbcr", "ydbdr"):
        theirs = torch.from_numpy(getattr(color, f"rgb2{space}")(rgb)).permute(2, 0, 1)[None]
        torch.testing.assert_close(to_space(pixels, space), theirs.float(), rtol=0, atol=2e-4)
