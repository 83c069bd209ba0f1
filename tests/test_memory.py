"""The memory limit: how it is written, what it leaves, and where matrices then lie."""

import errno
import gc
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from nemd_toolkit import memory, scratch
from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.errors import InputError
from nemd_toolkit.memory import for_one_matrix, memory_limit, the_limit
from nemd_toolkit.scratch import blocks, empty_rows, mapped_rows, release, rows_at, scratch_size

LEAST_AND_LITTLE = memory.FIXED + 200_000  # leaves 35 kB to a matrix of 500 rows


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4 * 10**9), (" 4 gb ", 4 * 10**9), ("1.5GiB", 3 * 2**29), ("900MB", 9 * 10**8)],
)
def test_sizes_are_read_with_their_units(text, size):
    with memory_limit(text):
        assert the_limit() == size


@pytest.mark.parametrize("text", ["", "4", "lots", "-4GB", "4 G B", "4GB of it", "nanGB", "1e9GB"])
def test_nonsense_is_refused_in_one_sentence(text):
    with pytest.raises(InputError, match=r"a size such as 4GB.*write number and unit"):
        memory_limit(text).__enter__()


@pytest.mark.parametrize("size", ["1MB", "899MB", 0, -1])
def test_less_than_the_libraries_take_is_refused(size):
    with pytest.raises(InputError, match=r"at least 0\.9 GB, which the libraries themselves take"):
        memory_limit(size).__enter__()


def test_a_limit_that_columns_alone_exceed_is_refused():
    with memory_limit("1GB"), pytest.raises(InputError, match=r"2\.1 GB for 10,000,000 rows"):
        empty_rows(10_000_000, 2)


def test_limits_end_with_their_block_and_none_changes_nothing():
    before = the_limit()
    with memory_limit("5GB"):
        with memory_limit(None):
            assert the_limit() == 5 * 10**9
        with memory_limit("2GB"):
            assert the_limit() == 2 * 10**9
        assert the_limit() == 5 * 10**9
    assert before is None or abs(the_limit() - before) < 2 * 10**9  # what others take meanwhile


@pytest.mark.parametrize(
    "names",
    [
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ],
)
def test_a_control_group_may_leave_less_than_the_machine(tmp_path, monkeypatch, names):
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    monkeypatch.setattr(memory, "_of_machine", lambda: 64 * 10**9)
    assert the_limit() == 32 * 10**9
    (tmp_path / "memory").mkdir()
    for name, size in zip(names, ("3000000000\n", "1000000000\n"), strict=True):
        (tmp_path / name).write_text(size)
    assert the_limit() == 10**9
    assert for_one_matrix(10) == pytest.approx((10**9 - memory.FIXED) / memory.MATRICES, rel=1e-4)
    (tmp_path / names[0]).write_text("max\n")
    assert the_limit() == 32 * 10**9


def test_without_any_number_there_is_no_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    monkeypatch.setattr(memory, "_of_machine", lambda: None)
    assert the_limit() is None
    assert scratch_size(empty_rows(3, 3)) == 0


def test_matrices_beyond_the_limit_lie_in_a_file_that_goes_with_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    gc.collect()  # what other tests left open
    before = len(list(Path("/proc/self/fd").iterdir()))
    with memory_limit(LEAST_AND_LITTLE):
        rows = empty_rows(500, 40)
    assert scratch_size(rows) == 500 * 40 * 4
    assert not list(tmp_path.iterdir())  # it has no name
    assert str(tmp_path) in Path("/proc/self/maps").read_text()
    rows.copy_(torch.arange(20_000.0).view(500, 40))
    release(rows)
    assert torch.equal(rows, torch.arange(20_000.0).view(500, 40))
    del rows
    gc.collect()
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_rows_are_gathered_and_walked_over_alike_in_memory_and_from_a_file(monkeypatch):
    monkeypatch.setattr(scratch, "_GATHERED", 70)
    monkeypatch.setattr(scratch, "_SCATTERED", 7)
    monkeypatch.setattr(scratch, "_SPAN", 4 * 24 * 2_900)
    x = torch.randn(3_000, 24, generator=torch.Generator().manual_seed(0))
    with memory_limit(LEAST_AND_LITTLE + 3_000 * memory.PER_ROW):
        held = empty_rows(*x.shape)
    assert scratch_size(held)
    held.copy_(x)
    places = torch.randperm(3_000, generator=torch.Generator().manual_seed(1))[:210]
    for some in (places, places.view(7, 30), places[:0], places.sort().values):
        assert torch.equal(rows_at(held, some), x[some])
    assert torch.equal(torch.cat(list(blocks(held, 999))), x)
    assert torch.equal(torch.cat(list(blocks(held))), x)


def test_what_numpy_mapped_can_be_given_back_without_loss(tmp_path):
    data = np.random.default_rng(0).standard_normal((5_000, 33)).astype(np.float32)
    for order in "CF":
        np.save(tmp_path / "a.npy", np.asarray(data, order=order))
        for mode in ("r", "r+"):
            rows = mapped_rows(np.load(tmp_path / "a.npy", mmap_mode=mode))
            assert scratch_size(rows)
            release(rows)
            release(rows[4_000:])
            assert np.array_equal(rows.numpy(), data)


def test_what_was_written_to_a_copy_on_write_array_is_not_lost(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((5_000, 33), np.float32))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="c")
    mapped *= 2.0
    e = Embeddings(mapped)
    assert e.norms == pytest.approx((132**0.5, 132**0.5))
    assert (mapped == 2.0).all()


def test_a_full_disk_is_one_sentence_with_the_place_and_the_way_out(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(os, "posix_fallocate", full)
    with memory_limit("1GB"), pytest.raises(InputError) as caught:
        empty_rows(1_000, 30_000)
    message = str(caught.value)
    assert "\n" not in message
    for words in (
        "0.1 GB of free space",
        str(tmp_path),
        "limit of 1 GB",
        "No space left",
        "TMPDIR",
    ):
        assert words in message
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_is_said_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "_folder", lambda: tmp_path / "none")
    with memory_limit("1GB"), pytest.raises(InputError, match="No such file or directory"):
        empty_rows(1_000, 30_000)


def test_space_is_taken_before_it_is_used_where_the_system_has_no_call_for_it(monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate")
    monkeypatch.setattr(scratch, "_ZEROS", 1_000)
    with memory_limit(LEAST_AND_LITTLE):
        rows = empty_rows(500, 41)
    assert scratch_size(rows) == rows.nbytes
    assert not rows.any()
