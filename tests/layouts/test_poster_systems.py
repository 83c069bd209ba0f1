"""MoCo and its kin, memory banks, BYOL, SimSiam, SwAV, CMC, AMDIM, as their own code saves them."""

import pytest
import torch

from nemd_toolkit.checkpoints import read_checkpoint
from tests.layouts.expectations import heads, image, prototypes, read, same
from tests.layouts.framework_modules import FEATURES, joined, linear, mlp, resnet, under, vit
from tests.layouts.sources import (
    DIM,
    OPTIMIZER,
    batchnormed,
    fc,
    fc_mlp,
    moco,
    normed,
    options,
    sequential,
    small_resnet,
)

CIFAR = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


def encoders(found, *, default, head, layer="projector", names=("query", "key")):
    """Both encoders of MoCo's code, heads brought to length 1."""
    assert set(found.branches) == set(names)
    assert (found.default_branch, found.branch().default_layer) == (default, layer)
    for seed, name in enumerate(names):
        branch = found.branches[name]
        same(branch.backbone, resnet(seed))
        heads(branch, projector=head(seed)["fc"])
        assert branch.heads[0].normalised


class TestMoco:
    """facebookresearch/moco moco/builder.py, main_moco.py; salesforce/PCL pcl/builder.py."""

    @pytest.mark.parametrize(
        ("head", "title", "mark"),
        [(fc, "MoCo v1, PCL v1", "fc.weight"), (fc_mlp, "MoCo v2, PCL v2", "fc.0.weight")],
    )
    def test_versions_are_told_by_their_head(self, tmp_path, head, title, mark):
        data = {"epoch": 200, "arch": "resnet18", "state_dict": moco(head), "optimizer": OPTIMIZER}
        found = read(data, tmp_path, "pcl/moco", "encoder_q.*", f"encoder_q.{mark}")
        assert title in found.title
        assert (found.epoch, found.arch) == (200, "resnet18")
        encoders(found, default="key", head=head)
        image(found)

    def test_align_uniform_has_a_label_of_its_own(self, tmp_path):
        """SsnL/moco_align_uniform moco/builder.py: the buffer scalar_label."""
        state = moco(fc_mlp, scalar_label=torch.zeros(()).long())
        data = {"epoch": 200, "arch": "resnet50", "state_dict": state, "optimizer": OPTIMIZER}
        found = read(data, tmp_path, "moco/align-uniform", "scalar_label")
        encoders(found, default="query", head=fc_mlp)
        image(found)

    def test_adco_saves_its_negatives(self, tmp_path):
        """maple-research-lab/AdCo model/AdCo.py, training/main_worker.py: no queue."""
        bank = {"module.W": torch.ones(DIM, 9), "module.v": torch.zeros(DIM, 9)}
        data = {
            "epoch": 200,
            "arch": "resnet50",
            "best_acc": 0.7,
            "state_dict": moco(fc_mlp, queue=0),
            "optimizer": OPTIMIZER,
            "Memory_Bank": bank,
        }
        found = read(data, tmp_path, "adco", "encoder_q.*", "Memory_Bank.*")
        encoders(found, default="query", head=fc_mlp)
        assert found.prototypes == ()
        image(found)


class TestCld:
    """frank-xwang/CLD-UnsupervisedLearning models/, train_cifar_moco_cld.py, infomin/."""

    @staticmethod
    def saved(state):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.03)
        return {
            "epoch": 200,
            "arch": "resnet50",
            "state_dict": state,
            "optimizer": optimizer,  # the object, not its state
            "args": options(arch="resnet50", moco_dim=DIM, normlinear=True, amp_opt_level="O1"),
            "amp": {"loss_scaler0": {"loss_scale": 65536.0}},
        }

    @pytest.mark.parametrize("norm", [True, False])
    def test_two_branches_behind_a_shared_layer(self, tmp_path, norm):
        def head(seed):
            last = [normed(s + seed) if norm else linear(s + seed, FEATURES, DIM) for s in (3, 5)]
            shared = mlp(seed, FEATURES, FEATURES, batchnorm=False)  # Linear, ReLU
            return {"fc": shared, "instDis": last[0], "groupDis": last[1]}

        found = read(self.saved(moco(head)), tmp_path, "cld", "encoder_q.groupDis.*", "instDis")
        assert (found.default_branch, found.branch().default_layer) == ("query", "projector")
        assert found.settings["normlinear"] is True
        assert "; 2 other entries" in found.why  # the queue, and where it ends
        for seed, name in enumerate(("query", "key")):
            branch, parts = found.branches[name], head(seed)
            same(branch.backbone, resnet(seed))
            assert branch.layers == ("backbone", "projector", "groups")
            assert [at.on for at in branch.heads] == [None, "backbone"]
            x = torch.randn(4, FEATURES)
            hidden = torch.relu(x @ parts["fc"]["0.weight"].T + parts["fc"]["0.bias"])
            for at, part in zip(branch.heads, ("instDis", "groupDis"), strict=True):
                self.compare(at, hidden, parts[part])
        image(found)

    @staticmethod
    def compare(head, x, original):
        """What CLD computes, as it computes it, and what the head gives: the same directions."""
        unit = torch.nn.functional.normalize
        if "bias" in original:
            expected = x @ original["weight"].T + original["bias"]
        else:
            expected = unit(x, dim=1) @ unit(original["weight"], dim=0)
        found = x @ head.state["2.weight"].T + head.state.get("2.bias", 0)
        assert head.normalised
        assert torch.allclose(unit(found, dim=1), unit(expected, dim=1), atol=1e-6)

    def test_linear_heads(self, tmp_path):
        def head(seed):
            return {**fc(seed), "groupDis": linear(seed + 5, FEATURES, DIM)}

        found = read(self.saved(moco(head)), tmp_path, "cld", "encoder_q.fc.weight")
        heads(found.branch(), projector=head(0)["fc"], groups=head(0)["groupDis"])

    def test_cifar(self, tmp_path):
        states, parts = {}, {}
        for seed, name in enumerate(("query", "key")):
            last = linear(5 + seed, FEATURES, DIM)
            groups = linear(8 + seed, FEATURES, DIM)
            state, body, last = small_resnet(seed, last=last)
            states[name] = under(state | under(groups, "groupDis.0."), "module.")
            parts[name] = (body, last, groups)
        data = {
            "opt": options(dataset="cifar10", nce_t=0.07),
            "model": states["query"],
            "model_ema": states["key"],
            "contrast": {"memory": torch.ones(8, DIM), "params": torch.tensor([-1])},
            "optimizer": OPTIMIZER,
            "scheduler": {"last_epoch": 4},
            "epoch": 4,
            "best_acc": 0.8,
        }
        found = read(data, tmp_path, "cld/cifar", "groupDis.0.weight")
        assert (found.default_branch, found.branch().default_layer) == ("query", "projector")
        for name, (body, last, groups) in parts.items():
            same(found.branches[name].backbone, body)
            heads(found.branches[name], projector=last, groups=groups)
        image(found, size=(32, 32), resize=None, norm=CIFAR)

    @pytest.mark.parametrize("norm", [True, False])
    def test_infomin(self, tmp_path, norm):
        hidden = mlp(3, FEATURES, FEATURES, batchnorm=False)
        last = normed(4) if norm else linear(4, FEATURES, DIM)
        state = joined(
            encoder=resnet(0),
            head_jig__fc1=mlp(6, FEATURES, FEATURES, DIM, batchnorm=False),
            head_jig__fc2=linear(7, 9 * DIM, DIM),
            head=hidden,
            proj1=under(last, "0."),
            proj2=under(last, "0."),
        )
        data = {"model": under(state, "module."), "contrast": {"memory": torch.ones(8, DIM)}}
        found = read(data, tmp_path, "infomin/cld", "proj1.0.weight")
        same(found.branch().backbone, resnet(0))
        assert found.branch().layers == ("backbone", "projector", "groups")
        x = torch.relu(torch.randn(4, FEATURES))
        self.compare(found.branch().heads[0], x, last)


class TestMocoV3:
    """facebookresearch/moco-v3 moco/builder.py _build_mlp, vits.py, main_lincls.py."""

    @pytest.mark.parametrize(
        ("body", "at", "inputs", "depth"),
        [(resnet, "fc", FEATURES, 2), (vit, "head", 24, 3)],
    )
    def test_base_and_momentum(self, tmp_path, body, at, inputs, depth):
        def projector(seed):
            return batchnormed(seed, inputs, *[32] * (depth - 1), DIM, affine_last=False)

        predictor = batchnormed(9, DIM, 32, DIM, affine_last=False if body is vit else None)
        state = {"predictor": predictor}
        for seed, name in enumerate(("base", "momentum")):
            state[f"{name}_encoder"] = body(seed) | joined(**{at: projector(seed)})
        data = {
            "epoch": 100,
            "arch": "vit_small",
            "state_dict": under(joined(**state), "module."),
            "optimizer": OPTIMIZER,
            "scaler": {"scale": 65536.0},
        }
        found = read(data, tmp_path, "moco-v3", "base_encoder.*", f"base_encoder.{at}.0.weight")
        assert (found.default_branch, found.branch().default_layer) == ("base", "projector")
        for seed, name in enumerate(("base", "momentum")):
            same(found.branches[name].backbone, body(seed))
        last = 3 * (depth - 1) + 1
        assert f"{last}.running_mean" in found.branch().head("projector").state
        assert f"{last}.weight" not in found.branch().head("projector").state
        heads(found.branches["base"], projector=projector(0), predictor=predictor)
        heads(found.branches["momentum"], projector=projector(1))
        image(found)

    def test_linear_evaluation_is_a_network_alone(self, tmp_path):
        """linear-*.pth.tar: module.* with a classifier."""
        body = resnet(0) | joined(fc=linear(1, FEATURES, 5))
        data = {"epoch": 90, "state_dict": under(body, "module."), "best_acc1": 74.0}
        found = read(data, tmp_path, "resnet")
        heads(found.branch(), classifier=linear(1, FEATURES, 5))


class TestSwav:
    """facebookresearch/swav src/resnet50.py, main_swav.py, main_deepclusterv2.py, eval_linear."""

    SWAV = ((0.485, 0.456, 0.406), (0.228, 0.224, 0.225))

    @pytest.mark.parametrize("hidden", [True, False])
    @pytest.mark.parametrize("bare", [True, False])
    @pytest.mark.parametrize("several", [True, False])
    def test_prototypes_stand_beside_the_projection(self, tmp_path, hidden, bare, several):
        body = resnet(0)
        head = batchnormed(1, FEATURES, 32, DIM, bias=True, last_bias=True)
        head = head if hidden else linear(1, FEATURES, DIM)
        sets = [linear(2 + n, DIM, 20, bias=False)["weight"] for n in range(3 if several else 1)]
        names = [f".prototypes{n}" for n in range(3)] if several else [""]
        state = body | joined(projection_head=head)
        state |= {f"prototypes{n}.weight": s for n, s in zip(names, sets, strict=True)}
        data = under(state, "module.")
        if not bare:
            data = {"epoch": 800, "state_dict": data, "optimizer": OPTIMIZER, "amp": {"x": 1}}
        layout = "deepcluster-v2" if several else "swav"
        found = read(data, tmp_path, layout, "projection_head.*", f"prototypes{names[0]}.weight")
        assert found.branch().default_layer == "projector"
        same(found.branch().backbone, body)
        heads(found.branch(), projector=head)
        assert found.branch().heads[0].normalised
        prototypes(found, *sets)
        image(found, norm=self.SWAV)


class TestTwins:
    @pytest.mark.parametrize("bare", [True, False])
    def test_simsiam(self, tmp_path, bare):
        """facebookresearch/simsiam simsiam/builder.py: the sixth layer keeps a bias."""
        projector = batchnormed(1, FEATURES, FEATURES, FEATURES, DIM, affine_last=False)
        projector["6.bias"] = torch.zeros(DIM)
        predictor = batchnormed(2, DIM, 8, DIM, last_bias=True)
        state = joined(encoder=resnet(0) | joined(fc=projector), predictor=predictor)
        data = under(state, "module.")
        if not bare:
            data = {"epoch": 100, "arch": "resnet50", "state_dict": data, "optimizer": OPTIMIZER}
        found = read(data, tmp_path, "simsiam", "encoder.fc.6.weight", "predictor.0.weight")
        same(found.branch().backbone, resnet(0))
        heads(found.branch(), projector=projector, predictor=predictor)
        assert found.branch().default_layer == "projector"
        image(found)

    @pytest.mark.parametrize("layout", ["barlow-twins", "vicreg"])
    def test_barlow_twins_and_vicreg(self, tmp_path, layout):
        """facebookresearch/barlowtwins main.py; facebookresearch/vicreg main_vicreg.py."""
        barlow = layout == "barlow-twins"
        projector = batchnormed(1, FEATURES, 32, 32, DIM, bias=not barlow)
        statistics = torch.nn.BatchNorm1d(DIM, affine=False).state_dict()
        state = joined(backbone=resnet(0), projector=projector)
        state |= joined(bn=statistics) if barlow else {}
        data = {"epoch": 3, "model": under(state, "module."), "optimizer": OPTIMIZER}
        found = read(data, tmp_path, layout, "backbone.conv1.weight", "projector.0.")
        assert (found.epoch, found.branch().default_layer) == (3, "projector")
        same(found.branch().backbone, resnet(0))
        heads(found.branch(), projector=projector)
        image(found)

    def test_their_final_models_are_networks_alone(self, tmp_path):
        """resnet50.pth of both: model.module.backbone.state_dict()."""
        found = read(resnet(0), tmp_path, "resnet", "layer1.0.conv1.weight")
        same(found.branch().backbone, resnet(0))
        image(found)


class TestByol:
    def lucidrains(self, projector):
        """lucidrains/byol-pytorch byol_pytorch.py: net is there three times."""
        nets = [resnet(seed) | joined(fc=linear(5, FEATURES, 7)) for seed in (0, 1)]
        return joined(
            net=nets[0],
            online_encoder=joined(net=nets[0], projector=projector),
            online_predictor=batchnormed(3, DIM, 32, DIM, bias=True, last_bias=True),
            target_encoder=joined(net=nets[1], projector=projector),
        )

    def test_lucidrains(self, tmp_path):
        projector = batchnormed(2, FEATURES, 32, DIM, bias=True, last_bias=True)
        predictor = batchnormed(3, DIM, 32, DIM, bias=True, last_bias=True)
        data = self.lucidrains(projector)
        found = read(data, tmp_path, "byol/lucidrains", "online_encoder.net.*")
        assert (found.default_branch, found.branch().default_layer) == ("online", "projector")
        same(found.branches["online"].backbone, resnet(0))
        same(found.branches["target"].backbone, resnet(1))
        heads(found.branches["online"], projector=projector, predictor=predictor)
        heads(found.branches["target"], projector=projector)
        image(found)

    def test_simplicial_embeddings_leave_the_backbone(self, tmp_path):
        """use_simplicial_embeddings=True, its default now: a softmax stands in the projector."""
        embedder = torch.nn.Sequential(torch.nn.Linear(FEATURES, 32), torch.nn.BatchNorm1d(32))
        last = batchnormed(2, 32, 32, DIM, bias=True, last_bias=True)
        projector = under(embedder.state_dict(), "0.") | under(last, "2.")
        data = self.lucidrains(projector)
        found = read(data, tmp_path, "byol/lucidrains", "online_encoder.projector.0.0.*")
        assert found.branch().layers == ("backbone",)
        assert found.branch().default_layer == "backbone"
        same(found.branch().backbone, resnet(0))

    def test_yaox12(self, tmp_path):
        """yaox12/BYOL-PyTorch model/basic_modules.py, trainer/byol_trainer.py."""
        children = ["conv1", "bn1", "relu", "maxpool", *(f"layer{n}" for n in range(1, 5))]
        names = {"0": "l1", "1": "bn1", "3": "l2"}

        def named(head):
            words = {key: key.split(".") for key in head}
            return {f"{names[first]}.{rest}": head[key] for key, (first, rest) in words.items()}

        def projector(seed):
            return batchnormed(seed, FEATURES, 32, DIM, bias=True, last_bias=True)

        predictor = batchnormed(9, DIM, 32, DIM, bias=True, last_bias=True)
        state = joined(predictor__predictor=named(predictor))
        for seed, name in enumerate(("online", "target")):
            body = sequential(resnet(seed), children)
            parts = joined(encoder=body, projetion=named(projector(seed)))
            state |= under(parts, f"{name}_network.")
        data = {
            "config": {"model": {"base_momentum": 0.996}},
            "epoch": 100,
            "steps": 500400,
            "model": under(state, "module."),
            "optimizer": OPTIMIZER,
            "amp": {"loss_scaler0": {"loss_scale": 65536.0}},
        }
        found = read(data, tmp_path, "byol/yaox12", "online_network.projetion.*")
        assert (found.default_branch, found.branch().default_layer) == ("online", "projector")
        for seed, name in enumerate(("online", "target")):
            same(found.branches[name].backbone, resnet(seed))
            same(found.branches[name].head("projector").state, projector(seed))
        heads(found.branch(), projector=projector(0), predictor=predictor)
        image(found)


class TestSimclr:
    def test_sthalles(self, tmp_path):
        """sthalles/SimCLR models/resnet_simclr.py, simclr.py; images as they are, ToTensor only."""
        head = mlp(1, FEATURES, FEATURES, DIM, batchnorm=False)
        state = under(resnet(0) | joined(fc=head), "backbone.")
        data = {"epoch": 100, "arch": "resnet18", "state_dict": state, "optimizer": OPTIMIZER}
        found = read(data, tmp_path, "simclr/sthalles", "backbone.fc.0.weight")
        same(found.branch().backbone, resnet(0))
        heads(found.branch(), projector=head)
        assert found.branch().default_layer == "projector"
        image(found, size=None, resize=None, norm=((0.0,) * 3, (1.0,) * 3))

    def test_debiased(self, tmp_path):
        """chingyaoc/DCL model.py (leftthomas/SimCLR's), main.py: bare, behind DataParallel."""
        children = ["conv1", "bn1", "relu", "layer1", "layer2", "layer3", "layer4", "avgpool"]
        head = batchnormed(1, FEATURES, 32, DIM, last_bias=True)
        state = joined(f=sequential(resnet(0, stem="small"), children), g=head)
        found = read(under(state, "module."), tmp_path, "dcl", "f.0.weight", "f.3.0.conv1.weight")
        same(found.branch().backbone, resnet(0, stem="small"))
        heads(found.branch(), projector=head)
        assert found.branch().heads[0].normalised
        image(found, size=(32, 32), resize=None, norm=CIFAR)

    def test_converted(self, tmp_path):
        """tonylins/simclr-converter: torchvision's names, but a block's shortcut comes first."""
        body = resnet(0, block="bottleneck")
        blocks = sorted({key[:8] for key in body if key.startswith("layer")})
        order = [key for key in body if not key.startswith("layer")]
        for block in blocks:
            inside = [key for key in body if key.startswith(block)]
            order += sorted(inside, key=lambda key: ".downsample." not in key)
        classifier = linear(1, 4 * FEATURES, 10)
        data = {"state_dict": {key: body[key] for key in order} | joined(fc=classifier)}
        found = read(data, tmp_path, "simclr/converted", "layer1.0.downsample.0.weight")
        same(found.branch().backbone, body)
        heads(found.branch(), classifier=classifier)
        assert found.branch().default_layer == "backbone"
        image(found, size=(256, 256), norm=((0.0,) * 3, (1.0,) * 3))
        torch.save(body, tmp_path / "checkpoint")
        assert read_checkpoint(tmp_path / "checkpoint").layout == "resnet"
