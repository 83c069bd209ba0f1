"""Vision transformers alone, and folders as transformers and timm save them."""

import json

import pytest
import safetensors.torch
import torch
from torch import nn

from nemd_toolkit.checkpoints import read_checkpoint
from nemd_toolkit.errors import InputError
from tests.layouts.expectations import heads, image, read, same
from tests.layouts.framework_modules import FEATURES, joined, lightning, linear, resnet, under, vit

HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def hugging_face(*, dinov2=False, dim=24, side=224, patch=16):
    """ViTModel of transformers modeling_vit.py, Dinov2Model of modeling_dinov2.py."""
    torch.manual_seed(0)
    names = {
        "attention.attention.query": nn.Linear(dim, dim),
        "attention.attention.key": nn.Linear(dim, dim),
        "attention.attention.value": nn.Linear(dim, dim),
        "attention.output.dense": nn.Linear(dim, dim),
        **(
            {
                "norm1": nn.LayerNorm(dim),
                "norm2": nn.LayerNorm(dim),
                "mlp.fc1": nn.Linear(dim, 4 * dim),
                "mlp.fc2": nn.Linear(4 * dim, dim),
            }
            if dinov2
            else {
                "layernorm_before": nn.LayerNorm(dim),
                "layernorm_after": nn.LayerNorm(dim),
                "intermediate.dense": nn.Linear(dim, 4 * dim),
                "output.dense": nn.Linear(4 * dim, dim),
            }
        ),
    }
    state = {
        "embeddings.cls_token": torch.rand(1, 1, dim),
        "embeddings.position_embeddings": torch.rand(1, (side // patch) ** 2 + 1, dim),
        **under(
            nn.Conv2d(3, dim, patch, patch).state_dict(), "embeddings.patch_embeddings.projection."
        ),
        **under(nn.LayerNorm(dim).state_dict(), "layernorm."),
    }
    for name, layer in names.items():
        state |= under(layer.state_dict(), f"encoder.layer.0.{name}.")
    if dinov2:
        state["embeddings.mask_token"] = torch.rand(1, dim)
        state |= {f"encoder.layer.0.layer_scale{n}.lambda1": torch.rand(dim) for n in (1, 2)}
    return state


def folder_state(family, **sizes):
    """A model of this family, whose norms and scales are no identity."""
    state = hugging_face(dinov2=family != "vit", **sizes)
    if family == "dinov2_with_registers":
        state["embeddings.register_tokens"] = torch.rand(1, 4, sizes["dim"])
    for name, value in state.items():
        if value.ndim == 1 and name.rpartition(".")[2] in ("weight", "bias"):
            value.add_(0.2 * torch.randn(value.shape))
    return state


def hugging_face_resnet():
    """ResNetModel of transformers modeling_resnet.py, one layer in one stage."""
    torch.manual_seed(0)

    def layer(inputs, outputs, kernel):
        convolution = nn.Conv2d(inputs, outputs, kernel, bias=False)
        normalization = nn.BatchNorm2d(outputs)
        return joined(
            convolution=convolution.state_dict(), normalization=normalization.state_dict()
        )

    first = "encoder__stages__0__layers__0"
    return joined(
        embedder__embedder=layer(3, 8, 7),
        **{
            f"{first}__shortcut": layer(8, 16, 1),
            f"{first}__layer__0": layer(8, 16, 3),
            f"{first}__layer__1": layer(16, 16, 3),
        },
    )


def folder(path, state, **files):
    """model.safetensors with JSON files beside it."""
    path.mkdir(exist_ok=True)
    safetensors.torch.save_file(state, path / "model.safetensors")
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return path


class TestVisionTransformers:
    """timm models/vision_transformer.py, facebookresearch/dino vision_transformer.py."""

    @pytest.mark.parametrize(
        "prefix", ["", "backbone.", "encoder.", "model.", "model.backbone.", "model.encoder."]
    )
    def test_the_usual_prefixes(self, tmp_path, prefix):
        state = under(vit(0, classes=10), prefix)
        found = read(lightning(state), tmp_path, "vit", f"{prefix}blocks.0.norm1.weight")
        same(found.branch().backbone, vit(0))
        heads(found.branch(), classifier=below_head(state, prefix))
        assert found.branch().default_layer == "backbone"

    def test_the_grid_of_positions_tells_the_size(self, tmp_path):
        found = read(vit(0, side=32, patch=4), tmp_path, "vit")
        assert (found.image.size, found.image.resize) == ((32, 32), None)
        assert not found.image.normalised

    def test_a_resnet_has_its_classifier(self, tmp_path):
        """torchvision models/resnet.py."""
        state = resnet(0, head="linear", dim=10)
        found = read(state, tmp_path, "resnet", "layer1.0.conv1.weight")
        heads(found.branch(), classifier={k: state[f"fc.{k}"] for k in ("weight", "bias")})
        assert found.branch().default_layer == "backbone"


def below_head(state, prefix):
    return {k: state[f"{prefix}head.{k}"] for k in ("weight", "bias")}


class TestTransformers:
    """huggingface/transformers save_pretrained: weights, config.json, preprocessor_config.json."""

    def test_vit_with_a_classifier(self, tmp_path):
        state = under(hugging_face(), "vit.") | under(linear(1, 24, 10), "classifier.")
        path = folder(
            tmp_path / "vit",
            state,
            config={"model_type": "vit", "num_attention_heads": 3, "hidden_size": 24},
            preprocessor_config={
                "do_resize": True,
                "do_normalize": True,
                "image_mean": [0.5, 0.5, 0.5],
                "image_std": [0.5, 0.5, 0.5],
                "resample": 2,
                "size": {"height": 224, "width": 224},
            },
        )
        found = read_checkpoint(path)
        assert (found.layout, found.container) == ("transformers/vit", "folder")
        assert "vit.embeddings.patch_embeddings.projection.weight" in found.why
        same(found.branch().backbone, hugging_face())
        heads(found.branch(), classifier=linear(1, 24, 10))
        assert found.settings["num_attention_heads"] == 3
        image(found, resize=None, norm=HALF)
        assert found.image.normalised
        assert found.image.squeezed  # ViTImageProcessor keeps no ratio
        assert len(found.sha256) == 64

    def test_dinov2_in_several_files(self, tmp_path):
        state = hugging_face(dinov2=True, side=518, patch=14)
        names = list(state)
        weight_map = {
            name: f"model-0000{1 + n % 2}-of-00002.safetensors" for n, name in enumerate(names)
        }
        for file in set(weight_map.values()):
            part = {name: state[name] for name in names if weight_map[name] == file}
            safetensors.torch.save_file(part, tmp_path / file)
        index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
        (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 6}))
        (tmp_path / "preprocessor_config.json").write_text(
            json.dumps(
                {
                    "crop_size": {"height": 224, "width": 224},
                    "do_center_crop": True,
                    "image_mean": [0.485, 0.456, 0.406],
                    "image_std": [0.229, 0.224, 0.225],
                    "resample": 3,
                    "size": {"shortest_edge": 256},
                }
            )
        )
        found = read_checkpoint(tmp_path)
        assert found.layout == "transformers/dinov2"
        same(found.branch().backbone, state)
        image(found, interpolation="bicubic")
        assert not found.image.squeezed
        (tmp_path / min(weight_map.values())).unlink()
        with pytest.raises(InputError, match="names of files in the same folder"):
            read_checkpoint(tmp_path)

    def test_resnet_in_a_pickle(self, tmp_path):
        state = under(hugging_face_resnet(), "resnet.") | under(linear(1, 16, 10), "classifier.1.")
        torch.save(state, tmp_path / "pytorch_model.bin")
        (tmp_path / "preprocessor_config.json").write_text(
            json.dumps({"crop_pct": 0.875, "resample": 3, "size": 224})
        )
        found = read_checkpoint(tmp_path)
        assert found.layout == "transformers/resnet"
        same(found.branch().backbone, hugging_face_resnet())
        heads(found.branch(), classifier=linear(1, 16, 10))
        image(found, interpolation="bicubic")
        assert not found.image.squeezed
        (tmp_path / "preprocessor_config.json").write_text(
            json.dumps({"crop_pct": 0.875, "resample": 3, "size": {"shortest_edge": 384}})
        )
        assert read_checkpoint(tmp_path).image.squeezed

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            ({"preprocessor_config": {"image_mean": [0.5], "size": 224}}, "mean, std and size"),
            (
                {"preprocessor_config": {"size": {"height": 10**9, "width": 1}}},
                "mean, std and size",
            ),
            ({"preprocessor_config": {"size": [1, 2]}}, "mean, std and size"),
            ({"config": [1]}, "a JSON object, got a list"),
        ],
    )
    def test_unfitting_settings_are_refused(self, tmp_path, files, message):
        with pytest.raises(InputError, match=message):
            read_checkpoint(folder(tmp_path / "x", hugging_face(), **files))

    @pytest.mark.parametrize(
        ("index", "message"),
        [
            ("{", "expected JSON"),
            ('{"weight_map": {"a": "../b.safetensors"}}', "in the same folder"),
            ('{"weight_map": 3}', "under weight_map"),
            ('{"weight_map": {"a": "b.safetensors"}}', "all other tensors of the index"),
        ],
    )
    def test_damaged_folders_are_refused(self, tmp_path, index, message):
        safetensors.torch.save_file({"x": torch.ones(1)}, tmp_path / "b.safetensors")
        with pytest.raises(InputError, match="got a folder without"):
            read_checkpoint(tmp_path)
        (tmp_path / "model.safetensors.index.json").write_text(index)
        with pytest.raises(InputError, match=message):
            read_checkpoint(tmp_path)


class TestTimm:
    """huggingface/pytorch-image-models timm/models/_hub.py save_for_hf."""

    def test_the_config_tells_the_input(self, tmp_path):
        config = {
            "architecture": "vit_tiny_patch16_224",
            "num_classes": 10,
            "pretrained_cfg": {
                "input_size": [3, 224, 224],
                "crop_pct": 0.9,
                "interpolation": "bicubic",
                "mean": [0.5, 0.5, 0.5],
                "std": [0.5, 0.5, 0.5],
            },
        }
        found = read_checkpoint(folder(tmp_path / "x", vit(0, classes=10), config=config))
        assert (found.layout, found.arch) == ("vit", "vit_tiny_patch16_224")
        image(found, resize=248, interpolation="bicubic", norm=HALF)
        assert found.image.normalised
        assert found.branch().head("classifier").state["weight"].shape == (10, 24)

    @pytest.mark.parametrize(("mode", "part"), [("squash", 1.0), ("squash", 0.9), ("center", 1.0)])
    def test_pictures_may_be_squashed(self, tmp_path, mode, part):
        config = {"input_size": [3, 224, 224], "mean": HALF[0], "std": HALF[1], "crop_pct": part}
        config["crop_mode"] = mode
        found = read_checkpoint(folder(tmp_path / "x", vit(0), config=config))
        assert found.image.squeezed == ((mode, part) == ("squash", 1.0))

    def test_a_resnet(self, tmp_path):
        config = {"input_size": [3, 160, 160], "mean": HALF[0], "std": HALF[1], "crop_pct": 1.0}
        found = read_checkpoint(folder(tmp_path / "x", resnet(0, head="linear"), config=config))
        assert (found.layout, found.branch().head("classifier").state["weight"].shape) == (
            "resnet",
            (5, FEATURES),
        )
        image(found, size=(160, 160), resize=160, norm=HALF)
