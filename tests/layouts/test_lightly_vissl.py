"""lightly's examples and benchmarks, and VISSL's checkpoints, as their own code saves them."""

import pytest
import torch

from tests.layouts.expectations import heads, image, prototypes, read, same
from tests.layouts.framework_modules import (
    FEATURES,
    dino_head,
    effective,
    joined,
    lightning,
    linear,
    mlp,
    resnet,
    under,
    vit,
)

TORCHVISION = {"conv1": "0", "bn1": "1", **{f"layer{n}": str(n + 3) for n in range(1, 5)}}
OWN = {"conv1": "0", "bn1": "1", **{f"layer{n}": str(n + 1) for n in range(1, 5)}}


def children(state, numbers):
    """nn.Sequential(*list(resnet.children())[:-1])."""
    words = {key: key.partition(".") for key in state}
    return {f"{numbers[first]}.{rest}": state[key] for key, (first, _, rest) in words.items()}


class TestLightly:
    """lightly-ai/lightly examples/pytorch_lightning, benchmarks/imagenet, models/modules/heads."""

    def test_byol_of_the_examples(self, tmp_path):
        parts = [mlp(seed, FEATURES, 32, 16) for seed in (2, 3)]
        state = joined(
            backbone=children(resnet(0), TORCHVISION),
            projection_head__layers=parts[0],
            prediction_head__layers=mlp(4, 16, 32, 16),
            backbone_momentum=children(resnet(1), TORCHVISION),
            projection_head_momentum__layers=parts[1],
        )
        found = read(lightning(state), tmp_path, "lightly", "projection_head.layers.*")
        assert (found.default_branch, found.branch().default_layer) == ("online", "projector")
        same(found.branch().backbone, resnet(0))
        heads(found.branch(), projector=parts[0], predictor=mlp(4, 16, 32, 16))
        same(found.branches["momentum"].backbone, resnet(1))
        heads(found.branches["momentum"], projector=parts[1])
        image(found)

    def test_its_own_resnet(self, tmp_path):
        """ResNetGenerator: a 3x3 stem, no pooling behind it, `shortcut` for `downsample`."""
        body = resnet(0, stem="small")
        own = children({k.replace("downsample", "shortcut"): v for k, v in body.items()}, OWN)
        assert "3.0.shortcut.0.weight" in own
        state = joined(backbone=own, projection_head__layers=mlp(1, FEATURES, 32, 16))
        found = read(lightning(state), tmp_path, "lightly")
        same(found.branch().backbone, body)
        assert found.image.size is None

    def test_swav_has_prototypes_with_bias(self, tmp_path):
        own = [linear(seed, 16, 20 + seed) for seed in range(2)]
        state = joined(
            backbone=resnet(0),  # as in benchmarks/imagenet/resnet50/swav.py
            projection_head__layers=mlp(1, FEATURES, 32, 16),
            prototypes__heads__0=own[0],
            prototypes__heads__1=own[1],
            online_classifier__classification_head=linear(5, FEATURES, 10),
        )
        found = read(lightning(state), tmp_path, "lightly/swav", "prototypes.heads.*")
        same(found.branch().backbone, resnet(0))
        heads(
            found.branch(),
            projector=mlp(1, FEATURES, 32, 16),
            classifier=linear(5, FEATURES, 10),
        )
        assert found.branch().head("projector").normalised
        prototypes(found, *(each["weight"] for each in own))
        assert all(
            torch.equal(found.prototypes[number].bias, each["bias"])
            for number, each in enumerate(own)
        )

    @pytest.mark.parametrize(
        ("teacher", "student"),
        [
            (("teacher_backbone", "teacher_head"), ("student_backbone", "student_head")),
            (
                ("teacher_backbone.vit", "teacher_head.dino_head"),
                ("student_backbone.vit", "student_head.dino_head"),
            ),
            (
                ("backbone", "projection_head"),
                ("student_backbone", "student_projection_head"),
            ),
        ],
        ids=["example", "dinov2", "benchmark"],
    )
    def test_dino(self, tmp_path, teacher, student):
        own = [dino_head(seed, 24, body="layers") for seed in (2, 3)]
        state = {}
        for number, (backbone, head) in enumerate((teacher, student)):
            state |= under(vit(number), f"{backbone}.")
            state |= under(own[number].state_dict(), f"{head}.")
        found = read(lightning(state), tmp_path, "lightly/dino", f"{teacher[1]}.last_layer.*")
        assert (found.default_branch, found.branch().default_layer) == ("teacher", "projector")
        for number, name in enumerate(("teacher", "student")):
            same(found.branches[name].backbone, vit(number))
            heads(found.branches[name], projector=own[number].layers.state_dict())
            prototypes(found, effective(own[number].last_layer), branch=name)

    def test_parametrised_last_layers_are_read_too(self, tmp_path):
        layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(16, 20, bias=False))
        own = dino_head(2, 24, body="layers").layers.state_dict()
        state = {}
        for name in ("teacher", "student"):
            state |= under(vit(0), f"{name}_backbone.")
            state |= under(own, f"{name}_head.layers.")
            state |= under(layer.state_dict(), f"{name}_head.last_layer.")
        found = read(lightning(state), tmp_path, "lightly/dino")
        prototypes(found, layer.weight.detach())


def classy(trunk, heads, loss=None):
    """VISSL log_hooks.py checkpoint_content, base_ssl_model.py get_classy_state."""
    model = {"model": {"trunk": trunk, "heads": heads}, "meta": {"trunk": {}, "heads": []}}
    return {
        "phase_idx": 99,
        "iteration": 5,
        "loss": loss or {},
        "classy_state_dict": {
            "train": True,
            "base_model": model,
            "optimizer": {"optim": {"state": {0: {"momentum_buffer": torch.ones(2)}}}},
        },
    }


class TestVissl:
    """facebookresearch/vissl models/base_ssl_model.py, models/heads, losses/dino_loss.py."""

    def test_swav(self, tmp_path):
        own = [linear(seed, 16, 20 + seed, bias=False) for seed in range(2)]
        state = joined(
            **{
                "0__projection_head": mlp(1, FEATURES, 32, 16),
                "0__prototypes0": own[0],
                "0__prototypes1": own[1],
            }
        )
        data = classy(resnet(0, prefix="_feature_blocks."), state)
        found = read(data, tmp_path, "vissl", "classy_state_dict.base_model.model.trunk.*")
        assert (found.default_branch, found.branch().default_layer) == ("online", "projector")
        same(found.branch().backbone, resnet(0))
        heads(found.branch(), projector=mlp(1, FEATURES, 32, 16))
        assert found.branch().head("projector").normalised
        prototypes(found, *(each["weight"] for each in own))
        assert found.prototypes[1].name.endswith("model.heads.0.prototypes1")
        image(found)

    def test_simclr_and_moco_have_two_heads_in_a_row(self, tmp_path):
        state = joined(**{"0__clf__0": linear(1, FEATURES, 32), "1__clf__0": linear(2, 32, 16)})
        loss = {
            **{
                f"moco_encoder.{k}": v
                for k, v in resnet(3, prefix="trunk._feature_blocks.").items()
            },
            **under(state, "moco_encoder.heads."),
            "queue": torch.zeros(16, 8),
        }
        data = classy(resnet(0, prefix="_feature_blocks."), state, loss)
        found = read(data, tmp_path, "vissl", "heads.1.clf.*")
        one = joined(**{"0": linear(1, FEATURES, 32), "2": linear(2, 32, 16)})  # ReLU between
        for name, seed in (("online", 0), ("key", 3)):
            same(found.branches[name].backbone, resnet(seed))
            heads(found.branches[name], projector=one)

    def test_barlow_twins_has_one_mlp_and_supervision_one_layer(self, tmp_path):
        own = mlp(1, FEATURES, 32, 16)
        trunk = resnet(0, prefix="_feature_blocks.")
        found = read(classy(trunk, under(own, "0.clf.")), tmp_path, "vissl", "heads.0.clf.3")
        heads(found.branch(), projector=own)
        own = linear(1, FEATURES, 10)
        found = read(classy(trunk, under(own, "0.clf.0.")), tmp_path, "vissl")
        heads(found.branch(), head=under(own, "0."))
        assert found.branch().default_layer == "backbone"

    def test_dino_keeps_its_teacher_in_the_loss(self, tmp_path):
        own = [dino_head(seed, 24) for seed in (1, 2)]
        saved = [
            {k.replace("last_layer", "prototypes0"): v for k, v in each.state_dict().items()}
            for each in own
        ]
        loss = {
            **under(vit(3), "momentum_teacher.module.trunk."),
            **under(saved[1], "momentum_teacher.module.heads.0."),
            "center": torch.zeros(1, 20),
        }
        found = read(classy(vit(0), under(saved[0], "0."), loss), tmp_path, "vissl", "teacher")
        assert (found.default_branch, found.branch().default_layer) == ("teacher", "projector")
        same(found.branch().backbone, vit(3))
        same(found.branches["online"].backbone, vit(0))
        heads(found.branch(), projector=own[1].mlp.state_dict())
        prototypes(found, effective(own[1].last_layer))
        prototypes(found, effective(own[0].last_layer), branch="online")
        found = read(classy(vit(0), under(saved[0], "0.")), tmp_path, "vissl")
        assert found.default_branch == "online"
        prototypes(found, effective(own[0].last_layer))

    @pytest.mark.parametrize(
        "prefix", ["", "trunk.", "trunk.base_model.", "classy_state_dict.base_model.model.trunk."]
    )
    def test_a_trunk_alone(self, tmp_path, prefix):
        """extra_scripts/convert_vissl_to_torchvision.py, MODEL_ZOO.md."""
        state = resnet(0, prefix=f"{prefix}_feature_blocks.")
        found = read({"model_state_dict": state}, tmp_path, "vissl", f"{prefix}_feature_blocks.*")
        same(found.branch().backbone, resnet(0))
        assert found.branch().layers == ("backbone",)
