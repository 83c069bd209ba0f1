"""Folders of embeddings: read as one set, and nothing of them is left out in silence."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from nemd_toolkit import analyze
from nemd_toolkit.checked_rows import write_rows
from nemd_toolkit.embedding_files import load_embeddings
from nemd_toolkit.embedding_parts import open_parts
from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.errors import InputError

ROWS = np.random.default_rng(0).standard_normal((100, 6)).astype(np.float32)


def shards(folder, rows=ROWS, name="part-{:04}", dtype=np.float32):
    """Write ten .npy files."""
    for number, part in enumerate(np.split(rows, 10)):
        np.save(folder / f"{name.format(number)}.npy", part.astype(dtype))


def own_shards(folder, rows=ROWS):
    """Write them as `nemd embed` does."""
    for start in range(0, len(rows), 10):
        part = torch.from_numpy(rows[start : start + 10])
        write_rows(folder / f"rows-{start:012}.npy", [part], *part.shape)


def refused(folder):
    with pytest.raises(InputError) as caught:
        load_embeddings(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder}: ")
    assert message.count(str(folder)) == 1
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["part-{:04}", "part-{}", "{:05}-of-00010", "rows{}_of_all"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ">f4"])
def test_shards_are_one_set_in_the_order_of_their_numbers(tmp_path, name, dtype):
    shards(tmp_path, name=name, dtype=dtype)
    found, whole = load_embeddings(tmp_path), Embeddings(ROWS.astype(dtype))
    assert torch.equal(found.vectors, whole.vectors)
    assert torch.equal(found.lengths, whole.lengths)


def test_eleven_shards_without_zeros_before_their_numbers_stay_in_order(tmp_path):
    for number in range(11):
        np.save(tmp_path / f"{number}.npy", np.full((1, 2), [1.0, number]))
    ratio = load_embeddings(tmp_path).vectors
    assert (ratio[:, 1] / ratio[:, 0]).round().tolist() == list(range(11))


def test_what_an_unfinished_embedding_left_is_read_with_its_checksums(tmp_path):
    folder = tmp_path / "e.npy.parts"
    parts = open_parts(folder, {"count": "100"}, batch=10, count=100)
    for start in range(0, 100, 10):
        parts.append(start, torch.from_numpy(ROWS[start : start + 10]))
        parts.flush()
    (folder / "whole.npy").write_bytes(b"half of it")
    assert torch.equal(load_embeddings(folder).vectors, Embeddings(ROWS).vectors)
    (folder / "rows-000000000090.npy").unlink()
    assert "expected 100 rows in them, got 90" in refused(folder)


def test_a_table_in_files_is_one_table(tmp_path):
    labels = np.array([f"class {i % 3}" for i in range(100)])
    for number, rows in enumerate(np.split(np.arange(100), 4)):
        table = pa.table({"vector": list(ROWS[rows]), "label": labels[rows], "id": rows})
        pq.write_table(table, tmp_path / f"{number}.parquet", row_group_size=7)
    found = load_embeddings(tmp_path)
    assert torch.equal(found.vectors, Embeddings(ROWS.astype(np.float64)).vectors)
    assert found.labels.tolist() == labels.tolist()
    assert found.ids.tolist() == list(range(100))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_named_with_its_shard(tmp_path, bad):
    rows = ROWS.copy()
    rows[63, 2] = rows[68, 0] = bad
    shards(tmp_path, rows)
    message = refused(tmp_path)
    assert "shard 7 of 10 (part-0006.npy): expected finite numbers" in message
    assert "in 2 of 10 rows (first: row 3)" in message


def test_a_row_without_direction_is_named_with_its_shard(tmp_path):
    rows = ROWS.copy()
    rows[98] = 0
    shards(tmp_path, rows)
    assert "shard 10 of 10 (part-0009.npy): expected rows with a direction" in refused(tmp_path)


@pytest.mark.parametrize("cut", [1, 24, 64])
def test_a_truncated_shard_is_named(tmp_path, cut):
    shards(tmp_path)
    path = tmp_path / "part-0003.npy"
    path.write_bytes(path.read_bytes()[:-cut])
    message = refused(tmp_path)
    assert "shard 4 of 10 (part-0003.npy): expected 240 bytes" in message


@pytest.mark.parametrize("place", [130, 200, -40, -1])
def test_a_flipped_bit_is_found_where_there_is_a_checksum(tmp_path, place):
    own_shards(tmp_path)
    path = tmp_path / "rows-000000000030.npy"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    message = refused(tmp_path)
    assert "shard 4 of 10 (rows-000000000030.npy): expected numbers that the checksum" in message


@pytest.mark.parametrize("number", [0, 30, 90])
def test_a_missing_shard_of_ours_is_found_by_the_rows_before_the_next(tmp_path, number):
    own_shards(tmp_path)
    (tmp_path / "key.json").write_text(json.dumps({"count": "100"}))
    (tmp_path / f"rows-{number:012}.npy").unlink()
    message = refused(tmp_path)
    last = "expected 100 rows in them, got 90"
    assert (last if number == 90 else f"begins with row {number}") in message


@pytest.mark.parametrize(
    ("name", "missing", "words"),
    [
        ("part-{:04}", 6, "none numbered 6"),
        ("{:05}-of-00010", 0, "none numbered 0"),
        ("{:05}-of-00010", 9, "none numbered 9"),
    ],
)
def test_a_gap_in_the_numbers_of_others_is_found(tmp_path, name, missing, words):
    shards(tmp_path, name=name)
    (tmp_path / f"{name.format(missing)}.npy").unlink()
    assert words in refused(tmp_path)


def test_shards_that_are_not_numbered_one_by_one_are_taken_as_they_are(tmp_path):
    for number in (10, 20, 40):
        np.save(tmp_path / f"step-{number}.npy", ROWS[:number])
    assert len(load_embeddings(tmp_path)) == 70


def test_shards_of_another_set_are_refused(tmp_path):
    shards(tmp_path)
    np.save(tmp_path / "part-0010.npy", np.ones((3, 7)))
    assert "shard 11 of 11 (part-0010.npy): expected rows of 6 numbers" in refused(tmp_path)
    np.save(tmp_path / "part-0010.npy", np.arange(100))
    assert "part-0010.npy): expected a real (n, d) array" in refused(tmp_path)
    (tmp_path / "part-0010.npy").write_bytes(b"hello")
    assert "part-0010.npy): expected a NumPy file" in refused(tmp_path)


def test_tables_that_differ_in_their_columns_are_refused(tmp_path):
    frame = pd.DataFrame({"x": [1.0, 2.0], "y": [0.5, 0.5], "label": [0, 1]})
    frame.to_parquet(tmp_path / "a.parquet")
    frame.drop(columns="label").to_parquet(tmp_path / "b.parquet")
    assert "(b.parquet): expected the columns of a.parquet (labels), got none" in refused(tmp_path)


def test_a_damaged_table_is_named(tmp_path):
    for name in "ab":
        pq.write_table(pa.table({"vector": list(ROWS)}), tmp_path / f"{name}.parquet")
    content = (tmp_path / "b.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(content[:-50])
    assert "shard 2 of 2 (b.parquet): expected a Parquet table" in refused(tmp_path)


def test_lists_of_several_lengths_are_named_by_their_row(tmp_path):
    lists = [[1.0, 2.0]] * 70_000 + [[1.0]]
    pq.write_table(pa.table({"vector": lists}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="got 1 in row 70000"):
        load_embeddings(tmp_path / "a.parquet")


def test_an_analysis_of_a_folder_says_so(tmp_path, nemd):
    shards(tmp_path)
    found = analyze(tmp_path, prototypes=(3,))
    assert found.provenance.layout == "embeddings (10 shards, npy)"
    assert len(found.provenance.sha256) == 64
    np.save(tmp_path / "part-0009.npy", ROWS[:10])
    assert analyze(tmp_path, prototypes=(3,)).provenance.sha256 != found.provenance.sha256
    (tmp_path / "part-0004.npy").unlink()
    code, _, err = nemd("analyze", tmp_path)
    assert code == 2
    assert "none numbered 4" in err
