"""Whatever the number of workers: the same rows, in the order of the images."""

import time

import numpy as np
import pytest
import torch
from PIL import Image

from nemd_toolkit.encoding import embed, prepare_pass
from nemd_toolkit.errors import InputError
from nemd_toolkit.images import open_images
from nemd_toolkit.prefetching import prefetched
from tests.test_embedding_export import save


@pytest.mark.parametrize("workers", [0, 1, 3, 8])
def test_results_come_in_the_order_of_the_items_however_long_each_takes(workers):
    waits = [0.02, 0.0, 0.01, 0.0, 0.03, 0.0]

    def work(item):
        time.sleep(waits[item])
        return item

    assert list(prefetched(work, range(6), workers)) == list(range(6))


def test_work_runs_a_bounded_way_ahead():
    started = []
    results = prefetched(lambda item: started.append(item) or item, range(100), 2)
    assert next(results) == 0
    time.sleep(0.05)
    assert len(started) <= 4
    results.close()
    assert len(started) <= 4


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_where_its_result_would_have(workers):
    def work(item):
        if item == 3:
            raise InputError("three")
        return item

    results = prefetched(work, range(9), workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError, match="three"):
        next(results)


def test_workers_compute_on_one_thread_and_the_caller_keeps_its_own():
    usual = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert set(prefetched(lambda _: torch.get_num_threads(), range(8), 3)) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(usual)


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    for row in range(23):
        (folder / str(row % 3)).mkdir(parents=True, exist_ok=True)
        side = 8 + 40 * (row % 2)  # so that some take longer
        pixels = rng.integers(0, 256, (side, side), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / str(row % 3) / f"{row:02}.png")
    return folder


def test_embeddings_do_not_depend_on_the_workers(tmp_path, pictures):
    saved = save(tmp_path / "last.pt", seed=0)
    one = embed(saved, f"folder:{pictures}", batch=4, workers=0)
    for workers in (1, 2, 5):
        other = embed(saved, f"folder:{pictures}", batch=4, workers=workers)
        assert torch.equal(other.vectors, one.vectors)
        assert other.ids.tolist() == one.ids.tolist()
    images = open_images(f"folder:{pictures}", size=(8, 8))
    ready = prepare_pass(saved, images)
    for row in (0, 7, 22):  # each on its own
        alone = ready.forward(ready.decoded(images.batch(torch.tensor([row]))))
        unit = torch.nn.functional.normalize(alone, dim=1)
        assert torch.allclose(one.vectors[row], unit[0], atol=1e-5)


@pytest.mark.parametrize("workers", [0, 3])
def test_all_pictures_cut_short_are_counted_not_only_those_of_a_batch(tmp_path, pictures, workers):
    saved = save(tmp_path / "last.pt", seed=0)
    names = ["0/03.png", "1/13.png", "2/17.png"]
    for name in names:
        whole = (pictures / name).read_bytes()
        (pictures / name).write_bytes(whole[: len(whole) - 1000])
    with pytest.raises(InputError, match=rf"3 of 23 damaged.*\({', '.join(names)}\)"):
        embed(saved, f"folder:{pictures}", batch=4, workers=workers)


def test_bfloat16_is_near_and_the_default_on_the_processor_is_float32(tmp_path):
    saved = save(tmp_path / "last.pt", seed=0)
    ready = prepare_pass(saved, "digits", split="test")
    assert (ready.precision, ready.workers) == ("float32", 1)
    full = embed(saved, "digits", split="test").vectors
    half = embed(saved, "digits", split="test", precision="bfloat16").vectors
    assert not torch.equal(half, full)
    assert float((half * full).sum(1).min()) > 0.99


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float16"}, "float32, bfloat16"),
        ({"workers": 257}, "expected 0…256, got 257"),
        ({"workers": -1}, "expected 0…256, got -1"),
    ],
)
def test_other_options_are_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        embed(save(tmp_path / "last.pt", seed=0), "digits", **options)
