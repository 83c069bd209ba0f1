"""MoCo, its kin and MoCo v3, as their own code saves them."""

import pytest
import torch

from tests.layouts.expectations import heads, image, read, same
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
        encoders(found, default="key", head=fc_mlp)
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
        encoders(found, default="key", head=fc_mlp)
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
        assert (found.default_branch, found.branch().default_layer) == ("key", "projector")
        assert found.settings["normlinear"] is True
        assert "; 2 others are left out" in found.why  # the queue, and where it ends
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
        heads(found.branch("query"), projector=head(0)["fc"], groups=head(0)["groupDis"])

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
        assert (found.default_branch, found.branch().default_layer) == ("key", "projector")
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
        assert (found.default_branch, found.branch().default_layer) == ("momentum", "projector")
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
