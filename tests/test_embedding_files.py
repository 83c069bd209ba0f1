"""Embedding files: what is written comes back, and damage ends in one sentence naming the file."""

import os
import pickle
import struct
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.lib import format as npy

from nemd_toolkit.checkpoints import read_content
from nemd_toolkit.embedding_files import embeddings_from, load_embeddings, save_embeddings
from nemd_toolkit.embedding_pages import count_values
from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.errors import InputError, NemdError, UnsafeFile

SUFFIXES = [".npy", ".npz", ".pt", ".safetensors", ".parquet"]


def some(**columns):
    vectors = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
    return Embeddings(vectors, **columns)


def refused(path, error=InputError):
    """Load, and give the one sentence that came instead."""
    with pytest.raises(error) as caught:
        load_embeddings(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


class TestRoundTrip:
    @pytest.mark.parametrize("suffix", [*SUFFIXES, ".PT"])
    def test_vectors_come_back(self, tmp_path, suffix):
        embeddings, path = some(), tmp_path / f"a{suffix}"
        save_embeddings(embeddings, path)
        found = load_embeddings(path)
        assert torch.allclose(found.vectors, embeddings.vectors, atol=1e-7)
        assert found.labels is found.groups is found.ids is None
        assert [p.name for p in tmp_path.iterdir()] == [path.name]

    @pytest.mark.parametrize("suffix", SUFFIXES[1:])
    def test_integer_columns_come_back(self, tmp_path, suffix):
        embeddings = some(labels=np.arange(7) % 3, groups=np.arange(7) // 2, ids=np.arange(7) * 10)
        save_embeddings(embeddings, tmp_path / f"a{suffix}")
        found = load_embeddings(tmp_path / f"a{suffix}")
        for name in ("labels", "groups", "ids"):
            assert np.array_equal(getattr(found, name), getattr(embeddings, name))

    @pytest.mark.parametrize("suffix", [".npz", ".pt", ".parquet"])
    def test_text_columns_come_back(self, tmp_path, suffix):
        embeddings = some(labels=list("aabbccé"), ids=[f"cat/{i}.png" for i in range(7)])
        save_embeddings(embeddings, tmp_path / f"a{suffix}")
        found = load_embeddings(tmp_path / f"a{suffix}")
        assert found.labels.tolist() == list("aabbccé")
        assert found.ids.tolist() == embeddings.ids.tolist()

    def test_formats_say_what_they_cannot_hold(self, tmp_path):
        with pytest.raises(InputError, match=r"a\.npy: .*vectors alone, got labels.*\.npz"):
            save_embeddings(some(labels=range(7)), tmp_path / "a.npy")
        with pytest.raises(InputError, match=r"numbers only, got text in ids.*\.npz"):
            save_embeddings(some(ids=list("abcdefg")), tmp_path / "a.safetensors")
        assert not list(tmp_path.iterdir())

    def test_a_failed_write_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "a.npy"
        save_embeddings(some(), path)
        before = path.read_bytes()
        with pytest.raises(InputError):
            save_embeddings(some(labels=range(7)), path)
        assert path.read_bytes() == before

    def test_a_place_that_cannot_be_written_is_an_input_error(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match="place to write"):
            save_embeddings(some(), tmp_path / "file" / "a.npy")


class TestWhatOthersWrite:
    @pytest.mark.parametrize("name", ["vectors", "embeddings"])
    def test_both_names_of_the_array_are_known(self, tmp_path, name):
        data = np.random.default_rng(1).standard_normal((4, 3))
        np.savez_compressed(tmp_path / "a.npz", **{name: data, "labels": np.array(list("wxyz"))})
        torch.save({name: torch.tensor(data), "labels": list("wxyz")}, tmp_path / "a.pt")
        for path in (tmp_path / "a.npz", tmp_path / "a.pt"):
            found = load_embeddings(path)
            assert found.labels.tolist() == list("wxyz")
            assert torch.allclose(found.vectors, some_unit(data))

    @pytest.mark.parametrize("dtype", [">f4", "<f2", "f8", "i2", "u1"])
    def test_any_real_dtype_and_byte_order_is_read(self, tmp_path, dtype):
        data = np.array([[1, 2], [3, 4]], dtype=dtype)
        np.save(tmp_path / "a.npy", data)
        np.savez(tmp_path / "a.npz", vectors=data, labels=np.array([1, 2], dtype=">i4"))
        for name in ("a.npy", "a.npz"):
            found = load_embeddings(tmp_path / name)
            assert torch.allclose(found.vectors, some_unit(data.astype(float)))

    def test_column_order_files_are_read_row_by_row(self, tmp_path):
        data = np.asfortranarray(np.random.default_rng(2).standard_normal((4, 3)))
        np.save(tmp_path / "a.npy", data)
        assert torch.allclose(load_embeddings(tmp_path / "a.npy").vectors, some_unit(data))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
    def test_a_bare_tensor_is_enough(self, tmp_path, dtype):
        torch.save(torch.eye(3, dtype=dtype), tmp_path / "a.pt")
        assert torch.equal(load_embeddings(tmp_path / "a.pt").vectors, torch.eye(3))

    def test_content_that_was_read_already_is_interpreted(self, tmp_path):
        torch.save(torch.eye(3), tmp_path / "a.pt")
        assert len(embeddings_from(read_content(tmp_path / "a.pt"))) == 3

    @pytest.mark.parametrize("column", ["vector", "vectors", "embedding", "embeddings"])
    def test_parquet_lists_of_any_name(self, tmp_path, column):
        lists = [[1.0, 0.0], [0.0, 2.0]]
        pd.DataFrame({column: lists, "label": ["a", "b"]}).to_parquet(tmp_path / "a.parquet")
        found = load_embeddings(tmp_path / "a.parquet")
        assert found.vectors.tolist() == [[1.0, 0.0], [0.0, 1.0]]
        assert found.labels.tolist() == ["a", "b"]

    def test_parquet_with_a_column_per_coordinate(self, tmp_path):
        frame = pd.DataFrame(
            {"x": [1.0, 0.0], "y": [0, 2], "path": ["p", "q"], "label": [4, 5], "id": [8, 9]},
            index=[30, 10],
        )
        folder = tmp_path / "label=3"  # Hive's way of writing a column
        folder.mkdir()
        frame["label"] = frame["label"].astype("category")
        frame.to_parquet(folder / "a.parquet")
        found = load_embeddings(folder / "a.parquet")
        assert found.vectors.tolist() == [[1.0, 0.0], [0.0, 1.0]]
        assert (found.labels.tolist(), found.ids.tolist()) == ([4, 5], [8, 9])

    def test_parquet_in_several_row_groups(self, tmp_path):
        table = pa.table({"vector": pa.array([[float(i), 1.0] for i in range(10)])})
        pq.write_table(table, tmp_path / "a.parquet", row_group_size=3)
        assert len(load_embeddings(tmp_path / "a.parquet")) == 10


def some_unit(data):
    rows = torch.tensor(data)
    return (rows / rows.norm(dim=1, keepdim=True)).float()


class TestRefusals:
    def test_unknown_suffixes_are_answered_with_the_known_ones(self, tmp_path):
        assert ".npy, .npz, .pt" in refused(tmp_path / "a.csv")
        with pytest.raises(InputError, match=r"got none of these"):
            save_embeddings(some(), tmp_path / "a")

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_missing_empty_and_foreign_files(self, tmp_path, suffix):
        path = tmp_path / f"a{suffix}"
        assert "got no file" in refused(path)
        path.touch()
        assert "empty" in refused(path)
        for content in (b"hello", b"\x93NUMPY", b"PK\x03\x04", b"PAR1" * 4, bytes(500)):
            path.write_bytes(content)
            refused(path)
        path.unlink()
        path.mkdir()
        assert "a folder" in refused(path)

    @pytest.mark.parametrize(
        "vectors",
        [
            np.ones(3),
            np.ones((2, 3, 4)),
            np.ones((0, 3)),
            np.ones((3, 1)),
            np.array([[1.0, np.nan], [1.0, 2.0]]),
            np.array([[1.0, np.inf], [1.0, 2.0]]),
            np.zeros((2, 2)),
            np.ones((2, 2), dtype=complex),
            np.array([["a", "b"]]),
            np.zeros(2, dtype=[("x", "f4"), ("y", "f4")]),
            np.array(["2020-01-01"], dtype="M8[D]"),
        ],
    )
    def test_arrays_that_are_no_embeddings(self, tmp_path, vectors):
        np.save(tmp_path / "a.npy", vectors)
        np.savez(tmp_path / "a.npz", vectors=vectors)
        refused(tmp_path / "a.npy")
        refused(tmp_path / "a.npz")
        if vectors.dtype.kind in "fc" and vectors.ndim == 2 and vectors.size:
            torch.save(torch.tensor(vectors), tmp_path / "a.pt")
            refused(tmp_path / "a.pt")

    @pytest.mark.parametrize(
        "labels", [np.arange(3), np.ones((2, 2), int), np.array([0.5, 1.5]), np.array(1)]
    )
    def test_columns_that_do_not_fit(self, tmp_path, labels):
        np.savez(tmp_path / "a.npz", vectors=np.eye(2), labels=labels)
        torch.save({"vectors": torch.eye(2), "labels": torch.tensor(labels)}, tmp_path / "a.pt")
        assert "labels" in refused(tmp_path / "a.npz")
        assert "labels" in refused(tmp_path / "a.pt")

    @pytest.mark.parametrize("labels", [[[1], [2, 3]], 7, {"a": 1}, torch.ones(2).bfloat16()])
    def test_columns_that_are_no_arrays(self, tmp_path, labels):
        torch.save({"vectors": torch.eye(2), "labels": labels}, tmp_path / "a.pt")
        refused(tmp_path / "a.pt")

    def test_a_checkpoint_is_no_embedding(self, tmp_path):
        torch.save({"state_dict": {"w": torch.ones(2)}}, tmp_path / "a.pt")
        assert "checkpoint" in refused(tmp_path / "a.pt")

    def test_an_archive_without_vectors_says_what_it_holds(self, tmp_path):
        np.savez(tmp_path / "a.npz", feats=np.eye(2))
        assert "feats" in refused(tmp_path / "a.npz")

    @pytest.mark.parametrize(
        "frame",
        [
            {"vector": [[1.0, 2.0], None]},
            {"vector": [[1.0, 2.0], [1.0]]},
            {"vector": [["a"], ["b"]]},
            {"vector": [[1.0, None], [1.0, 2.0]]},
            {"vector": [1.0, 2.0]},
            {"name": ["a", "b"]},
            {"vector": [[1.0, 2.0]] * 2, "label": ["a", None]},
            {"x": [1.0, None], "y": [1.0, 1.0]},
        ],
    )
    def test_tables_that_are_no_embeddings(self, tmp_path, frame):
        pq.write_table(pa.table(frame), tmp_path / "a.parquet")
        refused(tmp_path / "a.parquet")


class Bomb:
    """Runs a shell command when unpickled."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.system, (f"touch {self.witness}",)


def header(shape, dtype="<f4"):
    return {"descr": dtype, "fortran_order": False, "shape": shape}


class TestHostileFiles:
    def test_pickled_arrays_run_nothing(self, tmp_path):
        witness = tmp_path / "ran"
        bombs = np.array([[Bomb(witness), 1]], dtype=object)
        np.save(tmp_path / "a.npy", bombs, allow_pickle=True)
        np.savez(tmp_path / "a.npz", vectors=np.eye(2), labels=np.array([Bomb(witness)] * 2))
        torch.save({"vectors": torch.eye(2), "x": Bomb(witness)}, tmp_path / "a.pt")
        for name in ("a.npy", "a.npz"):
            assert "nothing was run" in refused(tmp_path / name, UnsafeFile)
        assert len(load_embeddings(tmp_path / "a.pt")) == 2  # the rest is not looked at
        (tmp_path / "b.npy").write_bytes(pickle.dumps(Bomb(witness)))
        refused(tmp_path / "b.npy")
        assert not witness.exists()

    @pytest.mark.parametrize("shape", [(2**40, 128), (3, 2), (10**30, 2)])
    def test_headers_that_claim_other_sizes(self, tmp_path, shape):
        for path in (tmp_path / "a.npy", tmp_path / "vectors.npy"):
            with path.open("wb") as file:
                npy.write_array_header_1_0(file, header(shape))
                file.write(bytes(16))
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.write(tmp_path / "vectors.npy", "vectors.npy")
        refused(tmp_path / "a.npy")
        refused(tmp_path / "a.npz")

    def test_an_archive_that_unpacks_without_end(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("vectors.npy", bytes(1 << 20))
        content = bytearray((tmp_path / "a.npz").read_bytes())
        place = content.rindex(b"vectors.npy") - 46
        content[place + 24 : place + 28] = struct.pack("<I", 2**32 - 2)
        (tmp_path / "a.npz").write_bytes(content)
        assert "hostile" in refused(tmp_path / "a.npz", UnsafeFile)

    def test_a_table_that_unpacks_without_end(self, tmp_path, monkeypatch):
        monkeypatch.setattr("nemd_toolkit.embedding_tables._UNPACKED", 1 << 20)  # not 64 MiB
        rows = 1 << 20
        column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int8()), pa.array([1.0]))
        pq.write_table(pa.table({"x": column, "y": column}), tmp_path / "a.parquet")
        assert "claims" in refused(tmp_path / "a.parquet", UnsafeFile)

    def test_a_table_of_few_but_endless_lists(self, tmp_path, monkeypatch):
        monkeypatch.setattr("nemd_toolkit.embedding_tables._UNPACKED", 1 << 20)  # not 64 MiB
        lists = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(1 << 20, np.float32)), 1 << 19)
        pq.write_table(pa.table({"vector": lists}), tmp_path / "a.parquet")
        assert "claims 8,388,61" in refused(tmp_path / "a.parquet", UnsafeFile)
        content = (tmp_path / "a.parquet").read_bytes()
        number = b"\x80\x80\x80\x01"  # 2^20 in Thrift
        place = content.rindex(number, 0, content.rindex(number))  # the last is a statistic's
        lie = content[:place] + b"\x82\x80\x80\x00" + content[place + 4 :]
        (tmp_path / "b.parquet").write_bytes(lie)
        assert pq.read_metadata(tmp_path / "b.parquet").row_group(0).column(0).num_values == 1
        assert "claims 8,388,61" in refused(tmp_path / "b.parquet", UnsafeFile)

    @pytest.mark.parametrize("version", ["1.0", "2.0"])
    def test_the_pages_of_a_table_are_counted(self, tmp_path, version):
        table = pa.table(
            {"vector": [[0.5, float(i)] for i in range(999)], "x": ["a", None, "b"] * 333}
        )
        path = tmp_path / "a.parquet"
        pq.write_table(table, path, data_page_version=version, row_group_size=100,
                       data_page_size=64, use_dictionary=False)  # fmt: skip
        assert count_values(path, pq.read_metadata(path)) == 3 * 999

    def test_an_archive_that_unpacks_out_of_all_proportion(self, tmp_path, monkeypatch):
        monkeypatch.setattr("nemd_toolkit.numpy_files._PACKED", 1 << 20)  # not 64 MiB
        for kind in (float, bool):  # bools are 256 kB, numbers eight times as much
            np.savez_compressed(tmp_path / "a.npz", vectors=np.ones((1 << 10, 1 << 8), kind))
            assert "hostile" in refused(tmp_path / "a.npz", UnsafeFile)

    def test_an_array_of_entries_without_bytes(self, tmp_path):
        with (tmp_path / "a.npy").open("wb") as file:
            npy.write_array_header_1_0(file, header((1 << 40, 2), "|V0"))
        assert "hostile" in refused(tmp_path / "a.npy", UnsafeFile)

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_mutated_files_give_a_result_or_an_error_of_ours(self, tmp_path, suffix):
        path = tmp_path / f"a{suffix}"
        save_embeddings(some() if suffix == ".npy" else some(labels=range(7)), path)
        content, rng = path.read_bytes(), np.random.default_rng(0)
        for _ in range(60):
            data = bytearray(content)
            for _ in range(rng.integers(1, 4)):
                at = int(rng.integers(len(data)))
                data[at : at + int(rng.integers(1, 9))] = rng.bytes(int(rng.integers(0, 9)))
            path.write_bytes(bytes(data[: int(rng.integers(1, len(data) + 40))]))
            try:
                load_embeddings(path)
            except NemdError as error:
                assert str(path) in str(error)  # noqa: PT017
