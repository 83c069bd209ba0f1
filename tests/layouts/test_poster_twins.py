"""SwAV, SimSiam, Barlow Twins, VICReg, BYOL, SimCLR and DCL, as their own code saves them."""

from pathlib import Path

import pytest
import safetensors.torch
import torch

from nemd_toolkit.checkpoints import Content, read_checkpoint
from nemd_toolkit.checkpoints.layouts import read_layout
from nemd_toolkit.encoders import ResNet, ResNetShape
from nemd_toolkit.report.inspection import inspection
from tests.layouts.expectations import heads, image, prototypes, read, same
from tests.layouts.framework_modules import FEATURES, joined, linear, mlp, resnet, under
from tests.layouts.sources import (
    DIM,
    OPTIMIZER,
    batchnormed,
    sequential,
)

CIFAR = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


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
        assert (found.default_branch, found.branch().default_layer) == ("target", "projector")
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
        same(found.branch("online").backbone, resnet(0))

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
        assert (found.default_branch, found.branch().default_layer) == ("target", "projector")
        for seed, name in enumerate(("online", "target")):
            same(found.branches[name].backbone, resnet(seed))
            same(found.branches[name].head("projector").state, projector(seed))
        heads(found.branches["online"], projector=projector(0), predictor=predictor)
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

    @pytest.mark.parametrize("width", [64, 128, 256])
    def test_the_wide_ones_are_told_without_an_order(self, width):
        """safetensors sorts names: widths of 2x and 4x tell it, 1x has to be named."""
        found = read_layout(resnet50(width))
        assert found.layout == ("resnet" if width == 64 else "simclr/converted")
        named = read_layout(resnet50(width), "simclr/converted")
        image(named, size=(256, 256), norm=((0.0,) * 3, (1.0,) * 3))

    @pytest.mark.parametrize("left_out", ["fc.weight", "layer3.5.conv3.weight"])
    def test_other_wide_networks_are_none(self, left_out):
        """VICReg's resnet50x2 has no classifier; another depth is another network."""
        content = resnet50(128)
        del content.data[left_out]
        assert read_layout(content).layout == "resnet"

    def test_what_to_pass_is_said_where_the_file_does_not_tell(self, tmp_path):
        net = ResNet(ResNetShape(block="bottleneck", blocks=(3, 4, 6, 3), dim=7))
        path = tmp_path / "model.safetensors"
        safetensors.torch.save_file(net.half().state_dict(), path)
        commands = [entry["command"] for entry in inspection(read_checkpoint(path), 1)["commands"]]
        assert f"nemd inspect {path} --layout simclr/converted" in commands
        assert read_checkpoint(path, "simclr/converted").layout == "simclr/converted"


def resnet50(width):
    """torchvision's names, sorted, and shapes of a ResNet-50, wider; none of its numbers."""
    shapes = {"conv1.weight": (width, 3, 7, 7)}
    inputs = width
    for stage, blocks in enumerate((3, 4, 6, 3)):
        inner = width * 2**stage
        for block in range(blocks):
            start = f"layer{stage + 1}.{block}"
            shapes[f"{start}.conv1.weight"] = (inner, inputs, 1, 1)
            shapes[f"{start}.conv2.weight"] = (inner, inner, 3, 3)
            shapes[f"{start}.conv3.weight"] = (4 * inner, inner, 1, 1)
            if block == 0:
                shapes[f"{start}.downsample.0.weight"] = (4 * inner, inputs, 1, 1)
            inputs = 4 * inner
    shapes["fc.weight"] = (1000, inputs)
    state = {name: torch.zeros(1).expand(shape) for name, shape in sorted(shapes.items())}
    return Content(path=Path("a.safetensors"), data=state, container="safetensors")
