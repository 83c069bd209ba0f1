"""The evaluation transform of a layout: scaled, centre cut out, normalised, and said."""

import numpy as np
import torch
from PIL import Image

from nemd_toolkit.checkpoints import ImageInfo
from nemd_toolkit.image_transforms import describe_transform, layout_transform, size_to_open
from nemd_toolkit.images import open_images


def info(**changes):
    own = {"channels": 3, "size": (14, 14), "mean": (0.0,) * 3, "std": (1.0,) * 3, "resize": 16}
    return ImageInfo(**(own | changes))


def test_the_centre_of_the_resized_picture_is_what_the_encoder_sees(tmp_path):
    g = np.random.default_rng(0)
    picture = g.integers(0, 256, (20, 40, 3), dtype=np.uint8)
    (tmp_path / "a").mkdir()
    Image.fromarray(picture).save(tmp_path / "a" / "x.png")
    images = open_images(f"folder:{tmp_path}", size=size_to_open(info()))
    ours = layout_transform(info())(images.batch(torch.tensor([0])))
    whole = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    scaled = torch.nn.functional.interpolate(  # torchvision's Resize(16), CenterCrop(14)
        whole, size=(16, 32), mode="bilinear", antialias=True, align_corners=False
    )
    torch.testing.assert_close(
        ours, scaled[..., 1:15, 9:23], rtol=0, atol=2 / 255
    )  # Pillow rounds twice


def test_without_a_resize_the_size_is_just_covered():
    plain = info(resize=None)
    assert size_to_open(plain) == (14, 14)
    assert layout_transform(plain)(torch.rand(1, 3, 30, 20)).shape == (1, 3, 14, 14)
    assert size_to_open(info(size=None)) is None


def test_the_sentence_says_what_was_done():
    said = describe_transform(info(interpolation="bicubic"))
    assert "cover 16x16 (bilinear where the method takes bicubic" in said
    assert "centre-cropped to 14x14" in said
    assert describe_transform(info(resize=None)).startswith("images scaled to cover 14x14 (bili")


def test_the_sentence_names_the_colour_space():
    assert "centre-cropped to 14x14, in CIE Lab (D65), less mean" in describe_transform(
        info(space="lab")
    )
