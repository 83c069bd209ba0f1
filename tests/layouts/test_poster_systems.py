"""Checkpoints as the poster's systems save them: recognised, taken apart, and embedded alike.

Encoders are torchvision's own; names and nesting are those of the code that each layout names.
"""

import argparse

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nemd_toolkit.checkpoints import read_checkpoint
from nemd_toolkit.encoders import backbone_from_state_dict, head_from_state_dict
from tests.encoders.test_peers import images, random_weights

pytestmark = pytest.mark.filterwarnings("ignore")
L, B, R = nn.Linear, nn.BatchNorm1d, nn.ReLU


class NCEAverage(nn.Module):
    """As lemniscate.pytorch saves its memory: a module object in the file."""

    def __init__(self):
        super().__init__()
        self.register_buffer("memory", torch.ones(10, 16))


class Moco3(nn.Module):
    """MoCo v3's nesting."""

    def __init__(self, make, mlp):
        super().__init__()
        self.base_encoder, self.momentum_encoder = make(), make()
        for encoder in (self.base_encoder, self.momentum_encoder):
            encoder.fc = mlp()
        self.predictor = nn.Sequential(L(16, 32, bias=False), B(32), R(), L(32, 16, bias=False),
                                       B(16, affine=False))  # fmt: skip


def v3_mlp():
    return nn.Sequential(L(512, 32, bias=False), B(32), R(), L(32, 16, bias=False),
                         B(16, affine=False))  # fmt: skip


def wrapped(model, name="module."):
    return {f"{name}{key}": value for key, value in model.state_dict().items()}


def below(model, **parts):
    """State dict of several modules side by side."""
    return {f"{k}.{n}": v for k, m in parts.items() for n, v in m.state_dict().items()} | (
        wrapped(model, "") if model is not None else {}
    )


class Case(nn.Module):
    """What a layout's file holds, and what its own forward gives."""

    def __init__(self, layout, data, backbone, head, branch=None):
        super().__init__()
        self.layout, self.data, self.branch = layout, data, branch
        self.backbone, self.head = backbone, head


def resnet18(peers, seed=0):
    model = random_weights(peers.torchvision.models.resnet18(), seed)
    model.fc = nn.Identity()
    return model


def cases(peers):
    net = resnet18(peers)
    v3 = random_weights(Moco3(lambda: resnet18(peers), v3_mlp), 3)
    yield Case("moco-v3", {"epoch": 3, "arch": "resnet18", "state_dict": wrapped(v3), "scaler": {}},
               v3.momentum_encoder, v3.momentum_encoder.fc, "momentum")  # fmt: skip
    projector = random_weights(nn.Sequential(
        L(512, 512, bias=False), B(512), R(), L(512, 512, bias=False), B(512), R(),
        L(512, 16), B(16, affine=False)), 1)  # fmt: skip
    predictor = nn.Sequential(L(16, 4, bias=False), B(4), R(), L(4, 16))
    simsiam = wrapped(net, "module.encoder.") | wrapped(projector, "module.encoder.fc.")
    simsiam |= wrapped(predictor, "module.predictor.")
    yield Case("simsiam", {"epoch": 99, "state_dict": simsiam, "optimizer": {}}, net, projector)
    mlp = random_weights(nn.Sequential(L(512, 32), B(32), R(), L(32, 16)), 2)
    prototypes = L(16, 30, bias=False)
    swav = wrapped(net) | wrapped(mlp, "module.projection_head.")
    swav |= wrapped(prototypes, "module.prototypes.")
    yield Case("swav", {"epoch": 400, "state_dict": swav, "optimizer": {}}, net, mlp)
    bare = {k.removeprefix("module."): v for k, v in swav.items()}
    yield Case("swav", bare, net, mlp)
    three = random_weights(nn.Sequential(
        L(512, 32, bias=False), B(32), R(), L(32, 32, bias=False), B(32), R(),
        L(32, 16, bias=False)), 4)  # fmt: skip
    biased = random_weights(nn.Sequential(
        L(512, 32), B(32), R(), L(32, 32), B(32), R(), L(32, 16, bias=False)), 4)  # fmt: skip
    vicreg = wrapped_keys(below(None, backbone=net, projector=biased))
    yield Case("vicreg", {"epoch": 9, "model": vicreg, "optimizer": {}}, net, biased)
    twins = below(None, backbone=net, projector=three)
    barlow = twins | wrapped(B(16, affine=False), "bn.")
    yield Case("barlow-twins", {"epoch": 9, "model": wrapped_keys(barlow)}, net, three)
    byol = wrapped(net, "online_encoder.net.") | wrapped(mlp, "online_encoder.projector.")
    byol |= wrapped(net, "target_encoder.net.") | wrapped(mlp, "target_encoder.projector.")
    byol |= wrapped(nn.Sequential(L(16, 32), B(32), R(), L(32, 16)), "online_predictor.")
    yield Case("byol/lucidrains", byol, net, mlp, "target")
    parts = nn.ModuleDict(
        {"encoder": nn.Sequential(*list(net.children())[:-1]),
         "projetion": nn.ModuleDict({"l1": mlp[0], "bn1": mlp[1], "l2": mlp[3]})}
    )  # fmt: skip
    yao = wrapped(parts, "module.online_network.") | wrapped(parts, "module.target_network.")
    yield Case("byol/yaox12", {"model": yao, "amp": {}}, net, mlp, "target")
    head = random_weights(nn.Sequential(L(512, 512), R(), L(512, 16)), 5)
    pirl = below(None, encoder=net, head=head)
    options = argparse.Namespace(method="PIRL", epochs=200)
    yield Case("pycontrast", {"opt": options, "model": wrapped_keys(pirl), "epoch": 200}, net, head)
    fc = random_weights(nn.Sequential(L(512, 16)), 6)
    npid = wrapped(net) | wrapped(fc[0], "module.fc.")
    yield Case("npid", {"epoch": 200, "arch": "resnet18", "state_dict": npid,
                        "lemniscate": NCEAverage(), "best_prec1": 50.0}, net, fc)  # fmt: skip
    small = resnet18(peers)
    small.conv1, small.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    f = nn.Sequential(*[m for n, m in small.named_children() if n not in ("maxpool", "fc")])
    g = random_weights(nn.Sequential(L(512, 32, bias=False), B(32), R(), L(32, 16)), 7)
    yield Case("dcl", below(None, f=f, g=g), small, g)


def wrapped_keys(state):
    return {f"module.{key}": value for key, value in state.items()}


@pytest.mark.parametrize("number", range(11))
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_files_of_the_posters_systems_give_the_rows_that_their_own_modules_give(
    peers, tmp_path, number, zipped
):  # fmt: skip
    case = list(cases(peers))[number]
    torch.save(case.data, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(tmp_path / "a.pth")
    assert found.layout == case.layout, found.why
    branch = found.branch()
    assert case.branch in (None, found.default_branch)
    ours = backbone_from_state_dict(branch.backbone).eval()
    case.backbone.fc = nn.Identity()
    with torch.inference_mode():
        theirs = case.backbone.eval()(images(32))
        torch.testing.assert_close(ours.features(images(32)), theirs, rtol=1e-5, atol=1e-4)
        if case.head is not None:
            assert branch.default_layer == "projector"
            head = branch.head("projector")
            rows = head_from_state_dict(head.state, head.activation)(F.normalize(theirs))
            torch.testing.assert_close(rows, case.head.eval()(F.normalize(theirs)))


def test_prototypes_of_swav_come_back_single_and_several(peers, tmp_path):
    net, head = resnet18(peers), nn.Sequential(L(512, 32), B(32), R(), L(32, 16))
    state = wrapped(net) | wrapped(head, "module.projection_head.")
    one, two = L(16, 30, bias=False), L(16, 20, bias=False)
    torch.save({"state_dict": state | wrapped(one, "module.prototypes.")}, tmp_path / "a.pth")
    (own,) = read_checkpoint(tmp_path / "a.pth").prototypes
    assert torch.equal(own.vectors, one.weight)
    assert (own.layer, own.bias, own.unit) == ("projector", None, True)
    several = (
        state | wrapped(one, "prototypes.prototypes0.") | wrapped(two, "prototypes.prototypes1.")
    )
    torch.save({"state_dict": several}, tmp_path / "b.pth")
    found = read_checkpoint(tmp_path / "b.pth").prototypes
    assert [p.k for p in found] == [30, 20]
    assert torch.equal(found[1].vectors, two.weight)
