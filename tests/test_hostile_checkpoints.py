"""Hostile and damaged checkpoints end in one sentence; nothing of them is run or allocated."""

import argparse
import os
import pickle
import struct
import zipfile
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
import safetensors.torch
import torch

from nemd_toolkit.checkpoints import Stub, read_checkpoint, read_content
from nemd_toolkit.errors import InputError, NemdError, UnsafeFile

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def save(data, path, *, zipped=True, protocol=2):
    torch.save(data, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    return path


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
        with pytest.raises(InputError, match="plain pickle, which is not executed"):
            read_checkpoint(pickle_only)
        assert not witness.exists()

    @FORMATS
    def test_what_a_file_asks_for_is_listed_and_not_run(self, tmp_path, zipped):
        path = save({"x": Bomb(tmp_path / "ran")}, tmp_path / "a.pt", zipped=zipped)
        found = read_content(path)
        assert found.stubs[0] in ("posix.system", "nt.system")
        assert found.data["x"].arguments[0].startswith("touch ")
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(
        ("program", "name"),
        [
            (b"\x80\x02cbuiltins\neval\n(X\x01\x00\x00\x001tR.", "builtins.eval"),
            (b"\x80\x02(X\x01\x00\x00\x001ibuiltins\neval\n.", "builtins.eval"),
            (b"(c__builtin__\neval\nS'1'\no.", "builtins.eval"),
            (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.", "builtins.eval"),
            (b"\x80\x02ctorch\nFloatStorage\nJ\x00\x00\x00\x40\x85R.", None),  # 4 GiB
            (b"\x80\x02cbuiltins\nbytes\nJ\x00\x00\x00\x40\x85R.", "builtins.bytes"),
            (b"\x80\x02ccollections\nOrderedDict\n}b.", None),  # attributes on the class itself
            (b"\x80\x02K\x01)R.", None),  # calls a number
        ],
    )
    def test_calls_become_stubs(self, tmp_path, program, name):
        for path in (archive(tmp_path / "a.pt", program), legacy(tmp_path / "b.pt", program)):
            found = read_content(path)
            assert isinstance(found.data, Stub)
            assert found.stubs == ((name,) if name else ())

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

    @pytest.mark.parametrize(
        ("function", "argument", "rest"),
        [
            (b"_codecs\nencode", pickle.dumps("x" * 2**18, 2)[2:-1], b"X\x06\0\0\0latin1\x86"),
            (b"builtins\nset", b"](" + b"K\x01" * 2**18 + b"e", b"\x85"),
            (b"builtins\nset", b"(" + b"K\x01" * 2**18 + b"t", b"\x85"),
        ],
    )
    def test_calls_that_copy_one_argument_again_and_again_are_refused(
        self, tmp_path, function, argument, rest
    ):
        head = b"\x80\x02]c" + function + b"\nq\xf0" + argument + b"q\xf1" + rest + b"Ra"
        for count, refused in ((1, False), (60, True)):
            calls = (b"h\xf0h\xf1" + rest + b"Ra") * count
            path = archive(tmp_path / "a.pt", head + calls + b".")
            if refused:
                with pytest.raises(UnsafeFile, match="calls that copy"):
                    read_content(path)
            else:
                assert len(read_content(path).data) == 2

    def test_bytes_are_read_and_other_encodings_refused(self, tmp_path):
        path = save({"x": bytes(range(256)) * 2**13}, tmp_path / "a.pt")
        assert read_content(path).data == {"x": bytes(range(256)) * 2**13}
        program = b"\x80\x02c_codecs\nencode\nX\x01\0\0\0xX\x08\0\0\0punycode\x86R."
        with pytest.raises(UnsafeFile, match="latin1"):
            read_content(archive(tmp_path / "b.pt", program))

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
        whole = save({"w": torch.ones(99)}, tmp_path / "whole.pt").read_bytes()
        for length in (4, 100, len(whole) // 2, len(whole) - 1):
            (tmp_path / "cut.pt").write_bytes(whole[:length])
            with pytest.raises(InputError, match="damaged"):
                read_content(tmp_path / "cut.pt")

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    @pytest.mark.parametrize("second", ["a/data.pkl", "a/data/0", "a/DATA/0", "a/data.PKL"])
    def test_two_entries_under_one_name_are_refused_or_not_read(self, tmp_path, second):
        path = archive(tmp_path / "a.pt", tensor_program(), {"0": bytes(16)})
        with zipfile.ZipFile(path, "a") as file:
            file.writestr(second, pickle.dumps({}, 2))
        if "DATA" in second or "PKL" in second:
            assert read_content(path).data.tolist() == [0, 0, 0, 0]
        else:
            with pytest.raises(InputError, match=r"every entry once|one data\.pkl"):
                read_content(path)

    def test_names_with_control_characters_are_not_printed(self, tmp_path):
        program = b"\x80\x02c\x1b[31mos\nsystem\n."
        assert read_content(archive(tmp_path / "a.pt", program)).stubs == ("?[31mos.system",)

    def test_keys_that_share_one_hash_are_refused(self, tmp_path):
        program = b"\x80\x02}(" + b"".join(
            pickle.dumps(n * (2**61 - 1), 2)[2:-1] + b"N" for n in range(2, 9)
        )
        with pytest.raises(UnsafeFile, match="a key of more than 60 bits"):
            read_content(archive(tmp_path / "a.pt", program + b"u."))

    def test_shapes_of_very_many_axes_are_refused_quickly(self, tmp_path):
        program = tensor_program(shape=(2**70,) * 100_000, strides=(0,) * 100_000)
        with pytest.raises(InputError, match="expected"):
            read_content(archive(tmp_path / "a.pt", program, {"0": bytes(16)}))

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
