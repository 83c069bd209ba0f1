"""DINO, DINOv2, solo-learn, lightly, stable-pretraining and VISSL, as their own code saves them."""

import argparse

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


class TestDino:
    """facebookresearch/dino main_dino.py save_dict, utils.py MultiCropWrapper, eval_knn.py."""

    @pytest.mark.parametrize("backbone", [vit, resnet])
    def test_teacher_and_student(self, tmp_path, backbone):
        inputs = FEATURES if backbone is resnet else 24
        states = {"student": backbone(0), "teacher": backbone(1)}
        own = {"student": dino_head(2, inputs), "teacher": dino_head(3, inputs, batchnorm=True)}
        saved = {
            name: joined(backbone=states[name], head=own[name].state_dict()) for name in states
        }
        data = {
            "student": under(saved["student"], "module."),  # DistributedDataParallel
            "teacher": saved["teacher"],
            "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []},
            "epoch": 8,
            "args": argparse.Namespace(arch="vit_small", patch_size=16, out_dim=20),
            "dino_loss": {"center": torch.zeros(1, 20)},
            "fp16_scaler": {"scale": 65536.0},
        }
        found = read(data, tmp_path, "dino", "teacher.backbone.*", "teacher.head.mlp.*")
        assert set(found.branches) == {"teacher", "student"}
        assert (found.default_branch, found.branch().default_layer) == ("teacher", "projector")
        assert (found.epoch, found.settings["patch_size"]) == (8, 16)
        for name, branch in found.branches.items():
            same(branch.backbone, states[name])
            heads(branch, projector=own[name].mlp.state_dict())
            assert (branch.heads[0].activation, branch.heads[0].normalised) == ("gelu", True)
        prototypes(found, effective(own["teacher"].last_layer))
        prototypes(found, effective(own["student"].last_layer), branch="student")
        image(found, interpolation="bicubic")

    def test_a_student_alone_gives_its_own_prototypes(self, tmp_path):
        head = dino_head(1, 24)
        state = joined(backbone=vit(0), head=head.state_dict())
        found = read({"student": state}, tmp_path, "dino", "student.head.mlp.*")
        assert found.default_branch == "student"
        prototypes(found, effective(head.last_layer))

    def test_hub_files_hold_a_backbone(self, tmp_path):
        """dino_deitsmall16_pretrain.pth and dino_resnet50_pretrain.pth of hubconf.py."""
        found = read(vit(0), tmp_path, "vit", "patch_embed.proj.weight")
        same(found.branch().backbone, vit(0))
        image(found, interpolation="bicubic")
        assert not found.image.normalised
        same(read(resnet(0), tmp_path, "resnet").branch().backbone, resnet(0))


class TestDinov2:
    """facebookresearch/dinov2 ssl_meta_arch.py, train.py do_test, data/transforms.py."""

    EXTRA = (("mask_token", (1, 24)), ("register_tokens", (1, 4, 24)))

    def test_teacher_checkpoint(self, tmp_path):
        body = vit(0, patch=14, side=518, scale=True, extra=self.EXTRA)
        dino, ibot = dino_head(1, 24), dino_head(2, 24)
        state = joined(backbone=body, dino_head=dino.state_dict(), ibot_head=ibot.state_dict())
        found = read({"teacher": state}, tmp_path, "dinov2", "teacher.dino_head.mlp.*")
        assert (found.default_branch, found.branch().default_layer) == ("teacher", "projector")
        same(found.branch().backbone, body)
        heads(found.branch(), projector=dino.mlp.state_dict(), ibot_head=ibot.mlp.state_dict())
        assert found.branch().head("ibot_head").on == "backbone"
        prototypes(found, effective(dino.last_layer))
        image(found, interpolation="bicubic")

    def test_blocks_in_chunks_get_their_own_numbers(self, tmp_path):
        body = vit(0, scale=True, extra=self.EXTRA)
        chunked = {k.replace("blocks.1.", "blocks.1.1.") for k in body}
        assert chunked != set(body)
        state = {
            k.replace("blocks.0.", "blocks.0.0.").replace("blocks.1.", "blocks.1.1."): v
            for k, v in body.items()
        }
        saved = joined(backbone=state, dino_head=dino_head(1, 24).state_dict())
        same(read({"teacher": saved}, tmp_path, "dinov2").branch().backbone, body)

    def test_hub_files(self, tmp_path):
        body = vit(0, patch=14, side=518, scale=True, extra=self.EXTRA)
        found = read(body, tmp_path, "dinov2/hub", "mask_token", "blocks.0.ls1.gamma")
        same(found.branch().backbone, body)
        image(found, interpolation="bicubic")


class TestSoloLearn:
    """vturrisi/solo-learn solo/methods/; T_val of classification_dataloader.py."""

    @pytest.mark.parametrize("body", ["backbone", "encoder"])
    def test_byol_keeps_online_and_momentum_apart(self, tmp_path, body):
        parts = {
            body: resnet(0),
            "classifier": linear(2, FEATURES, 10),
            "projector": mlp(3, FEATURES, 32, 16),
            "predictor": mlp(4, 16, 32, 16),
            f"momentum_{body}": resnet(1),
            "momentum_projector": mlp(5, FEATURES, 32, 16),
            "momentum_classifier": linear(6, FEATURES, 10),
        }
        found = read(
            lightning(joined(**parts)), tmp_path, "solo-learn", f"{body}.*", "classifier.weight"
        )
        assert (found.default_branch, found.epoch) == ("online", 3)
        online, momentum = found.branches["online"], found.branches["momentum"]
        same(online.backbone, parts[body])
        same(momentum.backbone, parts[f"momentum_{body}"])
        names = ("projector", "predictor", "classifier")
        heads(online, **{name: parts[name] for name in names})
        assert online.head("classifier").on == "backbone"
        heads(
            momentum,
            projector=parts["momentum_projector"],
            classifier=parts["momentum_classifier"],
        )
        assert found.prototypes == ()
        image(found)

    def test_swav_on_cifar(self, tmp_path):
        own = dino_head(3, 16).last_layer  # a weight-normed Linear, as SwAV's
        parts = {
            "backbone": resnet(0, stem="small"),
            "classifier": linear(1, FEATURES, 10),
            "projector": mlp(2, FEATURES, 32, 16),
            "prototypes": own.state_dict(),
        }
        state = joined(**parts) | {"queue": torch.zeros(2, 8, 16)}
        found = read(lightning(state), tmp_path, "solo-learn/prototypes", "prototypes.*")
        assert found.branch().default_layer == "projector"
        assert found.branch().head("projector").normalised
        same(found.branch().backbone, parts["backbone"])
        prototypes(found, effective(own))
        cifar = ((0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261))
        image(found, size=(32, 32), resize=None, norm=cifar)

    def test_deepcluster_v2_has_several_sets(self, tmp_path):
        own = [linear(number, 16, 20 + number, bias=False) for number in range(3)]
        state = joined(
            backbone=resnet(0),
            classifier=linear(1, FEATURES, 10),
            projector=mlp(2, FEATURES, 32, 16),
            **{f"prototypes__{number}": each for number, each in enumerate(own)},
        )
        state["local_memory_embeddings"] = torch.zeros(2, 8, 16)
        found = read(lightning(state), tmp_path, "solo-learn/prototypes")
        prototypes(found, *(each["weight"] for each in own))
        assert [each.name for each in found.prototypes] == [f"prototypes.{n}" for n in range(3)]

    def test_dino(self, tmp_path):
        own = [dino_head(seed, 24) for seed in (1, 2)]
        state = joined(
            backbone=vit(0),
            classifier=linear(3, 24, 10),
            head=own[0].state_dict(),
            momentum_backbone=vit(4),
            momentum_head=own[1].state_dict(),
            dino_loss_func={"center": torch.zeros(1, 20)},
        )
        found = read(lightning(state), tmp_path, "solo-learn/dino", "head.last_layer.*")
        assert (found.default_branch, found.branch().default_layer) == ("online", "projector")
        heads(found.branch(), projector=own[0].mlp.state_dict(), classifier=linear(3, 24, 10))
        heads(found.branches["momentum"], projector=own[1].mlp.state_dict())
        prototypes(found, effective(own[0].last_layer))
        prototypes(found, effective(own[1].last_layer), branch="momentum")


class TestStable:
    """rbalestr-lab/stable-pretraining methods/ and benchmarks/imagenet100."""

    @pytest.mark.parametrize("batchnorm", [True, False])
    def test_dino_has_prototypes_at_the_end_of_the_projector(self, tmp_path, batchnorm):
        own = [dino_head(seed, 24, batchnorm=batchnorm).mlp.state_dict() for seed in (1, 2)]
        last = 8 if batchnorm else 6  # behind L2Norm, which has no parameters
        weight = [torch.rand(20, 16), torch.rand(20, 16)]
        state = joined(
            backbone__student=vit(0),
            backbone__teacher=vit(3),
            projector__student=own[0] | {f"{last}.weight": weight[0]},
            projector__teacher=own[1] | {f"{last}.weight": weight[1]},
            callbacks_modules__linear_probe=linear(4, 24, 10),
        )
        state["backbone.ema_coefficient"] = torch.ones(())
        found = read(lightning(state), tmp_path, "stable-pretraining/dino")
        assert (found.default_branch, found.branch().default_layer) == ("teacher", "projector")
        same(found.branch().backbone, vit(3))
        heads(found.branch(), projector=own[1])
        prototypes(found, weight[1])
        heads(found.branch("student"), projector=own[0])
        prototypes(found, weight[0], branch="student")

    def test_dinov2_has_a_head_for_the_class_token(self, tmp_path):
        own = dino_head(1, 24).mlp.state_dict()
        weight = torch.rand(20, 16)
        parts = {"student": vit(0), "teacher": vit(3)}
        state = joined(**{f"backbone__{name}": part for name, part in parts.items()})
        for head in ("cls_head", "patch_head"):
            for name in parts:
                state |= under(own | {"6.weight": weight}, f"{head}.{name}.")
        found = read(lightning(state), tmp_path, "stable-pretraining/dino", "cls_head.teacher.6")
        heads(found.branch(), projector=own)
        prototypes(found, weight)

    def test_byol_and_simclr(self, tmp_path):
        parts = {
            "backbone__student": resnet(0),
            "backbone__teacher": resnet(1),
            "projector__student": mlp(2, FEATURES, 32, 16),
            "projector__teacher": mlp(3, FEATURES, 32, 16),
            "predictor": mlp(4, 16, 32, 16),
        }
        found = read(lightning(joined(**parts)), tmp_path, "stable-pretraining")
        assert found.default_branch == "student"
        heads(found.branch(), projector=parts["projector__student"], predictor=parts["predictor"])
        heads(found.branches["teacher"], projector=parts["projector__teacher"])
        simclr = joined(backbone=resnet(0), projector=mlp(2, FEATURES, 32, 16))
        found = read(lightning(simclr), tmp_path, "stable-pretraining", "projector.*")
        heads(found.branch(), projector=mlp(2, FEATURES, 32, 16))
        image(found)

    def test_swav(self, tmp_path):
        state = joined(
            backbone=resnet(0),
            projector=mlp(2, FEATURES, 32, 16),
            prototypes=linear(3, 16, 20, bias=False),
        )
        found = read(lightning(state), tmp_path, "stable-pretraining/swav", "prototypes.weight")
        assert found.branch().head("projector").normalised
        prototypes(found, linear(3, 16, 20, bias=False)["weight"])
