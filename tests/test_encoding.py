"""Embedding equals the forward pass written by hand, in the order of the images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nemd_toolkit.checkpoints import read_checkpoint
from nemd_toolkit.encoders import build_resnet, resnet_from_state_dict
from nemd_toolkit.encoding import embed
from nemd_toolkit.errors import InputError
from nemd_toolkit.images import open_images, resize_and_crop

MEAN, STD, SIZE = 0.3, 0.4, (10, 10)


def network(seed, **options):
    """A small ResNet whose batch statistics are not those of a fresh one."""
    torch.manual_seed(seed)
    net = build_resnet("resnet8-small", **{"channels": 1, "dim": 6} | options)
    net.train()
    net(torch.rand(32, net.shape.channels, 8, 8))
    return net.eval()


def save(path: Path, query, key, **image):
    state = {f"module.encoder_q.{k}": v for k, v in query.state_dict().items()}
    state |= {f"module.encoder_k.{k}": v for k, v in key.state_dict().items()}
    entry = {"channels": 1, "size": list(SIZE), "mean": [MEAN], "std": [STD], **image}
    nemd = {"format": "pauc-train/1", "method": "pcl", "image": entry, "prototypes": []}
    torch.save({"epoch": 1, "arch": "resnet8-small", "state_dict": state, "nemd": nemd}, path)
    return path


@pytest.fixture(scope="module")
def nets():
    return network(0), network(1)


@pytest.fixture
def path(tmp_path, nets):
    return save(tmp_path / "last.pt", *nets)


def pixels(split="test"):
    images = open_images("digits", split)
    return images.batch(torch.arange(images.count))


def unit(rows):
    return rows / rows.norm(dim=1, keepdim=True)


def by_hand(forward, seen):
    with torch.no_grad():
        return unit(forward(seen))


class TestEmbed:
    def test_it_equals_a_direct_forward_of_the_key_encoder(self, path, nets):
        seen = (resize_and_crop(pixels(), SIZE) - MEAN) / STD
        found = embed(path, "digits", split="test")
        assert torch.allclose(found.vectors, by_hand(nets[1].features, seen), atol=1e-6)
        found = embed(path, "digits", "projector", split="test")
        assert torch.allclose(found.vectors, by_hand(nets[1], seen), atol=1e-6)
        assert found.dim == 6

    def test_a_branch_can_be_chosen(self, path, nets):
        found = embed(path, "digits", "projector", "none", split="test", branch="query")
        assert torch.allclose(found.vectors, by_hand(nets[0], pixels()), atol=1e-6)

    def test_the_transform_may_be_a_function(self, path, nets):
        found = embed(path, "digits", transform=lambda x: 1 - x, split="test")
        assert torch.allclose(found.vectors, by_hand(nets[1].features, 1 - pixels()), atol=1e-6)

    def test_labels_ids_and_order_are_those_of_the_images(self, path):
        images = open_images("digits", "test")
        found = embed(path, images)
        assert np.array_equal(found.labels, images.labels)
        assert np.array_equal(found.ids, images.ids)
        assert torch.equal(found.vectors, embed(path, "digits", split="test").vectors)

    def test_the_batch_size_does_not_matter(self, path):
        whole = embed(path, "digits", split="test", batch=450).vectors
        for batch in (1, 7, 449):
            assert torch.allclose(
                embed(path, "digits", split="test", batch=batch).vectors, whole, atol=1e-6
            )

    def test_the_checkpoint_stays_as_it_was_and_can_be_used_again(self, path):
        checkpoint = read_checkpoint(path)
        before = {k: v.clone() for k, v in checkpoint.branch().state.items()}
        first = embed(checkpoint, "digits", split="test").vectors
        assert all(torch.equal(v, before[k]) for k, v in checkpoint.branch().state.items())
        assert torch.equal(embed(checkpoint, "digits", split="test").vectors, first)

    def test_vectors_can_take_part_in_gradients(self, path):
        vectors = embed(path, "digits", split="test").vectors
        weight = torch.ones(vectors.shape[1], requires_grad=True)
        (vectors @ weight).sum().backward()
        assert weight.grad is not None

    def test_grey_images_are_repeated_for_three_channels(self, tmp_path):
        net = network(2, channels=3)
        torch.save(net.state_dict(), tmp_path / "a.pt")
        mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
        std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
        seen = (pixels().repeat(1, 3, 1, 1) - mean) / std
        found = embed(tmp_path / "a.pt", "digits", split="test")
        assert torch.allclose(found.vectors, by_hand(net.features, seen), atol=1e-6)

    def test_folders_are_embedded_with_their_paths_as_ids(self, tmp_path, path):
        for name in ("a", "b"):
            (tmp_path / "pictures" / name).mkdir(parents=True)
            grey = np.random.default_rng(ord(name)).integers(0, 255, (12, 12), dtype=np.uint8)
            Image.fromarray(grey).save(tmp_path / "pictures" / name / "1.png")
        found = embed(path, f"folder:{tmp_path / 'pictures'}")
        assert found.ids.tolist() == ["a/1.png", "b/1.png"]
        assert found.labels.tolist() == [0, 1]


class TestRefusals:
    def test_colour_images_do_not_fit_a_grey_encoder(self, tmp_path, path):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
        with pytest.raises(InputError, match=r"1 channel\(s\).* got 3; convert"):
            embed(path, f"folder:{tmp_path}")

    def test_a_projector_needs_a_head(self, tmp_path):
        torch.save(network(3, head="none").state_dict(), tmp_path / "a.pt")
        with pytest.raises(InputError, match="one of the layers backbone, got 'projector'"):
            embed(tmp_path / "a.pt", "digits", "projector")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"layer": "head"}, "backbone, projector"),
            ({"transform": "imagenet"}, "layout, none"),
            ({"batch": 0}, "at least 1"),
            ({"branch": "teacher"}, "key, query"),
            ({"split": "val"}, "train, test, all"),
            ({"data": "digitz"}, "digits"),
            ({"device": "nowhere"}, "try cpu"),
            ({"transform": lambda x: x[0]}, "batch of 256"),
            ({"transform": lambda x: x / 0}, "finite"),
        ],
    )
    def test_wrong_options_are_answered_with_the_right_ones(self, path, options, message):
        with pytest.raises(InputError, match=message):
            embed(path, **{"data": "digits"} | options)

    def test_an_encoder_with_infinite_weights_is_refused(self, tmp_path, nets):
        broken = resnet_from_state_dict(nets[1].state_dict())
        with torch.no_grad():
            broken.conv1.weight[0, 0, 0, 0] = float("nan")
        with pytest.raises(InputError, match="NaN or infinity"):
            embed(save(tmp_path / "a.pt", nets[0], broken), "digits", split="test")

    def test_an_image_entry_that_contradicts_the_encoder_is_refused(self, tmp_path, nets):
        path = save(tmp_path / "a.pt", *nets, channels=3, mean=[0.3] * 3, std=[0.4] * 3)
        with pytest.raises(InputError, match="as its image entry says"):
            embed(path, "digits")

    def test_a_transform_of_another_number_of_channels_is_refused(self, path):
        with pytest.raises(InputError, match="transform: expected"):
            embed(path, "digits", transform=lambda x: x.repeat(1, 3, 1, 1))
