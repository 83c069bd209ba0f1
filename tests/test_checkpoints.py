"""Checkpoints: layouts are told by their keys; hostile and damaged files end in a sentence."""

import argparse
import os
import pickle
import struct
import tarfile
import zipfile
from collections import OrderedDict
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
import safetensors.torch
import torch

from nemd_toolkit.checkpoints import (
    checkpoint_from,
    embedding_columns,
    read_checkpoint,
    read_content,
    sha256,
)
from nemd_toolkit.encoders import build_resnet, resnet_from_state_dict
from nemd_toolkit.errors import InputError, NemdError, UnknownLayout, UnsafeFile

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
        assert same(found.branches["query"], encoder(0))
        assert same(found.branch(), encoder(1))
        (own,) = found.prototypes
        assert own.k == 3
        assert torch.equal(own.centroids, torch.eye(3, 6))
        assert own.assignment.tolist() == [0, 2, 1, 0]
        assert found.sha256 == sha256(path)

    @FORMATS
    def test_pcl_is_recognised_under_any_file_name(self, tmp_path, zipped):
        for name in ("checkpoint_0199.pth.tar", "model.ckpt", "x.pt", "no_suffix"):
            found = read_checkpoint(save(pcl(), tmp_path / name, zipped=zipped))
            assert found.layout == "pcl/moco"
            assert found.default_branch == "key"
            assert found.prototypes == ()
            assert same(found.branch("key"), encoder(1))

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
        assert "1 other entries are left out" in found.why
        assert same(found.branch(), encoder(0, channels=3))
        resnet_from_state_dict(found.branch())

    def test_safetensors_are_read_by_the_same_keys(self, tmp_path):
        safetensors.torch.save_file(pcl()["state_dict"], tmp_path / "a.safetensors")
        found = read_checkpoint(tmp_path / "a.safetensors")
        assert found.layout == "pcl/moco"
        assert dict(found.branch()).keys() == encoder(1).keys()
        assert all(torch.equal(v, encoder(1)[k]) for k, v in found.branch().items())

    def test_an_imagenet_stem_means_imagenet_input(self, tmp_path):
        state = {"conv1.weight": torch.ones(4, 3, 7, 7), "layer1.0.conv1.weight": torch.ones(1)}
        image = read_checkpoint(save(state, tmp_path / "a.pt")).image
        assert (image.channels, image.size, image.mean[0]) == (3, (224, 224), 0.485)

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ({"state_dict": {"module.vit.cls": torch.ones(1)}}, r"module\.vit\.\* \(1\)"),
            ({}, "no keys"),
            ([1, 2], "a list"),
            ({"a": 1}, r"a\.\*"),
            (torch.ones(3, 4), "load_embeddings"),
        ],
    )
    def test_unknown_layouts_say_what_was_found_and_what_is_known(self, tmp_path, data, message):
        with pytest.raises(UnknownLayout, match=message):
            read_checkpoint(save(data, tmp_path / "a.pt"))

    def test_unknown_layouts_list_the_known_ones(self, tmp_path):
        with pytest.raises(UnknownLayout, match="pauc-train/1, pcl/moco, resnet"):
            read_checkpoint(save({"a": torch.ones(2)}, tmp_path / "a.pt"))

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
        assert found["args"] == data["args"]
        for name in ("parameter", "half", "view", "repeated", "empty"):
            assert torch.equal(found[name], data[name])
        for name in ("sizes", "dtype", "plain", "ordered"):
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
            "missing.pt": "got nothing",
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

    def test_torchscript_is_refused(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
            archive.writestr("a/data.pkl", pickle.dumps({}, 2))
            archive.writestr("a/constants.pkl", pickle.dumps((), 2))
        with pytest.raises(InputError, match="TorchScript"):
            read_content(tmp_path / "a.pt")

    @pytest.mark.parametrize("protocol", [0, 1, 3, 4, 5])
    @FORMATS
    def test_other_pickle_protocols_are_refused_with_advice(self, tmp_path, zipped, protocol):
        path = save({"w": torch.ones(2)}, tmp_path / "a.pt", zipped=zipped, protocol=protocol)
        with pytest.raises(InputError, match=r"torch\.save's defaults"):
            read_content(path)

    def test_a_flipped_bit_in_a_weight_is_found(self, tmp_path):
        path = save({"w": torch.full((1000,), 3.0)}, tmp_path / "a.pt")
        content = bytearray(path.read_bytes())
        content[content.index(struct.pack("<f", 3.0) * 10) + 8] ^= 1
        path.write_bytes(content)
        with pytest.raises(InputError, match="checksum"):
            read_content(path)


class Bomb:
    """Runs a shell command when unpickled."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.system, (f"touch {self.witness}",)


def archive(path, program, storages=None, **options):
    """Write a zip as torch.save does, around a pickle program of our own."""
    with zipfile.ZipFile(path, "w", **options) as file:
        file.writestr("a/data.pkl", program)
        for key, data in (storages or {}).items():
            file.writestr(f"a/data/{key}", data)
        file.writestr("a/version", "3\n")
    return path


def legacy(path, program, keys=(), storages=b""):
    """Write a file as torch < 1.6 did, around a pickle program of our own."""
    head = [pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    path.write_bytes(b"".join(head) + program + pickle.dumps(list(keys), 2) + storages)
    return path


def tensor_program(*, count=4, shape=(4,), strides=(1,), offset=0, view=b"", kind="FloatStorage"):
    """Pickle of one tensor over storage "0" that claims these numbers."""

    def numbers(values):
        return b"(" + b"".join(map(long, values)) + b"t"

    def long(value):
        return pickle.dumps(value, 2)[2:-1]

    storage = b"(X\x07\x00\x00\x00storagectorch\n" + kind.encode() + b"\nX\x01\x00\x00\x000"
    storage += b"X\x03\x00\x00\x00cpu" + long(count) + view + b"tQ"
    arguments = storage + long(offset) + numbers(shape) + numbers(strides) + b"\x89N"
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR."


class TestHostileFiles:
    @pytest.mark.parametrize("protocol", range(6))
    @FORMATS
    @pytest.mark.parametrize("nested", [True, False])
    def test_no_code_is_run(self, tmp_path, protocol, zipped, nested):
        witness, path = tmp_path / "ran", tmp_path / "a.pt"
        bomb = Bomb(witness)
        save({"state_dict": {"x": [1, bomb]}} if nested else bomb, path, zipped=zipped,
             protocol=protocol)  # fmt: skip
        with pytest.raises(InputError, match="expected"):
            read_checkpoint(path)
        pickle_only = tmp_path / "b.pt"
        pickle_only.write_bytes(pickle.dumps(bomb, protocol))
        with pytest.raises(UnsafeFile, match=r"(posix|nt)\.system"):
            read_checkpoint(pickle_only)
        assert not witness.exists()

    @FORMATS
    def test_the_name_of_the_global_is_told(self, tmp_path, zipped):
        path = save({"x": Bomb(tmp_path / "ran")}, tmp_path / "a.pt", zipped=zipped)
        with pytest.raises(UnsafeFile, match=r"(posix|nt)\.system; nothing was run"):
            read_checkpoint(path)

    @pytest.mark.parametrize(
        "program",
        [
            b"\x80\x02cbuiltins\neval\n(X\x01\x00\x00\x001tR.",
            b"\x80\x02(X\x01\x00\x00\x001ibuiltins\neval\n.",
            b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
            b"\x80\x02ctorch\nFloatStorage\nJ\x00\x00\x00\x40\x85R.",  # 4 GiB
            b"\x80\x02cbuiltins\nbytearray\nJ\x00\x00\x00\x40\x85R.",
            b"\x80\x02ccollections\nOrderedDict\n}b.",  # attributes on the class itself
            b"\x80\x02K\x01)R.",  # calls a number
        ],
    )
    def test_calls_off_the_list_are_refused(self, tmp_path, program):
        for path in (archive(tmp_path / "a.pt", program), legacy(tmp_path / "b.pt", program)):
            with pytest.raises(UnsafeFile, match=r"expected only tensors|expected attributes"):
                read_content(path)

    @pytest.mark.parametrize(
        "claim",
        [
            {"count": 2**40, "shape": (2**40,)},
            {"count": 4, "shape": (2**40,)},
            {"count": 4, "shape": (2**20, 2**20), "strides": (0, 0)},
            {"count": 4, "shape": (1,), "offset": 2**40},
            {"count": 4, "shape": (4,), "strides": (2**40,)},
            {"count": -4, "shape": (4,)},
            {"count": 4, "shape": (4,), "offset": -1},
            {"count": 4, "shape": (-4,)},
            {"count": 4, "shape": (4, 1)},
            {"count": 4, "kind": "DoubleStorage"},
        ],
    )
    def test_tensors_beyond_the_file_are_refused(self, tmp_path, claim):
        data = struct.pack("<4f", 1, 2, 3, 4)
        good = archive(tmp_path / "good.pt", tensor_program(), {"0": data})
        assert read_content(good).data.tolist() == [1, 2, 3, 4]
        bad = archive(tmp_path / "a.pt", tensor_program(**claim), {"0": data})
        old = legacy(
            tmp_path / "b.pt",
            tensor_program(**claim, view=b"N"),
            ["0"],
            struct.pack("<q", 4) + data if "kind" not in claim else b"",
        )
        for path in (bad, old):
            with pytest.raises(InputError, match=r"expected .* got"):
                read_content(path)

    def test_a_storage_that_changes_its_size_is_refused(self, tmp_path):
        program = tensor_program()[:-1] + b"0" + tensor_program(count=2, shape=(2,))[2:]
        both = program.replace(b"R0c", b"R\x85c")
        path = archive(tmp_path / "a.pt", both[:-1] + b"\x86.", {"0": bytes(16)})
        with pytest.raises(UnsafeFile, match="two sizes"):
            read_content(path)

    def test_tuples_that_double_are_refused_before_they_are_hashed(self, tmp_path):
        doubling = b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(100))
        deep = b"\x85" * 100_000
        for tower in (doubling, deep):
            path = archive(tmp_path / "a.pt", b"\x80\x02})" + tower + b"K\x01s.")
            with pytest.raises(UnsafeFile, match="nested"):
                read_content(path)

    def test_lists_that_double_or_nest_without_end_do_no_harm(self, tmp_path):
        # each list holds the one before it twice
        doubling = b"\x80\x02]" + b"".join(b"q%c](h%ch%ce" % (i, i, i) for i in range(100))
        deep = b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999
        for program in (doubling + b".", deep + b"."):
            with pytest.raises(NemdError):
                read_checkpoint(archive(tmp_path / "a.pt", program))

    def test_packed_overlapping_and_shortened_archives_are_refused(self, tmp_path):
        packed = archive(
            tmp_path / "packed.pt",
            tensor_program(count=2**20, shape=(2**20,)),
            {"0": bytes(2**22)},
            compression=zipfile.ZIP_DEFLATED,
        )
        with pytest.raises(UnsafeFile, match="packed"):
            read_content(packed)
        whole = save(pcl(), tmp_path / "whole.pt").read_bytes()
        for length in (4, 100, len(whole) // 2, len(whole) - 1):
            (tmp_path / "cut.pt").write_bytes(whole[:length])
            with pytest.raises(InputError, match="damaged"):
                read_content(tmp_path / "cut.pt")

    def test_an_entry_larger_than_the_file_is_refused(self, tmp_path):
        path = archive(tmp_path / "a.pt", tensor_program(), {"0": bytes(16)})
        content = bytearray(path.read_bytes())
        place = content.rindex(b"a/data/0") - 46  # the entry's record in the central directory
        content[place + 20 : place + 28] = struct.pack("<II", 2**31, 2**31)
        path.write_bytes(content)
        with pytest.raises(UnsafeFile, match="within the file"):
            read_content(path)

    @pytest.mark.parametrize("header", [2**62, 2**31, 10])
    def test_safetensors_with_a_false_header_are_refused(self, tmp_path, header):
        path = tmp_path / "a.safetensors"
        path.write_bytes(struct.pack("<Q", header) + b'{"a":{"dtype":"F32"}}' + bytes(100))
        with pytest.raises(InputError, match="expected"):
            read_content(path)

    def test_safetensors_that_claim_more_than_they_hold_are_refused(self, tmp_path):
        header = b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
        path = tmp_path / "a.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
        with pytest.raises(InputError, match="expected"):
            read_content(path)


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """One to four cuts, flips, overwrites or splices."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        at, length = int(rng.integers(len(data))), int(rng.integers(1, 64))
        match rng.integers(5):
            case 0:
                data = data[: max(1, at)]
            case 1:
                data[at] ^= 1 << int(rng.integers(8))
            case 2:
                data[at : at + length] = rng.bytes(length)
            case 3:
                other = int(rng.integers(len(data)))
                data[at:at] = data[other : other + length]
            case 4:
                del data[at : at + length]
        data = data or bytearray(b"\x00")
    return bytes(data)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "program"])
def test_mutated_files_give_a_result_or_an_error_of_ours(tmp_path, kind):
    small = {"state_dict": {"conv1.weight": torch.ones(2, 3, 3, 3), "fc.bias": torch.ones(4)}}
    path = tmp_path / "a.pt"
    if kind == "safetensors":
        safetensors.torch.save_file(small["state_dict"], path)
    else:
        save(small | {"args": argparse.Namespace(x=1)}, path, zipped=kind != "legacy")
    content = path.read_bytes()
    if kind == "program":  # damage under valid checksums
        with zipfile.ZipFile(BytesIO(content)) as file:
            entries = {name.split("/", 1)[1]: file.read(name) for name in file.namelist()}
    rng = np.random.default_rng(0)
    for _ in range(150):
        if kind == "program":
            storages = {k.removeprefix("data/"): v for k, v in entries.items() if "data/" in k}
            archive(path, mutated(entries["data.pkl"], rng), storages)
        else:
            path.write_bytes(mutated(content, rng))
        with suppress(NemdError):
            read_checkpoint(path)
