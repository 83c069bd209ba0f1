"""Checkpoints: layouts are told by their keys; what cannot be read ends in a sentence."""

import argparse
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from datetime import UTC, datetime

import numpy as np
import pytest
import safetensors.torch
import torch

from nemd_toolkit.checkpoints import (
    Stub,
    checkpoint_from,
    embedding_columns,
    read_checkpoint,
    read_content,
    sha256,
)
from nemd_toolkit.checkpoints.calls import Global
from nemd_toolkit.encoders import build_resnet, resnet_from_state_dict
from nemd_toolkit.errors import InputError, UnknownLayout

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def save(data, path, *, zipped=True, protocol=2):
    torch.save(data, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    return path


def encoder(seed, **options):
    torch.manual_seed(seed)
    return build_resnet("resnet8-small", **{"channels": 1, "dim": 6} | options).state_dict()


def pcl(**extra):
    state = {f"module.encoder_q.{k}": v for k, v in encoder(0).items()}
    state |= {f"module.encoder_k.{k}": v for k, v in encoder(1).items()}
    state |= {"module.queue": torch.ones(6, 8), "module.queue_ptr": torch.zeros(1).long()}
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.03}]}
    return {
        "epoch": 7,
        "arch": "resnet8-small",
        "state_dict": state,
        "optimizer": optimizer,
        **extra,
    }


def ours(**changes):
    image = {"channels": 1, "size": [8, 8], "mean": [0.3], "std": [0.4]}
    prototypes = {
        "k": 3,
        "centroids": torch.eye(3, 6),
        "assignment": torch.tensor([0, 2, 1, 0]),
        "phi": torch.full((3,), 0.2),
    }
    nemd = {
        "format": "pauc-train/1",
        "method": "pauc",
        "config": {"epochs": 8},
        "data": "digits",
        "image": image,
        "prototypes": [prototypes],
    }
    return pcl(nemd=nemd | changes)


def same(found, expected):
    return list(found) == list(expected) and all(torch.equal(found[k], expected[k]) for k in found)


class TestLayouts:
    @FORMATS
    def test_pauc_train_gives_all_that_was_saved(self, tmp_path, zipped):
        path = save(ours(), tmp_path / "last.pt", zipped=zipped)
        found = read_checkpoint(path)
        assert (found.layout, found.method, found.data) == ("pauc-train/1", "pauc", "digits")
        assert (found.epoch, found.arch) == (7, "resnet8-small")
        assert (found.image.size, found.image.mean, found.image.std) == ((8, 8), (0.3,), (0.4,))
        assert same(found.branches["query"].state, encoder(0))
        assert same(found.branch().state, encoder(1))
        (own,) = found.prototypes
        assert own.k == 3
        assert torch.equal(own.vectors, torch.eye(3, 6))
        assert own.assignment.tolist() == [0, 2, 1, 0]
        assert found.sha256 == sha256(path)

    def test_pauc_train_says_where_encoders_and_learned_prototypes_are(self, tmp_path):
        content = ours(
            branches={"online": {"backbone": "net", "projector": "head"}}, vectors="prototypes"
        )
        whole = encoder(0)
        state = {f"module.net.{k}": v for k, v in whole.items() if not k.startswith("fc.")}
        state |= {f"module.head.{k[3:]}": v for k, v in whole.items() if k.startswith("fc.")}
        content["state_dict"] = {**state, "module.prototypes.weight": torch.eye(5, 6)}
        found = read_checkpoint(save(content, tmp_path / "a.pt"))
        assert (list(found.branches), found.default_branch) == (["online"], "online")
        assert same(found.branch().state, whole)
        assert found.branch().default_layer == "projector"
        assert [own.k for own in found.prototypes] == [3, 5]
        assert torch.equal(found.prototypes[1].vectors, torch.eye(5, 6))

    @FORMATS
    def test_pcl_is_recognised_under_any_file_name(self, tmp_path, zipped):
        for name in ("checkpoint_0199.pth.tar", "model.ckpt", "x.pt", "no_suffix"):
            found = read_checkpoint(save(pcl(), tmp_path / name, zipped=zipped))
            assert found.layout == "pcl/moco"
            assert found.default_branch == "key"
            assert found.prototypes == ()
            assert same(found.branch("key").state, encoder(1))

    def test_a_query_encoder_alone_is_the_default(self, tmp_path):
        state = {f"encoder_q.{k}": v for k, v in encoder(0).items()}
        assert read_checkpoint(save(state, tmp_path / "a.pt")).default_branch == "query"

    @pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "encoder.", "module.backbone."])
    @pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
    def test_plain_resnets_lose_wrapper_and_prefix(self, tmp_path, prefix, wrapper):
        state = {prefix + k: v for k, v in encoder(0, channels=3).items()}
        state[f"{prefix}momentum_head.weight"] = torch.ones(2, 2)
        found = read_checkpoint(save({wrapper: state} if wrapper else state, tmp_path / "a.pt"))
        assert found.layout == "resnet"
        assert "1 other entry is left out" in found.why
        assert same(found.branch().state, encoder(0, channels=3))
        resnet_from_state_dict(found.branch().state)

    def test_safetensors_are_read_by_the_same_keys(self, tmp_path):
        safetensors.torch.save_file(pcl()["state_dict"], tmp_path / "a.safetensors")
        found = read_checkpoint(tmp_path / "a.safetensors")
        assert found.layout == "pcl/moco"
        assert dict(found.branch().state).keys() == encoder(1).keys()
        assert all(torch.equal(v, encoder(1)[k]) for k, v in found.branch().state.items())

    def test_an_imagenet_stem_means_imagenet_input(self, tmp_path):
        state = {"conv1.weight": torch.ones(4, 3, 7, 7), "layer1.0.conv1.weight": torch.ones(1)}
        image = read_checkpoint(save(state, tmp_path / "a.pt")).image
        assert (image.channels, image.size, image.mean[0]) == (3, (224, 224), 0.485)

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ({"state_dict": {"module.vit.cls": torch.ones(1)}}, r"vit\.\* \(1\)"),
            ({}, "no tensors"),
            ([1, 2], "a list without tensors"),
            ({"a": 1}, "no tensors"),
            ({"a": torch.ones(1)}, r"a\.\* \(1\)"),
            (torch.ones(3, 4), "load_embeddings"),
        ],
    )
    def test_unknown_layouts_say_what_was_found_and_what_is_known(self, tmp_path, data, message):
        with pytest.raises(UnknownLayout, match=message):
            read_checkpoint(save(data, tmp_path / "a.pt"))

    def test_a_layout_can_be_named_and_unknown_names_list_the_known_ones(self, tmp_path):
        path = save(pcl(), tmp_path / "a.pt")
        assert read_checkpoint(path, "pcl/moco").layout == "pcl/moco"
        with pytest.raises(InputError, match="pauc-train/1, pcl/moco, .*resnet"):
            read_checkpoint(path, "moko")
        with pytest.raises(UnknownLayout, match="the layout resnet"):
            read_checkpoint(path, "resnet")

    def test_a_file_that_holds_itself_or_one_list_many_times_is_unfolded_once(self, tmp_path):
        many = [torch.ones(1)]
        for _ in range(40):
            many = [many, many]
        many.append(many)
        with pytest.raises(UnknownLayout):
            read_checkpoint(save({"a": many}, tmp_path / "a.pt"))

    @pytest.mark.parametrize(
        "changes",
        [
            {"image": {"channels": 1}},
            {"image": {"channels": 2, "size": [8, 8], "mean": [0.3], "std": [0.4]}},
            {"image": {"channels": 1, "size": [8, 8], "mean": [0.3], "std": [0.0]}},
            {"image": {"channels": 1, "size": [8, 10**9], "mean": [0.3], "std": [0.4]}},
            {"image": None},
            {"prototypes": [{"k": 3}]},
            {
                "prototypes": [
                    {
                        "k": 2,
                        "centroids": torch.eye(2),
                        "assignment": torch.tensor([5]),
                        "phi": torch.ones(2),
                    }
                ]
            },
            {"format": "pauc-train/9"},
            {"branches": {"online": "encoder_q"}},
            {"branches": {"online": {"backbone": "", "projector": None}}},
            {"branches": {5: {"backbone": "encoder_q", "projector": None}}},
            {"branches": ["encoder_q"]},
            {"vectors": 3},
        ],
    )
    def test_bad_entries_of_ours_are_refused(self, tmp_path, changes):
        with pytest.raises(InputError, match=r"expected .* got"):
            read_checkpoint(save(ours(**changes), tmp_path / "a.pt"))

    def test_an_unknown_branch_is_answered_with_the_known_ones(self, tmp_path):
        with pytest.raises(InputError, match="query, key"):
            read_checkpoint(save(pcl(), tmp_path / "a.pt")).branch("teacher")


class TestReading:
    @FORMATS
    def test_everything_a_checkpoint_usually_holds_comes_back(self, tmp_path, zipped):
        weights = torch.nn.Linear(2, 3)
        data = {
            "args": argparse.Namespace(lr=0.03, arch="resnet50"),
            "parameter": weights.weight,
            "state": weights.state_dict(),
            "sizes": torch.Size([1, 2]),
            "dtype": torch.bfloat16,
            "half": torch.ones(3, dtype=torch.float16),
            "view": torch.arange(10)[::2],
            "repeated": torch.ones(1).expand(5, 4),
            "empty": torch.zeros(0, 3),
            "plain": [1.5, None, True, "text", b"bytes", 2**70, {1, 2}, (1, (2, 3))],
            "ordered": OrderedDict(a=1),
        }
        found = read_content(save(data, tmp_path / "a.pt", zipped=zipped)).data
        assert (found["args"].name, found["args"].attributes) == (
            "argparse.Namespace",
            vars(data["args"]),
        )
        assert found["dtype"] == Global("torch.bfloat16")
        for name in ("parameter", "half", "view", "repeated", "empty"):
            assert torch.equal(found[name], data[name])
        for name in ("sizes", "plain", "ordered"):
            assert found[name] == data[name]

    def test_embeddings_are_told_from_weights_without_reading_twice(self, tmp_path):
        vectors, labels = torch.rand(4, 3), torch.arange(4)
        bare = read_content(save(vectors, tmp_path / "a.pt"))
        named = read_content(
            save({"embeddings": vectors, "labels": labels, "x": 1}, tmp_path / "b.pt")
        )
        assert torch.equal(embedding_columns(bare)["vectors"], vectors)
        assert list(embedding_columns(named)) == ["vectors", "labels"]
        weights = read_content(save(pcl(), tmp_path / "c.pt"))
        assert embedding_columns(weights) is None
        assert checkpoint_from(weights).layout == "pcl/moco"

    def test_missing_empty_and_foreign_files_are_refused(self, tmp_path):
        (tmp_path / "empty.pt").touch()
        (tmp_path / "text.pt").write_text("<html>404 not found</html>\n")
        (tmp_path / "nulls.pt").write_bytes(bytes(1000))
        (tmp_path / "plain.pt").write_bytes(pickle.dumps({"a": 1}, 2))
        with zipfile.ZipFile(tmp_path / "other.pt", "w") as other:
            other.writestr("readme.txt", "hello")
        with tarfile.open(tmp_path / "real.tar", "w") as tar:
            tar.add(tmp_path / "text.pt", "storages")
        expected = {
            "missing.pt": "got no file",
            "": "got a folder",
            "empty.pt": "empty file",
            "text.pt": "neither",
            "nulls.pt": "neither",
            "plain.pt": "plain pickle",
            "other.pt": r"data\.pkl",
            "real.tar": "neither",
        }
        for name, message in expected.items():
            with pytest.raises(InputError, match=message) as caught:
                read_checkpoint(tmp_path / name)
            assert "\n" not in str(caught.value)

    def test_a_file_that_may_not_be_opened_is_refused(self, tmp_path, monkeypatch):
        def refuse(*_):
            raise PermissionError(13, "Permission denied")

        path = save(pcl(), tmp_path / "a.pt")
        monkeypatch.setattr("pathlib.Path.open", refuse)
        with pytest.raises(InputError, match="Permission denied; check its permissions"):
            read_checkpoint(path)

    def test_torchscript_gives_its_modules_tensors_and_runs_no_code(self, tmp_path):
        torch.manual_seed(0)
        net = build_resnet("resnet8-small", channels=1, dim=6).eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.trace(net, torch.zeros(1, 1, 8, 8)), tmp_path / "a.pt")
        found = read_checkpoint(tmp_path / "a.pt")
        assert (found.container, found.layout) == ("torchscript", "resnet")
        counts = {k for k in net.state_dict() if k.endswith("num_batches_tracked")}
        assert found.branch().state.keys() >= net.state_dict().keys() - counts
        for name in net.state_dict().keys() - counts:
            assert torch.equal(found.branch().state[name], net.state_dict()[name])

    @pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
    @FORMATS
    def test_every_pickle_protocol_is_read_but_the_first(self, tmp_path, zipped, protocol):
        data = {"w": torch.ones(2), "l": [1, (2, "ä"), {3.5}], "n": argparse.Namespace(a=b"x")}
        path = save(data, tmp_path / "a.pt", zipped=zipped, protocol=protocol)
        found = read_content(path).data
        assert torch.equal(found["w"], data["w"])
        assert found["l"] == data["l"]
        assert found["n"].attributes == {"a": b"x"}
        save(data, path, zipped=zipped, protocol=0)  # torch.load does not read these either
        with pytest.raises(InputError, match="save it again"):
            read_content(path)

    def test_objects_of_classes_become_stubs_and_modules_give_their_tensors(self, tmp_path):
        net = build_resnet("resnet8-small", channels=1, dim=6)
        data = {"net": net, "when": datetime(2026, 1, 1, tzinfo=UTC), "best": np.float64(0.5)}
        for zipped in (True, False):
            content = read_content(save(data, tmp_path / "a.pt", zipped=zipped))
            assert isinstance(content.data["net"], Stub)
            assert content.data["net"].name.endswith("encoders.resnet.ResNet")
            assert "datetime.datetime" in content.stubs
            assert "torch.nn.modules.conv.Conv2d" in content.stubs
            found = checkpoint_from(content)
            assert found.layout == "resnet"
            assert same(found.branch().state, net.state_dict())
            assert found.stubs == content.stubs

    def test_a_flipped_bit_in_a_weight_is_found(self, tmp_path):
        path = save({"w": torch.full((1000,), 3.0)}, tmp_path / "a.pt")
        content = bytearray(path.read_bytes())
        content[content.index(struct.pack("<f", 3.0) * 10) + 8] ^= 1
        path.write_bytes(content)
        with pytest.raises(InputError, match="checksum"):
            read_content(path)
