"""A killed run goes on with the same bytes; a cache gives what was embedded, and nothing else."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from nemd_toolkit.checked_rows import read_rows, write_rows
from nemd_toolkit.embedding_export import embed_to_file
from nemd_toolkit.embedding_files import load_embeddings, save_embeddings
from nemd_toolkit.embedding_parts import open_parts
from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.encoding import embed, prepare_pass
from nemd_toolkit.errors import InputError
from nemd_toolkit.folder_lock import alone_at
from nemd_toolkit.images import open_images
from nemd_toolkit.progress import show_progress
from tests.small_encoder import save

SUFFIXES = ("npy", "npz", "pt", "parquet", "safetensors")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save(tmp_path_factory.mktemp("encoder") / "last.pt", seed=0)


def ready(saved, **options):
    return prepare_pass(saved, "digits", **{"split": "test", "batch": 32} | options)


class Killed(Exception):
    pass


def stopping(plan, after):
    """The same pass, which dies when it has embedded `after` batches."""
    calls = 0

    def forward(seen):
        nonlocal calls
        calls += 1
        if calls > after:
            raise Killed
        return plan.forward(seen)

    return replace(plan, forward=forward)


def counting(plan):
    """The same pass, and a list of the numbers of images that it embeds."""
    seen_counts = []

    def forward(seen):
        seen_counts.append(len(seen))
        return plan.forward(seen)

    return replace(plan, forward=forward), seen_counts


class TestResuming:
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_a_run_that_died_goes_on_with_the_same_bytes_and_leaves_nothing(
        self, tmp_path, saved, suffix
    ):
        whole, out = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
        embed_to_file(ready(saved), whole)
        for after in (3, 0, 5):
            with pytest.raises(Killed):
                embed_to_file(stopping(ready(saved), after), out, seconds=0.0)
            assert not out.exists()
        plan, embedded = counting(ready(saved))
        found = embed_to_file(plan, out, seconds=0.0)
        assert found.resumed == 6 * 32  # a batch is handed over when the next is embedded
        assert sum(embedded) == 450 - found.resumed
        assert out.read_bytes() == whole.read_bytes()
        assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, whole.name]

    def test_a_process_killed_with_sigkill_goes_on_with_the_same_bytes(self, tmp_path, saved):
        whole, out = tmp_path / "whole.npy", tmp_path / "out.npy"
        embed_to_file(ready(saved), whole)
        code = (
            "import sys, time; from pathlib import Path; from dataclasses import replace\n"
            "from nemd_toolkit.embedding_export import embed_to_file\n"
            "from nemd_toolkit.encoding import prepare_pass\n"
            "plan = prepare_pass(sys.argv[1], 'digits', split='test', batch=32)\n"
            "slow = lambda seen: (time.sleep(0.3), plan.forward(seen))[1]\n"
            "embed_to_file(replace(plan, forward=slow), Path(sys.argv[2]), seconds=0.0)\n"
        )
        process = subprocess.Popen([sys.executable, "-c", code, str(saved), str(out)])
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("out.npy.parts/rows-*.npy"))) < 2:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert embed_to_file(ready(saved), out).resumed >= 64
        assert out.read_bytes() == whole.read_bytes()

    def test_the_file_holds_what_embed_gives(self, tmp_path, saved):
        wanted = embed(saved, "digits", split="test", batch=32)
        for suffix in SUFFIXES:
            out, direct = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
            found = embed_to_file(ready(saved), out)
            alone = suffix == "npy"
            save_embeddings(Embeddings(wanted.vectors) if alone else wanted, direct)
            assert out.read_bytes() == direct.read_bytes()
            got = load_embeddings(out)
            assert torch.allclose(got.vectors, wanted.vectors, atol=1e-7)
            assert (found.count, found.dim) == (450, wanted.dim)
            assert found.left_out == (("labels", "ids") if alone else ())
            if not alone:
                assert np.array_equal(got.labels, wanted.labels)
                assert np.array_equal(got.ids, wanted.ids)
        assert "centre-cropped, less mean 0.3 over std 0.4" in found.transform

    @pytest.mark.parametrize(
        "options",
        [{"layer": "projector"}, {"batch": 64}, {"split": "train"}, {"precision": "bfloat16"},
         {"transform": "none"}],
    )  # fmt: skip
    def test_parts_of_another_pass_are_not_mixed_in(self, tmp_path, saved, options, capsys):
        with pytest.raises(Killed):
            embed_to_file(stopping(ready(saved), 3), tmp_path / "a.npy", seconds=0.0)
        with show_progress():
            found = embed_to_file(ready(saved, **options), tmp_path / "a.npy")
        assert found.resumed == 0
        assert "is of another pass" in capsys.readouterr().err
        embed_to_file(ready(saved, **options), tmp_path / "b.npy")
        assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()

    def test_parts_of_another_encoder_are_not_mixed_in(self, tmp_path, saved):
        with pytest.raises(Killed):
            embed_to_file(stopping(ready(saved), 3), tmp_path / "a.npy", seconds=0.0)
        other = save(tmp_path / "other.pt", seed=1)
        assert embed_to_file(ready(other), tmp_path / "a.npy").resumed == 0

    def test_damaged_parts_are_embedded_anew(self, tmp_path, saved, capsys):
        whole, out = tmp_path / "whole.npy", tmp_path / "out.npy"
        embed_to_file(ready(saved), whole)
        with pytest.raises(Killed):
            embed_to_file(stopping(ready(saved), 6), out, seconds=0.0)
        second = sorted((tmp_path / "out.npy.parts").glob("rows-*"))[1]
        content = bytearray(second.read_bytes())
        content[200] ^= 1
        second.write_bytes(content)
        with show_progress():
            assert embed_to_file(ready(saved), out).resumed == 4 * 32  # one of five
        assert "is damaged or does not fit" in capsys.readouterr().err
        assert out.read_bytes() == whole.read_bytes()

    def test_a_folder_with_files_of_others_is_left_alone(self, tmp_path, saved):
        (tmp_path / "a.npy.parts").mkdir()
        (tmp_path / "a.npy.parts" / "thesis.txt").write_text("years of work")
        with pytest.raises(InputError, match=r"got thesis\.txt in it; move that away"):
            embed_to_file(ready(saved), tmp_path / "a.npy")

    def test_blocks_do_not_depend_on_how_rows_came(self, tmp_path):
        rows = torch.rand(23, 3)
        for cuts in ((23,), (1, 2, 20), (5,) * 4 + (3,)):
            parts = open_parts(tmp_path / "p", {"cuts": str(cuts)}, batch=1, count=23, seconds=0.0)
            for part in rows.split(cuts):
                parts.append(parts.count, part)
            assert [len(block) for block in parts.blocks(5)] == [5, 5, 5, 5, 3]
            assert torch.equal(torch.cat(list(parts.blocks(5))), rows)


class TestRefusals:
    def test_what_cannot_be_continued_or_written_is_refused_before_the_work(self, tmp_path, saved):
        with pytest.raises(InputError, match="transform and encoder by name"):
            embed_to_file(ready(saved, transform=lambda x: x), tmp_path / "a.npy")
        images = replace(open_images("digits", "test"), stamp=None)
        with pytest.raises(InputError, match="images from files"):
            embed_to_file(prepare_pass(saved, images), tmp_path / "a.npy")
        with pytest.raises(InputError, match="ends in"):
            embed_to_file(ready(saved), tmp_path / "a.csv")
        named = replace(open_images("digits", "test"), ids=np.array(["x"] * 450))
        with pytest.raises(InputError, match=r"numbers only, got text in ids; use \.npz"):
            embed_to_file(prepare_pass(saved, named), tmp_path / "a.safetensors")
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="a place to write to"):
            embed_to_file(ready(saved), tmp_path / "file" / "a.npy")

    def test_rows_that_are_not_finite_are_refused_and_not_written(self, tmp_path, saved):
        plan = ready(saved)
        broken = replace(plan, forward=lambda seen: plan.forward(seen) / 0)
        for suffix in ("npy", "npz"):
            with pytest.raises(InputError, match="finite numbers, got NaN or infinity"):
                embed_to_file(broken, tmp_path / f"a.{suffix}")
            assert not (tmp_path / f"a.{suffix}").exists()


class TestCache:
    def test_the_second_time_nothing_is_embedded(self, tmp_path, saved, monkeypatch):
        first = embed(saved, "digits", split="test", cache=tmp_path)
        assert len(list(tmp_path.iterdir())) == 1
        monkeypatch.setattr("nemd_toolkit.encoding._all_rows", None)
        again = embed(saved, "digits", split="test", cache=tmp_path)
        assert torch.equal(again.vectors, first.vectors)
        assert np.array_equal(again.labels, first.labels)
        monkeypatch.setenv("NEMD_CACHE", str(tmp_path))
        assert torch.equal(embed(saved, "digits", split="test").vectors, first.vectors)
        plan, embedded = counting(prepare_pass(saved, "digits", split="test"))
        assert embed_to_file(plan, tmp_path / "out" / "a.npy").from_cache
        assert not embedded

    def test_whatever_changes_the_rows_is_another_entry(self, tmp_path, saved):
        embed(saved, "digits", split="test", cache=tmp_path)
        others = [{"layer": "projector"}, {"transform": "none"}, {"batch": 7},
                  {"precision": "bfloat16"}, {"split": "all"}]  # fmt: skip
        for count, options in enumerate(others, start=2):
            embed(saved, "digits", **{"split": "test", "cache": tmp_path} | options)
            assert len(list(tmp_path.iterdir())) == count
        embed(saved, "digits", split="test", cache=tmp_path, workers=3)
        embed(saved, "digits", split="test", cache=tmp_path, transform=lambda x: x)
        assert len(list(tmp_path.iterdir())) == count

    def test_a_picture_that_was_changed_is_another_entry(self, tmp_path, saved):
        folder, cache = tmp_path / "pictures", tmp_path / "cache"
        folder.mkdir()
        for name, shade in (("a", 10), ("b", 200)):
            Image.new("L", (8, 8), shade).save(folder / f"{name}.png")
        embed(saved, f"folder:{folder}", cache=cache)
        embed(saved, f"folder:{folder}", cache=cache)
        assert len(list(cache.iterdir())) == 1
        Image.new("L", (8, 8), 90).save(folder / "b.png")
        os.utime(folder / "b.png", (1, 1))
        embed(saved, f"folder:{folder}", cache=cache)
        assert len(list(cache.iterdir())) == 2

    def test_a_damaged_entry_is_embedded_anew_with_a_note(self, tmp_path, saved, capsys):
        first = embed(saved, "digits", split="test", cache=tmp_path)
        entry = next(tmp_path.iterdir())
        entry.write_bytes(entry.read_bytes()[:-40])
        with show_progress():
            again = embed(saved, "digits", split="test", cache=tmp_path)
        assert "is damaged: embedding anew" in capsys.readouterr().err
        assert torch.equal(again.vectors, first.vectors)
        assert read_rows(entry) is not None

    def test_a_folder_that_cannot_be_is_refused_and_a_full_disk_is_not(
        self, tmp_path, saved, monkeypatch, capsys
    ):
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="a folder to keep embeddings in"):
            embed(saved, "digits", split="test", cache=tmp_path / "file")

        def full(*arguments):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("nemd_toolkit.embedding_cache.write_rows", full)
        with show_progress():
            assert len(embed(saved, "digits", split="test", cache=tmp_path / "c")) == 450
        assert "not kept for later (No space left" in capsys.readouterr().err


def test_rows_on_disk_are_plain_npy_and_other_files_are_none(tmp_path):
    rows = torch.rand(4, 3)
    write_rows(tmp_path / "a.npy", [rows], 4, 3)
    assert np.array_equal(np.load(tmp_path / "a.npy"), rows.numpy())
    np.save(tmp_path / "b.npy", rows.numpy())
    assert read_rows(tmp_path / "b.npy") is None
    assert read_rows(tmp_path / "missing.npy") is None


def test_a_second_run_into_one_file_is_refused(nemd, saved, tmp_path):
    options = ("--data", "digits", "--split", "test", "--out", "e.npy", "-q")
    with alone_at(tmp_path / "e.npy"):
        code, out, err = nemd("embed", saved, *options)
    assert (code, out) == (2, "")
    assert "e.npy: expected a file that no other run is writing, got one held by process" in err
    assert err.count("\n") == 1
    assert nemd("embed", saved, *options)[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["e.npy"]


def test_nemd_embed_says_the_transform_and_uses_the_cache(nemd, saved, tmp_path):
    words = ("embed", saved, "--data", "digits", "--out", "e.npy", "--cache", "kept")
    code, out, _ = nemd(*words, "--batch", 64, "--workers", 2)
    assert code == 0
    assert "less mean 0.3 over std 0.4; float32" in out
    assert "taken from the cache" in nemd(*words, "--batch", 64)[1]
    code, _, err = nemd(*words, "--workers", -1)
    assert code == 2
    assert "expected 0…256, got -1" in err
    shutil.rmtree(tmp_path / "kept")
