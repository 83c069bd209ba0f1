"""NPID, PIRL, InfoMin, PIC, CMC and AMDIM, as their own code saves them; the table as a whole."""

import pickle
import re

import numpy as np
import pytest
import torch
from PIL import Image

from nemd_toolkit.checkpoints import read_checkpoint
from nemd_toolkit.checkpoints.layouts import LAYOUTS
from nemd_toolkit.encoding import embed
from nemd_toolkit.errors import InputError
from tests.colours import rgb2lab, rgb2ycbcr
from tests.encoders.authors import Amdim, Cmc, CmcAlexNet, CmcResNet
from tests.encoders.test_peers import random_weights
from tests.layouts.expectations import heads, image, read, same
from tests.layouts.framework_modules import FEATURES, joined, linear, mlp, resnet, under
from tests.layouts.sources import (
    DIM,
    OPTIMIZER,
    LinearAverage,
    NCEAverage,
    amdim_evaluator,
    fc,
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

    LAB = ((50.0, 6.025, -6.6895), (50.0, 92.208, 101.1675))
    YCBCR = ((116.151, 121.08, 132.342), (109.5, 111.855, 111.964))

    @staticmethod
    def saved(tmp_path, model, view):
        data = {
            "opt": options(model="resnet18v1", view=view, amp=False),
            "model": under(model.state_dict(), "encoder.module."),
            "contrast": {"memory_l": torch.ones(12, DIM), "memory_ab": torch.ones(12, DIM)},
            "optimizer": OPTIMIZER,
            "epoch": 240,
        }
        return read(data, tmp_path, "cmc", "encoder.l_to_ab.*", "encoder.ab_to_l.*")

    @pytest.mark.parametrize("half", [CmcResNet, CmcAlexNet])
    def test_one_encoder_holds_both_halves(self, tmp_path, half):
        model = random_weights(Cmc(half))
        found = self.saved(tmp_path, model, "Lab")
        assert (found.epoch, found.settings["view"]) == (240, "Lab")
        assert found.branch().layers == ("backbone",)
        bodies = {k: v for k, v in model.state_dict().items() if not re.search(r"\.fc\d?\.", k)}
        same(found.branch().backbone, bodies)
        for name, own in (("l", "l_to_ab."), ("ab", "ab_to_l.")):
            branch = found.branch(name)
            same(branch.backbone, {k: v for k, v in bodies.items() if k.startswith(own)})
            assert (branch.layers, branch.default_layer) == (("backbone", "projector"), "projector")
            assert branch.heads[0].normalised

    @pytest.mark.parametrize(("view", "norm"), [("Lab", LAB), ("YCbCr", YCBCR)])
    def test_the_options_tell_the_colour_space(self, tmp_path, view, norm):
        image = self.saved(tmp_path, Cmc(CmcResNet), view).image
        assert (image.space, image.channels) == (view.lower(), 3)
        assert (image.size, image.resize) == ((224, 224), 256)
        assert image.mean == pytest.approx(norm[0])
        assert image.std == pytest.approx(norm[1])

    @pytest.mark.parametrize(("half", "pooled", "last"), [(CmcResNet, 6, 7), (CmcAlexNet, 5, 8)])
    @pytest.mark.parametrize("view", ["Lab", "YCbCr"])
    def test_rows_are_those_of_the_authors_network(self, tmp_path, half, pooled, last, view):
        model = random_weights(Cmc(half))
        found = self.saved(tmp_path, model, view)
        mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in getattr(self, view.upper()))
        photos = pictures(tmp_path, 256, 256)
        cut = photos[:, 16:240, 16:240] / 255  # CenterCrop(224)
        colours = rgb2lab(cut) if view == "Lab" else rgb2ycbcr(cut)
        seen = (torch.from_numpy(colours).permute(0, 3, 1, 2).float() - mean) / std
        with torch.inference_mode():
            bodies, heads = model(seen, pooled), model(seen, last)
        for branch, layer, rows in (
            ("encoder", "backbone", torch.cat(bodies, 1)),
            ("l", "projector", heads[0]),
            ("ab", "projector", heads[1]),
            ("ab", "backbone", bodies[1]),
        ):
            ours = embed(found, f"folder:{tmp_path / 'photos'}", layer, branch=branch).vectors
            torch.testing.assert_close(ours, unit(rows), rtol=0, atol=1e-5)

    @pytest.mark.parametrize("queue", [True, False])
    def test_pycontrasts(self, tmp_path, queue):
        """HobbitLong/PyContrast networks/build_backbone.py CMCSingleHead, CMCMultiHeads."""

        def network(seed):
            model = random_weights(Cmc(CmcResNet), seed)
            own = {"encoder1": model.l_to_ab, "encoder2": model.ab_to_l}
            bodies = {k: without(net.state_dict(), "fc.") for k, net in own.items()}
            heads = {f"head{n}": under(linear(n, FEATURES, DIM), "0.") for n in (1, 2)}
            tiles = {f"head{n}_jig__fc1": linear(n, FEATURES, DIM) for n in (1, 2)}
            return model, under(joined(**bodies, **heads, **tiles), "module.")

        data = {"opt": options(modal="CMC"), "model": network(0)[1], "epoch": 240}
        data |= {"model_ema": network(1)[1]} if queue else {}
        found = read(data, tmp_path, "cmc/pycontrast", "encoder1.conv1.weight", "head1.0.weight")
        assert found.default_branch == ("key" if queue else "query")
        assert found.image.space == "ydbdr"
        model = network(int(queue))[0]
        photos = pictures(tmp_path, 256, 256)
        matrix = np.array([[0.299, 0.587, 0.114], [-0.45, -0.883, 1.333], [-1.333, 1.116, 0.217]])
        colours = photos[:, 16:240, 16:240] / 255 @ matrix.T
        seen = torch.from_numpy((colours - (0.457, -0.082, -0.052)) / (0.5, 1.331, 1.333))
        with torch.inference_mode():
            light, colour = model(seen.permute(0, 3, 1, 2).float(), 6)
        spec = f"folder:{tmp_path / 'photos'}"
        ours = embed(found, spec).vectors
        torch.testing.assert_close(ours, unit(torch.cat([light, colour], 1)), rtol=0, atol=1e-5)
        last = linear(2, FEATURES, DIM)
        rows = unit(colour @ last["weight"].T + last["bias"])
        ours = embed(found, spec, "projector", branch=f"{found.default_branch}-dbdr").vectors
        torch.testing.assert_close(ours, rows, rtol=0, atol=1e-5)

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

    @staticmethod
    def saved(tmp_path, model, side):
        state = joined(encoder__module=model.state_dict(), evaluator=amdim_evaluator())
        state["g2l_loss.masks_r5"] = torch.ones(1, 25, 25)
        data = {
            "model": state,
            "hyperparams": {"ndf": 8, "n_rkhs": 64, "n_depth": 2, "encoder_size": side},
            "cursor": {"info_epoch": 150, "info_step": 9},
        }
        return read(data, tmp_path, "amdim", "encoder.layer_list.0.conv.weight")

    @pytest.mark.parametrize(("side", "resize", "mean", "std"), INPUT)
    def test_the_second_layer_tells_the_image(self, tmp_path, side, resize, mean, std):
        model = Amdim(side)
        found = self.saved(tmp_path, model, side)
        assert found.settings["encoder_size"] == side
        assert found.branch().default_layer == "backbone"
        same(found.branch().backbone, model.state_dict())
        heads(found.branch(), classifier=linear_of(amdim_evaluator()))
        assert (found.image.size, found.image.resize) == ((side, side), resize)
        assert found.image.interpolation == "bicubic"
        assert found.image.mean == pytest.approx(mean, abs=1e-4)
        assert found.image.std == pytest.approx(std, abs=1e-4)

    @pytest.mark.parametrize(("side", "resize", "mean", "std"), INPUT)
    def test_rows_are_those_of_the_authors_network(self, tmp_path, side, resize, mean, std):
        model = random_weights(Amdim(side))
        found = self.saved(tmp_path, model, side)
        photos = pictures(tmp_path, *((150, 200) if resize else (side, side)))
        if resize:  # Resize(resize, interpolation=3), CenterCrop(side)
            size = (int(resize * 200 / 150), resize)
            left, top = (round((length - side) / 2) for length in size)
            scaled = [Image.fromarray(p).resize(size, Image.Resampling.BICUBIC) for p in photos]
            photos = np.stack(scaled)[:, top : top + side, left : left + side]
        seen = torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 255
        exact = {32: ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7))}.get(side)
        mean, std = [[v / 255 for v in part] for part in exact] if exact else (mean, std)
        seen = (seen - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        with torch.inference_mode():
            rows = model(seen)
        ours = embed(found, f"folder:{tmp_path / 'photos'}").vectors
        torch.testing.assert_close(ours, unit(rows), rtol=0, atol=1e-6)


def pictures(tmp_path, height, width):
    """Three pictures of this size; their bytes (n, h, w, 3)."""
    (tmp_path / "photos").mkdir()
    made = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    for number, picture in enumerate(made):
        Image.fromarray(picture).save(tmp_path / "photos" / f"{number}.png")
    return made


def unit(rows):
    return rows / rows.norm(dim=1, keepdim=True)


def without(state, start):
    return {k: v for k, v in state.items() if not k.startswith(start)}


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
