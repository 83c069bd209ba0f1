"""Encoders of timm, torchvision and transformers by name: the libraries' own forward."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import nemd_toolkit as nt
from nemd_toolkit.encoding import prepare_pass
from nemd_toolkit.errors import InputError
from nemd_toolkit.images import open_images
from tests.encoders.test_peers import random_weights
from tests.test_encoder_choice import embedded, tiny, unit

pytestmark = pytest.mark.filterwarnings("ignore", "error::nemd_toolkit.errors.PartlyLoaded")

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5,) * 3, (0.5,) * 3)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Twelve images of 256 pixels, which are cut to 224 and not scaled."""
    path = tmp_path_factory.mktemp("pictures") / "a.npy"
    np.save(path, np.random.default_rng(0).integers(0, 255, (12, 256, 256, 3), np.uint8))
    return f"arrays:{path}"


def seen(pictures, mean, std, size=224):
    images = open_images(pictures, "all")
    edge = (256 - size) // 2
    pixels = images.batch(torch.arange(images.count))[..., edge : edge + size, edge : edge + size]
    return (pixels - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


def assert_forward(nemd, words, pictures, forward, input_):
    """`nemd embed` gives what the library's own forward gives."""
    code, out, err = nemd("embed", *words, "--data", pictures, "--split", "all", "--out", "e.npz")
    assert (code, err) == (0, "")
    with torch.inference_mode():
        theirs = unit(forward(input_))
    ours = torch.from_numpy(np.load("e.npz")["vectors"])
    assert theirs.std(0).max() > 1e-4  # no constant passes
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    return out


class TestPeers:
    def test_timm_of_no_known_layout(self, nemd, peers, pictures):
        model = random_weights(peers.timm.create_model("convnext_atto", num_classes=7))
        torch.save({"state_dict": model.state_dict()}, "a.pt")
        model.reset_classifier(0)
        words = ("a.pt", "--encoder", "timm:convnext_atto")
        out = assert_forward(nemd, words, pictures, model, seen(pictures, *IMAGENET))
        assert "2 others were left out (head.fc.weight, head.fc.bias)" in out

    def test_timm_vit_takes_mean_and_std_from_timm(self, nemd, peers, pictures):
        model = random_weights(peers.timm.create_model("vit_tiny_patch16_224", num_classes=3))
        torch.save(model.state_dict(), "a.pt")
        model.reset_classifier(0)
        ready = prepare_pass("a.pt", pictures, encoder="timm:vit_tiny_patch16_224", split="all")
        assert ready.described.endswith("less mean 0.5, 0.5, 0.5 over std 0.5, 0.5, 0.5")
        found = nt.embed(
            "a.pt",
            pictures,
            transform=lambda _: seen(pictures, *HALF),
            encoder="timm:vit_tiny_patch16_224",
            split="all",
        )
        with torch.inference_mode():
            theirs = unit(model(seen(pictures, *HALF)))
        torch.testing.assert_close(found.vectors, theirs, rtol=0, atol=1e-5)

    def test_timm_of_grey_images(self, peers, tmp_path):
        model = random_weights(peers.timm.create_model("resnet10t", num_classes=0, in_chans=1))
        torch.save(model.state_dict(), tmp_path / "a.pt")
        found = nt.embed(
            tmp_path / "a.pt", "digits", transform="none", split="test", encoder="timm:resnet10t"
        )
        images = open_images("digits", "test")
        with torch.inference_mode():
            theirs = unit(model(images.batch(torch.arange(images.count))))
        torch.testing.assert_close(found.vectors, theirs, rtol=0, atol=1e-5)

    @pytest.mark.parametrize(
        ("name", "head"),
        [("swin_t", "head"), ("resnet18", "fc"), ("mobilenet_v3_small", "classifier.3")],
    )
    def test_torchvision(self, nemd, peers, pictures, name, head):
        torch.manual_seed(0)
        model = getattr(peers.torchvision.models, name)(num_classes=5).eval()
        torch.save(model.state_dict(), "a.pt")
        model.set_submodule(head, nn.Identity())
        words = ("a.pt", "--encoder", f"torchvision:{name}")
        out = assert_forward(nemd, words, pictures, model, seen(pictures, *IMAGENET))
        if name != "resnet18":  # whose layout is known, and the classifier no part of the backbone
            assert f"2 others were left out ({head}.weight, {head}.bias)" in out

    def test_transformers_folder_with_names_older_than_the_library(
        self, nemd, peers, pictures, capsys
    ):
        config = peers.transformers.ViTConfig(
            hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
            image_size=224, patch_size=16,
        )  # fmt: skip
        model = random_weights(peers.transformers.ViTForImageClassification(config))
        model.save_pretrained("hf")
        capsys.readouterr()
        words = ("hf", "--encoder", "transformers:hf")
        out = assert_forward(
            nemd,
            words,
            pictures,
            lambda x: model.vit(x).last_hidden_state[:, 0],
            seen(pictures, *IMAGENET),
        )
        count = len(list(model.vit.parameters()))
        assert f"all {count} tensors of the encoder were in the checkpoint" in out
        code, out, _ = nemd("analyze", *words, "--data", pictures, "--split", "all",
                            "--prototypes", "2", "--json")  # fmt: skip
        provenance = json.loads(out)["provenance"]
        assert code == 0
        assert provenance["encoder"] == "transformers:hf"
        assert provenance["versions"]["transformers"] == peers.transformers.__version__

    def test_transformers_configuration_for_a_file_of_weights(self, nemd, peers, pictures):
        config = peers.transformers.ConvNextConfig(hidden_sizes=[8, 8, 8, 16], depths=[1, 1, 1, 1])
        model = random_weights(peers.transformers.ConvNextModel(config))
        config.save_pretrained("hf")
        state = {f"student.backbone.{k}": v for k, v in model.state_dict().items()}
        torch.save({"state_dict": state, "epoch": 3}, "a.pt")
        words = ("a.pt", "--encoder", "transformers:hf")
        forward = lambda x: model(x).pooler_output  # noqa: E731
        assert_forward(nemd, words, pictures, forward, seen(pictures, *IMAGENET))


class TestHostileConfigurations:
    @pytest.mark.parametrize(
        ("config", "words"),
        [
            ({"model_type": "vit", "num_hidden_layers": 10**9}, "no more layers than"),
            ({"model_type": "vit", "hidden_size": 12 * 10**5}, "about as large as the checkpoint"),
            ({"model_type": "bert"}, "no more layers|a model that takes images"),
            ({"model_type": "vit", "hidden_size": "x"}, "transformers can build a model from"),
            ({"model_type": "no such"}, "transformers can build a model from"),
            ({}, "transformers can build a model from"),
        ],
    )
    def test_they_are_refused_before_anything_is_built(self, peers, tmp_path, config, words):
        (tmp_path / "config.json").write_text(json.dumps(config))
        torch.save({f"a.{i}": torch.ones(9) for i in range(20)}, tmp_path / "a.pt")
        with pytest.raises(InputError, match=words):
            embedded(tmp_path / "a.pt", f"transformers:{tmp_path}")

    def test_code_beside_a_configuration_is_not_run(self, peers, tmp_path):
        (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
        entry = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "z", "auto_map": entry}))
        torch.save(tiny(0).state_dict(), tmp_path / "a.pt")
        with pytest.raises(InputError, match="transformers can build a model from"):
            embedded(tmp_path / "a.pt", f"transformers:{tmp_path}")
        assert not (tmp_path / "ran").exists()
