"""Rows in memory and rows in a file give the same bytes, and memory stays bounded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nemd_toolkit import Embeddings, analyze, fit_prototypes, scratch
from nemd_toolkit.checkpoints import read_checkpoint
from nemd_toolkit.embedding_files import load_embeddings, save_embeddings
from nemd_toolkit.measures import measure, null
from nemd_toolkit.measures.covariance import covariance_around
from nemd_toolkit.memory import FIXED, PER_ROW, memory_limit, the_limit
from nemd_toolkit.prototypes import prototypes_from_labels, prototypes_from_vectors
from nemd_toolkit.report.document import measures_part
from nemd_toolkit.scratch import scratch_size
from nemd_toolkit.sphere import mean_direction, mean_directions, mean_row, unit_and_length
from tests import worlds

N, D = 1_500, 24


@pytest.fixture(params=["one block", "many blocks"])
def blocks(request, monkeypatch):
    """Small blocks, so that rows are taken in many; and no null of an earlier analysis."""
    null._uniform.cache_clear()
    if request.param == "many blocks":
        monkeypatch.setattr(scratch, "_ROWS", 112)
        monkeypatch.setattr(scratch, "_GATHERED", 60)
        monkeypatch.setattr("nemd_toolkit.measures.pair_table._ENTRIES", 3_000)
        monkeypatch.setattr("nemd_toolkit.clustering._ENOUGH_ROWS", 700)
    yield
    null._uniform.cache_clear()


@pytest.fixture
def files(tmp_path):
    """The same rows in every form that is read by blocks."""
    x, group = worlds.clusters(N, D, 8, 0.7)
    rows = (x * torch.linspace(0.5, 2.0, N)[:, None]).numpy()
    np.save(tmp_path / "f4.npy", rows)
    np.save(tmp_path / "f8.npy", rows.astype(np.float64))
    np.save(tmp_path / "f2.npy", np.asfortranarray(rows.astype(">f2")))
    np.savez_compressed(tmp_path / "a.npz", vectors=rows, labels=group.numpy())
    whole = Embeddings(rows, labels=group, groups=np.arange(N) // 2)
    save_embeddings(whole, tmp_path / "a.parquet")
    (tmp_path / "shards").mkdir()
    for number, part in enumerate(np.array_split(rows, 7)):
        np.save(tmp_path / "shards" / f"{number}.npy", part)
    return tmp_path


def little(source, **options):
    """Analyse with less memory than a matrix takes; gives the document."""
    null._uniform.cache_clear()
    found = analyze(source, memory=FIXED + PER_ROW * N + 40_000, **options)
    (note,) = [note for note in found.provenance.notes if "temporary file" in note]
    assert note == "rows are kept in a temporary file of 0.1 MB: memory limit 0.9 GB"
    assert scratch_size(found.measures.clusterings[0].prototypes.embeddings.vectors)
    return json.loads(found.to_json())


@pytest.mark.parametrize("form", ["f4.npy", "f8.npy", "f2.npy", "a.npz", "a.parquet", "shards"])
def test_an_analysis_is_the_same_to_the_bit_wherever_its_rows_lie(files, form, blocks):
    kinds = (8, "labels") if form in ("a.npz", "a.parquet") else (8,)
    usual = json.loads(analyze(files / form, prototypes=kinds).to_json())
    other = little(files / form, prototypes=kinds)
    assert usual["measures"] == other["measures"]
    assert usual["findings"] == other["findings"]
    assert usual["verdict"] == other["verdict"]
    assert usual["measures"]["nemd"]["score"] is not None
    (note,) = set(other["provenance"]["notes"]) - set(usual["provenance"]["notes"])
    assert "temporary file" in note


def test_own_prototypes_are_the_same_to_the_bit(pcl_checkpoint, blocks):
    checkpoint = read_checkpoint(pcl_checkpoint)
    usual = json.loads(analyze(checkpoint, "digits", prototypes="own").to_json())
    assert usual["measures"] == little_digits(checkpoint)["measures"]
    x, _ = worlds.clusters(N, D, 8, 0.7)
    own = torch.randn(40, D, generator=torch.Generator().manual_seed(1))
    parts = []
    for size in (None, FIXED + PER_ROW * N + 40_000):
        null._uniform.cache_clear()
        with memory_limit(size):
            found = measure(e := Embeddings(x), [prototypes_from_vectors(e, own)])
        assert bool(scratch_size(e.vectors)) == (size is not None)
        parts.append(measures_part(found))
    assert parts[0] == parts[1]


def little_digits(checkpoint):
    null._uniform.cache_clear()
    memory = FIXED + PER_ROW * 1_797 + 40_000
    found = analyze(checkpoint, "digits", prototypes="own", memory=memory)
    assert any("temporary file" in note for note in found.provenance.notes)
    return json.loads(found.to_json())


def test_a_report_is_drawn_from_rows_in_a_file(files, nemd, tmp_path):
    memory = f"{FIXED + PER_ROW * N + 40_000}B"
    words = ("analyze", files / "f4.npy", "--prototypes", "8", "--memory", memory)
    code, out, err = nemd(*words, "--out", tmp_path / "o")
    assert (code, err) == (0, "")
    assert "note: rows are kept in a temporary file of 0.1 MB: memory limit 0.9 GB" in out
    assert "temporary file" in (tmp_path / "o" / "report.html").read_text()
    code, _, err = nemd(*words[:-1], "4 elephants")
    assert code == 2
    assert "a size such as 4GB" in err
    code, _, err = nemd(*words[:-1], "10MB")
    assert (code, err.count("\n")) == (2, 1)


def test_comparisons_and_courses_keep_to_the_memory(files, nemd, tmp_path, monkeypatch):
    limits = []
    monkeypatch.setattr(scratch, "for_one_matrix", _seen(limits))
    options = ("--prototypes", "8", "--memory", "1GB", "-q")
    for words in (("compare", "f4.npy", "f8.npy"), ("track", "f4.npy", "f8.npy")):
        limits.clear()
        assert nemd(*words, *options, "--out", tmp_path / words[0])[0] == 0
        assert set(limits) == {1_000_000_000}
        code, _, err = nemd(*words, "--memory", "10MB")
        assert (code, err.count("\n")) == (2, 1)


def _seen(limits):
    def noted(rows):
        limits.append(the_limit())
        return float("inf")

    return noted


def test_blocks_of_a_null_are_one_draw(monkeypatch):
    whole = null.uniform_points(500, 33, seed=4)
    drawn = torch.randn(500, 33, generator=torch.Generator().manual_seed(4))
    assert torch.equal(whole, torch.nn.functional.normalize(drawn, dim=1))
    monkeypatch.setattr(scratch, "_ROWS", 48)
    assert torch.equal(null.uniform_points(500, 33, seed=4), whole)


class TestSumsOfBlocks:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch):
        monkeypatch.setattr(scratch, "_ROWS", 64)

    def test_moments_of_badly_scaled_rows_are_those_of_float64(self):
        # a cone: a common offset and a spread ten thousand times smaller, axes of all sizes
        generator = torch.Generator().manual_seed(0)
        axes = torch.logspace(0, -3, 12)
        x = torch.randn(5_000, 12, generator=generator) * axes * 1e-4 + 1.0
        points = Embeddings(x).vectors
        wide = points.double().numpy()
        mean = mean_row(points)
        np.testing.assert_allclose(mean, wide.mean(0), rtol=1e-15)
        found = covariance_around(points, mean).numpy()
        wanted = np.cov(wide.T, ddof=0)
        np.testing.assert_allclose(found, wanted, atol=1e-14 * np.abs(wanted).max())

    def test_mean_directions_are_those_of_each_by_itself(self):
        x, group = worlds.clusters(3_000, 16, 9, 1e-4)
        x, group = torch.cat([x, x[:1], -x[:1]]), torch.cat([group, torch.tensor([12, 12])])
        group[::50] = -1
        group[3_000:] = 12  # rows that cancel: the first stands in
        found = mean_directions(x, group, 13)
        for number in range(13):
            rows = x[group == number]
            wanted = mean_direction(rows) if len(rows) else torch.zeros(16).double()
            torch.testing.assert_close(found[number], wanted, rtol=1e-14, atol=1e-15)

    def test_lengths_of_every_size_survive(self):
        rows = np.random.default_rng(0).standard_normal((300, 5))
        scales = np.logspace(-150, 150, 300)[:, None]
        e = Embeddings(rows * scales)
        np.testing.assert_allclose(
            e.lengths, np.linalg.norm(rows, axis=1) * scales[:, 0], rtol=1e-14
        )
        torch.testing.assert_close(e.vectors, Embeddings(rows).vectors)

    def test_labels_without_a_full_copy_give_the_moments_of_their_classes(self):
        x, group = worlds.clusters(2_000, 16, 5, 0.5)
        labels = np.concatenate([group.numpy(), [77]])  # a lone class is left out
        e = Embeddings(torch.cat([x, x[:1]]), labels=labels)
        p = prototypes_from_labels(e)
        wanted = torch.stack([mean_direction(e.vectors[r]) for r in p.members()])
        torch.testing.assert_close(p.mean_directions(), wanted, rtol=1e-14, atol=1e-15)


PROGRAM = """
import sys, torch
sys.path.insert(0, sys.argv[2])
from scale import Watch
from nemd_toolkit import analyze

analyze(torch.randn(3000, 64), prototypes=(20,))  # what loads once
text = open("/proc/self/status").read()
before = 1024 * int(text.split("RssAnon:")[1].split()[0])
with Watch() as watch:
    found = analyze(sys.argv[1], prototypes=(20,), memory=sys.argv[3])
assert any("temporary file of 0.1 GB" in note for note in found.provenance.notes)
print(watch.anonymous - before)
"""


def test_memory_of_its_own_hardly_grows_with_the_rows(tmp_path, monkeypatch):
    root = Path(__file__).parents[1]
    monkeypatch.syspath_prepend(root / "benchmarks")
    from scale import write_rows

    count, dim = 400_000, 64  # 102 MB a matrix; in memory, the growth was 449 MB
    write_rows(tmp_path / "a.npy", count, dim, 40, 0)
    memory = f"{FIXED + PER_ROW * count + 10_000}B"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "a.npy", root / "benchmarks", memory],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert int(done.stdout) < PER_ROW * count + 250_000_000


@pytest.mark.parametrize("form", ["f4.npy", "f8.npy", "f2.npy", "a.npz", "a.parquet", "shards"])
def test_no_reader_holds_more_than_a_block(files, monkeypatch, form):
    sizes = []
    monkeypatch.setattr(scratch, "_ROWS", 160)
    monkeypatch.setattr(
        "nemd_toolkit.unit_rows.unit_and_length",
        lambda block, largest: sizes.append(len(block)) or unit_and_length(block, largest),
    )
    load_embeddings(files / form)
    assert max(sizes) <= 160
    assert sum(sizes) == N


def test_prototypes_are_fitted_to_rows_in_a_file(blocks):
    x, _ = worlds.clusters(N, D, 8, 0.7)
    usual = fit_prototypes(Embeddings(x), 8, seed=3)
    with memory_limit(FIXED + PER_ROW * N + 40_000):
        other = fit_prototypes(Embeddings(x), 8, seed=3)
    assert scratch_size(other.embeddings.vectors)
    assert torch.equal(usual.assignment, other.assignment)
    assert torch.equal(usual.vectors, other.vectors)
