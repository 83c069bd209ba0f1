"""Finished stages outlive a run that broke off; nothing damaged or foreign is taken for one."""

import json
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nemd_toolkit as nt
from nemd_toolkit import clustering, placing, ranks, stages
from nemd_toolkit.checked_rows import read_arrays, write_arrays
from nemd_toolkit.clustering import kmeans
from nemd_toolkit.errors import InputError
from nemd_toolkit.exact_sums import Grid
from nemd_toolkit.folder_lock import alone_in
from nemd_toolkit.progress import show_progress
from tests import worlds


@pytest.fixture
def points(tmp_path):
    path = tmp_path / "points.npy"
    np.save(path, worlds.clusters(600, 16, 12, 0.5)[0].numpy())
    return path


@pytest.fixture
def fits(monkeypatch):
    """Count the runs of k-means."""
    monkeypatch.setattr(stages, "WORTH", 0.0)
    counted, lloyd = [], clustering._lloyd

    def counting(rows, k, *others):
        counted.append(k)
        return lloyd(rows, k, *others)

    monkeypatch.setattr(clustering, "_lloyd", counting)
    return counted


def numbers(out):
    document = json.loads((out / "report.json").read_text())
    return {name: document[name] for name in ("measures", "findings", "verdict")}


class BrokenOff(Exception):
    pass


def analysed(source, out, *, ends=True, fresh=False, **options):
    """Numbers of an analysis, which breaks off at its end where it is asked to."""
    with suppress(BrokenOff), stages.keeping(out, fresh=fresh):
        document = json.loads(nt.analyze(source, **{"prototypes": 12} | options).to_json())
        if not ends:
            raise BrokenOff
    return {name: document[name] for name in ("measures", "findings", "verdict")}


def full(*_):
    raise OSError(28, "No space left on device")


def test_a_run_that_broke_off_goes_on_with_the_same_numbers(
    nemd, points, fits, monkeypatch, tmp_path
):
    words = ("analyze", points, "--prototypes", 12, "--out")
    assert nemd(*words, "whole")[0] == 0
    runs = len(fits)
    with monkeypatch.context() as patched:
        patched.setattr("nemd_toolkit.report.folder.replacing", full)
        code, _, err = nemd(*words, "r")
    assert (code, err.count("\n")) == (2, 1)
    assert "No space left on device" in err
    assert len(fits) == 2 * runs - 2  # the uniform null was there
    assert len(list((tmp_path / "r" / ".stages").iterdir())) > runs
    code, _, err = nemd(*words, "r")
    assert (code, len(fits)) == (0, 2 * runs - 2)
    assert "going on from the finished stages in r/.stages" in err
    assert numbers(tmp_path / "r") == numbers(tmp_path / "whole")
    assert not (tmp_path / "r" / ".stages").exists()


def test_a_damaged_stage_is_done_anew(points, fits, tmp_path, capsys):
    whole = analysed(points, tmp_path / "r")
    for damage in ("torn", "flipped", "empty"):
        analysed(points, tmp_path / "r", ends=False)
        path = next((tmp_path / "r" / ".stages").glob("k-means-12-*"))
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes({"torn": content[:-7], "flipped": content, "empty": b""}[damage])
        fits.clear()
        with show_progress():
            assert analysed(points, tmp_path / "r") == whole
        assert fits == [12]
        assert f"{path} is damaged: doing its stage anew" in capsys.readouterr().err


def test_stages_of_other_data_seeds_or_numbers_are_not_taken(points, fits, tmp_path):
    other = tmp_path / "other.npy"
    np.save(other, worlds.clusters(600, 16, 12, 0.5, seed=5)[0].numpy())
    for source, options in ((points, {"seed": 1}), (other, {}), (points, {"prototypes": 13})):
        direct = analysed(source, tmp_path / "direct", **options)
        analysed(points, tmp_path / "r", ends=False)
        assert analysed(source, tmp_path / "r", **options) == direct


def test_fresh_starts_over(points, fits, tmp_path):
    analysed(points, tmp_path / "r", ends=False)
    fits.clear()
    analysed(points, tmp_path / "r", fresh=True)
    assert len(fits) >= 5


def test_short_stages_leave_no_file(points, tmp_path):
    analysed(points, tmp_path / "r", ends=False)
    assert not (tmp_path / "r").exists()


def test_a_second_analysis_in_a_folder_is_refused(nemd, points, tmp_path):
    with alone_in(tmp_path / "r"):
        code, out, err = nemd("analyze", points, "--out", "r")
    assert (code, out) == (2, "")
    assert "expected a folder that no other run is in, got one held by process" in err
    assert err.count("\n") == 1
    assert nemd("analyze", points, "--out", "r", "-q")[0] == 0


def test_a_full_disk_costs_stages_and_not_the_report(nemd, points, fits, monkeypatch, tmp_path):
    monkeypatch.setattr(stages, "write_arrays", full)
    code, _, err = nemd("analyze", points, "--prototypes", 12, "--out", "r")
    assert code == 0
    assert "a stage is not kept (No space left on device)" in err
    assert (tmp_path / "r" / "report.html").exists()


def test_nothing_is_kept_outside_of_a_folder_for_it(fits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = worlds.noise(100, 8)
    assert torch.equal(kmeans(x, 5).assignment, kmeans(x, 5).assignment)
    assert len(fits) == 2
    assert list(tmp_path.iterdir()) == []


def test_what_a_stage_gives_is_what_its_work_gave(fits, tmp_path):
    x = worlds.noise(300, 8)
    broken = stages.keeping(tmp_path / "r")
    broken.__enter__()
    stages.identify(lambda: {"source": "a"})
    first = kmeans(x, 7, seed=4)
    broken.__exit__(InputError, InputError("killed"), None)
    with stages.keeping(tmp_path / "r"):
        stages.identify(lambda: {"source": "a"})
        again, other = kmeans(x, 7, seed=4), kmeans(x.flip(0), 7, seed=4)
    assert fits == [7, 7]
    for name in ("centroids", "assignment", "squared_distances"):
        assert torch.equal(getattr(first, name), getattr(again, name))
        assert getattr(first, name).dtype == getattr(again, name).dtype
    for name in ("iterations", "converged", "fitted_rows"):
        assert getattr(first, name) == getattr(again, name)
    assert not torch.equal(first.assignment, other.assignment)


def test_arrays_of_all_kinds_come_back(tmp_path):
    arrays = [np.arange(4), np.eye(3, dtype=np.float32), np.empty((0, 2)), np.array([True, False])]
    write_arrays(tmp_path / "a.stage", arrays)
    found = read_arrays(tmp_path / "a.stage")
    for array, other in zip(arrays, found, strict=True):
        assert array.dtype == other.dtype
        np.testing.assert_array_equal(array, other)
    assert read_arrays(tmp_path / "missing.stage") is None


def test_an_error_of_shared_work_passes_through():
    def wrong():
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        ranks.together("work", wrong)


@given(
    n=st.integers(1, 400),
    exponent=st.integers(-100, 100),
    seed=st.integers(0, 10**6),
    pieces=st.lists(st.integers(0, 400), max_size=6),
)
def test_sums_on_the_grid_do_not_depend_on_the_split_or_the_order(n, exponent, seed, pieces):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    x = (x * 2.0 ** (exponent + x.abs() * 3)).float()  # of very different magnitudes
    largest = float(x.abs().max())
    rounded = Grid.of(n, largest).rounded(x, torch.empty(n, 3, dtype=torch.float64))
    whole = rounded.sum(0)
    edges = sorted({0, n, *(min(n, piece) for piece in pieces)})
    parts = [rounded[a:b].sum(0) for a, b in pairwise(edges)]
    assert torch.equal(sum(parts), whole)
    order = torch.randperm(n, generator=generator)
    one_by_one = torch.zeros(3, dtype=torch.float64)
    for row in rounded[order]:
        one_by_one += row
    assert torch.equal(one_by_one, whole)
    # as near to the true sum as float32 rows are to what they stand for
    assert (whole - x.double().sum(0)).abs().max() <= n * largest * 2.0**-42


@given(seed=st.integers(0, 10**6), threads=st.integers(2, 4), spherical=st.booleans())
def test_clusters_do_not_depend_on_the_number_of_threads(seed, threads, spherical):
    x = worlds.noise(900, 12, seed=seed)
    usual, found = torch.get_num_threads(), []
    for count in (1, threads):
        torch.set_num_threads(count)
        try:
            rows = placing.Rows(x, None, 40)
            rows._block = 64  # so that there is something to share
            placed = rows.place(x[:40], rows.grid(1.0 if spherical else None))
        finally:
            torch.set_num_threads(usual)
        found.append(clustering._means(rows, placed, x[:40], spherical))
    assert torch.equal(*found)
