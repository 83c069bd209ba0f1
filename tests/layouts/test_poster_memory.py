"""NPID, PIRL, InfoMin, PIC, CMC and AMDIM, as their own code saves them; the table as a whole."""

import pickle

import pytest
import torch

from nemd_toolkit.checkpoints import read_checkpoint
from nemd_toolkit.checkpoints.layouts import LAYOUTS
from nemd_toolkit.errors import InputError
from tests.layouts.expectations import heads, image, read, same
from tests.layouts.framework_modules import FEATURES, joined, linear, mlp, resnet, under
from tests.layouts.sources import (
    DIM,
    OPTIMIZER,
    LinearAverage,
    NCEAverage,
    amdim_encoder,
    amdim_evaluator,
    fc,
    half_alexnet,
    half_resnet,
    options,
    small_resnet,
)

CIFAR = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
MEMORY = {"memory": torch.ones(12, DIM), "params": torch.tensor([4.0, 0.07, -1, 0.5])}


class TestNpid:
    """zhirongw/lemniscate.pytorch main.py, cifar.py, models/: the memory is a pickled module."""

    @pytest.mark.parametrize("memory", [LinearAverage, NCEAverage])
    def test_imagenet(self, tmp_path, memory):
        data = {
            "epoch": 200,
            "arch": "resnet18",
            "state_dict": under(resnet(0) | joined(**fc(0)), "module."),
            "lemniscate": memory(),
            "best_prec1": torch.tensor(54.0),
            "optimizer": OPTIMIZER,
        }
        found = read(data, tmp_path, "npid", "fc.weight", "lemniscate.memory")
        assert (found.arch, found.branch().default_layer) == ("resnet18", "projector")
        assert any(memory.__name__ in stub for stub in found.stubs)
        same(found.branch().backbone, resnet(0))
        heads(found.branch(), projector=fc(0)["fc"])
        assert found.branch().heads[0].normalised
        image(found)

    def test_cifar(self, tmp_path):
        state, body, last = small_resnet(0)
        data = {"net": under(state, "module."), "lemniscate": NCEAverage(), "acc": 80.2, "epoch": 9}
        found = read(data, tmp_path, "npid/cifar", "linear.weight", "lemniscate.memory")
        same(found.branch().backbone, body)
        heads(found.branch(), projector=last)
        image(found, size=(32, 32), resize=None, norm=CIFAR)


class TestPycontrast:
    """HobbitLong/PyContrast pycontrast/networks/build_backbone.py, learning/contrast_trainer.py."""

    @pytest.mark.parametrize(
        ("title", "deep", "jigsaw", "queue"),
        [
            ("NPID or MoCo", False, False, False),
            ("NPID or MoCo", False, False, True),
            ("MoCo v2", True, False, True),
            ("PIRL", False, True, False),
            ("InfoMin", True, True, True),
        ],
    )
    def test_methods(self, tmp_path, title, deep, jigsaw, queue):
        def head(seed):
            if deep:
                return mlp(seed, FEATURES, FEATURES, DIM, batchnorm=False)
            return under(linear(seed, FEATURES, DIM), "0.")

        def network(seed):
            first = head(seed) if deep else linear(seed, FEATURES, DIM)
            tiles = {"head_jig__fc1": first, "head_jig__fc2": linear(4, 9 * DIM, DIM)}
            parts = joined(encoder=resnet(seed), head=head(seed), **(tiles if jigsaw else {}))
            return under(parts, "module.")

        data = {"model": network(0), "contrast": MEMORY, "optimizer": OPTIMIZER, "epoch": 200}
        data |= {"model_ema": network(1)} if queue else {}
        found = read(data, tmp_path, "pycontrast", "encoder.conv1.weight", "head.0.weight")
        assert found.title == f"{title} of PyContrast"
        assert found.default_branch == list(found.branches)[-1]  # the averaged one, if it is there
        assert found.branch().default_layer == "projector"
        assert list(found.branches) == (["query", "key"] if queue else ["query"])
        for seed, branch in enumerate(found.branches.values()):
            same(branch.backbone, resnet(seed))
            heads(branch, projector=head(seed))
            assert branch.heads[0].normalised
        image(found)


class TestPic:
    """bl0/PIC contrast/models/, contrast/resnet.py, main_pretrain.py."""

    @pytest.mark.parametrize("deep", [True, False])
    @pytest.mark.parametrize(
        ("name", "mark", "extra"),
        [
            ("pic", "sim_matrix", {"sim_matrix": torch.rand(12, DIM)}),
            ("insdis", "memory", {"memory": torch.rand(12, DIM)}),
            ("moco", "encoder_k.conv1.weight", {"queue": torch.rand(DIM, 8)}),
        ],
    )
    def test_methods(self, tmp_path, deep, name, mark, extra):
        def network(seed):
            hidden, last = linear(seed, FEATURES, 32), linear(seed + 5, 32, DIM)
            parts = {"fc1": hidden, "fc2": last} if deep else fc(seed)
            head = under(hidden, "0.") | under(last, "2.") if deep else fc(seed)["fc"]
            return resnet(seed) | joined(**parts), head

        starts = (
            {"query": "encoder", "key": "encoder_k"} if name == "moco" else {"query": "encoder"}
        )
        state = dict(extra)
        for seed, start in enumerate(starts.values()):
            state |= under(network(seed)[0], f"{start}.")
        data = {
            "opt": options(arch="resnet18", feature_dim=DIM, mlp_head=deep),
            "model": under(state, "module."),
            "optimizer": OPTIMIZER,
            "scheduler": {"last_epoch": 3},
            "epoch": 200,
        }
        found = read(data, tmp_path, f"bl0/{name}", "encoder.conv1.weight", mark)
        assert found.default_branch == list(found.branches)[-1]  # the averaged one, if it is there
        assert found.branch().default_layer == "projector"
        assert found.settings["feature_dim"] == DIM
        assert list(found.branches) == list(starts)
        for seed, branch in enumerate(found.branches.values()):
            same(branch.backbone, resnet(seed))
            heads(branch, projector=network(seed)[1])
            assert branch.heads[0].normalised
        image(found)


class TestCmc:
    """HobbitLong/CMC models/, train_CMC.py, train_moco_ins.py, LinearProbing.py."""

    @pytest.mark.parametrize("half", [half_resnet, half_alexnet])
    def test_one_encoder_holds_both_halves(self, tmp_path, half):
        halves = joined(l_to_ab=half(0, 1), ab_to_l=half(1, 2))
        data = {
            "opt": options(model="resnet18v1", view="Lab", amp=False),
            "model": under(halves, "encoder.module."),
            "contrast": {"memory_l": torch.ones(12, DIM), "memory_ab": torch.ones(12, DIM)},
            "optimizer": OPTIMIZER,
            "epoch": 240,
        }
        found = read(data, tmp_path, "cmc", "encoder.l_to_ab.*", "encoder.ab_to_l.*")
        assert (found.epoch, found.settings["view"]) == (240, "Lab")
        assert found.branch().default_layer == "backbone"
        same(found.branch().backbone, halves)
        assert (found.image.space, found.image.channels) == ("lab", 3)
        assert (found.image.size, found.image.resize) == ((224, 224), 256)
        assert found.image.mean == pytest.approx((50.0, 6.025, -6.6895))
        assert found.image.std == pytest.approx((50.0, 92.208, 101.1675))

    @pytest.mark.parametrize("queue", [True, False])
    def test_moco_and_npid(self, tmp_path, queue):
        networks = [under(resnet(n) | joined(**fc(n)), "encoder.module.") for n in range(2)]
        data = {"opt": options(), "model": networks[0], "contrast": MEMORY, "epoch": 200}
        data |= {"model_ema": networks[1]} if queue else {}
        found = read(data, tmp_path, "cmc/insdis-moco", "encoder.fc.weight", "contrast.memory")
        assert list(found.branches) == (["query", "key"] if queue else ["query"])
        for seed, branch in enumerate(found.branches.values()):
            same(branch.backbone, resnet(seed))
            heads(branch, projector=fc(seed)["fc"])
        image(found)


class TestAmdim:
    """Philip-Bachman/amdim-public model.py, checkpoint.py, datasets.py."""

    INPUT = (
        (128, 146, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        (64, 70, (0.43, 0.42, 0.39), (0.27, 0.26, 0.27)),
        (32, None, (0.4914, 0.4824, 0.4467), (0.2471, 0.2435, 0.2616)),
    )

    @pytest.mark.parametrize(("side", "resize", "mean", "std"), INPUT)
    def test_the_second_layer_tells_the_image(self, tmp_path, side, resize, mean, std):
        encoder, evaluator = amdim_encoder(side), amdim_evaluator()
        state = joined(encoder__module=encoder, evaluator=evaluator)
        state["g2l_loss.masks_r5"] = torch.ones(1, 25, 25)
        data = {
            "model": state,
            "hyperparams": {"ndf": 8, "n_rkhs": 64, "n_depth": 1, "encoder_size": side},
            "cursor": {"info_epoch": 150, "info_step": 9},
        }
        found = read(data, tmp_path, "amdim", "encoder.layer_list.0.conv.weight")
        assert found.settings["encoder_size"] == side
        assert found.branch().default_layer == "backbone"
        same(found.branch().backbone, encoder)
        heads(found.branch(), classifier=linear_of(evaluator))
        assert (found.image.size, found.image.resize) == ((side, side), resize)
        assert found.image.interpolation == "bicubic"
        assert found.image.mean == pytest.approx(mean, abs=1e-4)
        assert found.image.std == pytest.approx(std, abs=1e-4)


def linear_of(evaluator):
    start = "block_glb_lin.block_forward.2."
    return {k.removeprefix(start): v for k, v in evaluator.items() if k.startswith(start)}


def test_byol_of_haiku_is_refused_with_advice(tmp_path):
    """google-deepmind/deepmind-research byol: a dill pickle of parameters, which nothing runs."""
    data = {"experiment_state": {"online_params": {"res_net50/~/initial_conv": {"w": [1.0]}}}}
    (tmp_path / "pretrain_res50x1.pkl").write_bytes(pickle.dumps(data))
    with pytest.raises(InputError, match="expected .*, got a plain pickle.*converter"):
        read_checkpoint(tmp_path / "pretrain_res50x1.pkl")


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.name}: {layout.marks}")
def test_no_earlier_line_of_the_table_takes_what_a_later_one_tells(layout):
    names = [f"{mark}0.weight" if mark.endswith(".") else mark for mark in layout.marks]
    state = dict.fromkeys(reversed(names) if layout.told else names, torch.ones(1))
    assert layout.source
    assert layout.default in layout.parts
    assert layout.fits(state)
    assert next(line.name for line in LAYOUTS if line.fits(state)) == layout.name
