"""torch.export and TorchScript archives: weights are taken, programs are never looked at."""

import json
import warnings
import zipfile

import pytest
import torch

from nemd_toolkit.checkpoints import read_checkpoint, read_content
from nemd_toolkit.encoders.resnet import ResNet, ResNetShape
from nemd_toolkit.errors import InputError, UnsafeFile
from tests.layouts.expectations import same


def small_resnet(dtype=torch.float32):
    torch.manual_seed(0)
    shape = ResNetShape(blocks=(1, 1), width=4, stem="small", dim=3)
    return ResNet(shape).eval().to(dtype)


class Views(torch.nn.Module):
    """A tied layer, a view into a larger storage, numbers of several kinds."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(3, 3)
        self.tied = self.first
        self.register_buffer("view", torch.arange(12.0).reshape(3, 4).t()[1:3])
        self.register_buffer("halves", torch.arange(5, dtype=torch.bfloat16))
        self.register_buffer("empty", torch.zeros(0, 3))

    def forward(self, images):
        return self.tied(self.first(images)) + self.view.sum() + self.halves.sum().float()


def views():
    torch.manual_seed(0)
    return Views()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """torch.export.save of a ResNet and of `Views`."""
    folder = tmp_path_factory.mktemp("exported")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, model, images in (
            ("resnet", small_resnet(), torch.zeros(1, 3, 8, 8)),
            ("views", views(), torch.zeros(1, 3)),
        ):
            torch.export.save(torch.export.export(model, (images,)), folder / f"{name}.pt2")
    return folder


def changed(source, target, change):
    """Copy an archive, with another description of its weights."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("_weights_config.json"):
                config = json.loads(content)
                change(config["config"])
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return target


class TestExported:
    """torch 2.13 torch/export/pt2_archive/_package.py, torch/_export/serde/schema.py."""

    def test_a_resnet_is_read_as_its_state_dict(self, exported):
        found = read_checkpoint(exported / "resnet.pt2")
        assert (found.layout, found.container) == ("resnet", "torch.export")
        state = small_resnet().state_dict()
        same(found.branch().backbone, {k: v for k, v in state.items() if not k.startswith("fc.")})
        same(
            found.branch().head("classifier").state,
            {k: state[f"fc.{k}"] for k in ("weight", "bias")},
        )

    def test_views_and_shared_weights(self, exported):
        found = read_content(exported / "views.pt2").data["state_dict"]
        same(found, views().state_dict())
        assert torch.equal(found["first.weight"], found["tied.weight"])

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            (lambda e: e["tensor_meta"]["sizes"][0].update(as_int=10**9), UnsafeFile, "hostile"),
            (lambda e: e["tensor_meta"]["storage_offset"].update(as_int=99), UnsafeFile, "hostile"),
            (
                lambda e: e["tensor_meta"].update(
                    sizes=[{"as_int": 10**9}], strides=[{"as_int": 0}]
                ),
                UnsafeFile,
                "hostile",
            ),
            (lambda e: e["tensor_meta"]["strides"][0].update(as_int=-1), InputError, "not fit"),
            (lambda e: e["tensor_meta"].update(dtype=99), InputError, "does not fit"),
            (lambda e: e["tensor_meta"].update(layout=1), InputError, "does not fit"),
            (lambda e: e.update(path_name="weight_99"), InputError, "does not fit"),
            (lambda e: e.update(tensor_meta=None), InputError, "does not fit"),
            (lambda e: e.update(use_pickle=True), InputError, "pickled"),
        ],
    )
    def test_claims_beyond_the_archive_are_refused(
        self, exported, tmp_path, change, error, message
    ):
        path = changed(
            exported / "views.pt2", tmp_path / "a.pt2", lambda c: change(c["first.weight"])
        )
        with pytest.raises(error, match=message):
            read_content(path)

    def test_a_flipped_bit_is_found(self, exported, tmp_path):
        content = bytearray((exported / "resnet.pt2").read_bytes())
        weight = small_resnet().state_dict()["conv1.weight"].numpy().tobytes()
        content[content.index(weight) + 3] ^= 1
        (tmp_path / "a.pt2").write_bytes(content)
        with pytest.raises(InputError, match="checksum"):
            read_content(tmp_path / "a.pt2")


class TestTorchScript:
    """torch.jit.save: data.pkl names classes __torch__.…, whose states are dictionaries.

    Entries below code/ are packed, all others stored; constants.pkl holds an empty tuple here.
    """

    @pytest.mark.parametrize("make", ["script", "trace"])
    def test_a_resnet_is_read_as_its_state_dict(self, tmp_path, make):
        found = read_checkpoint(torchscript(tmp_path / "a.pt", make))
        assert (found.layout, found.container) == ("resnet", "torchscript")
        state = stages().state_dict()
        same(found.branch().backbone, {k: v for k, v in state.items() if not k.startswith("fc.")})


class Block(torch.nn.Module):
    """One convolution of a block, annotated so that torch.jit.script understands it."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + self.bn1(self.conv1(images))


class Stages(torch.nn.Module):
    """A stem, a stage and a head under torchvision's names."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 4, 3, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(4)
        self.layer1 = torch.nn.Sequential(Block())
        self.fc = torch.nn.Linear(4, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.layer1(self.bn1(self.conv1(images))).mean((2, 3)))


def stages():
    torch.manual_seed(0)
    return Stages().eval()


def torchscript(path, make):
    """A scripted or traced model, as torch.jit.save writes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        model = stages()
        if make == "script":
            torch.jit.save(torch.jit.script(model), path)
        else:
            torch.jit.save(torch.jit.trace(model, torch.zeros(1, 3, 8, 8)), path)
    return path
