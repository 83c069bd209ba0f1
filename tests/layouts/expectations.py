"""What the tests of layouts ask of a reading."""

import torch

from nemd_toolkit.checkpoints import read_checkpoint

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def read(data, tmp_path, layout, *marks):
    """Save as torch does, read without a hint, and check what told the layout."""
    torch.save(data, tmp_path / "checkpoint")
    found = read_checkpoint(tmp_path / "checkpoint")
    assert found.layout == layout
    assert all(mark in found.why for mark in marks), found.why
    return found


def same(found, expected):
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def heads(branch, **expected):
    assert branch.layers == ("backbone", *expected)
    for name, state in expected.items():
        same(branch.head(name).state, state)


def prototypes(found, *expected, layer="projector", branch=None):
    own_ones = found.branch(branch).prototypes
    assert len(own_ones) == len(expected)
    for own, vectors in zip(own_ones, expected, strict=True):
        assert torch.allclose(own.vectors, vectors, atol=1e-6)
        assert (own.layer, own.unit) == (layer, True)


def image(found, *, size=(224, 224), resize=256, interpolation="bilinear", norm=IMAGENET):
    info = found.image
    assert (info.channels, info.size, info.resize) == (3, size, resize)
    assert (info.interpolation, (info.mean, info.std)) == (interpolation, norm)
