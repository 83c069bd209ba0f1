"""Puzzles hold each cell's pixels once; PIRL's terms against loops, by hand."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from nemd_toolkit.errors import InputError
from pauc_train.jigsaw import JigsawHead, jigsaw, patches
from pauc_train.method import Batch
from pauc_train.views import Draws
from tests.pauc_train.methods.small import started


def same(images, draws):
    return images


def draws_of(count):
    return Draws(torch.Generator().manual_seed(4), count)


@pytest.mark.parametrize(("side", "grid", "patch"), [(8, 2, 3), (28, 2, 10), (225, 3, 56)])
def test_a_patch_lies_anywhere_in_its_cell_and_each_cell_has_one(side, grid, patch):
    """Every pixel is its own number, so that a patch says where it comes from."""
    numbers = torch.arange(side * side, dtype=torch.float64).view(1, 1, side, side)
    images = numbers.expand(40, 1, side, side)
    found = patches(jigsaw(same, grid)(images, draws_of(40)), grid)
    assert found.shape == (40 * grid**2, 1, patch, patch)
    corners = found[:, 0, 0, 0].long()
    y, x = corners // side, corners % side
    window = numbers[0, 0, :patch, :patch]
    assert torch.equal(found[:, 0], window + corners[:, None, None])
    cell = side // grid
    assert bool((y % cell <= cell - patch).all() and (x % cell <= cell - patch).all())
    if cell - patch < 4:  # every place is met
        assert set((y % cell).tolist()) == set(range(cell - patch + 1))
    cells = (y // cell * grid + x // cell).view(40, -1)
    assert torch.equal(cells.sort(1).values, torch.arange(grid**2).expand(40, -1))
    assert len({tuple(row) for row in cells.tolist()}) > min(math.factorial(grid**2), 40) / 2


def test_colours_of_a_pixel_stay_together():
    images = torch.arange(64.0).view(1, 1, 8, 8).expand(2, 3, 8, 8) + torch.tensor(
        [0.0, 100.0, 200.0]
    ).view(3, 1, 1)
    found = patches(jigsaw(same, 2)(images, draws_of(2)), 2)
    assert torch.equal(found[:, 1], found[:, 0] + 100)
    assert torch.equal(found[:, 2], found[:, 0] + 200)


def test_cells_too_small_for_a_patch_are_refused():
    with pytest.raises(InputError, match="grid: expected cells of at least 2 pixels, got 5"):
        jigsaw(same, 5)(torch.zeros(1, 1, 8, 8), draws_of(1))


def test_the_head_puts_an_images_patches_side_by_side():
    head = JigsawHead([6, 4], 3)
    features = torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for image, embedding in enumerate(head(features)):
            parts = [head.fc1[0](row) for row in features[3 * image : 3 * image + 3]]
            torch.testing.assert_close(embedding, head.fc2(torch.cat(parts)))


def pirl_batch():
    generator = torch.Generator().manual_seed(1)
    views = torch.randn(6, 1, 8, 8, generator=generator), torch.randn(6, 1, 12, 3)
    return Batch(views=views, indices=torch.arange(6) * 5, epoch=0, progress=0.0)


def test_pirls_image_and_puzzle_both_look_for_the_images_vector_in_the_bank():
    training = started(
        "pirl", objective="softmax", bank_negatives=0, embedding_dim=8, grid=2, temperature=0.5,
        jigsaw_weight=0.3,
    )  # fmt: skip
    before = copy.deepcopy(training)
    batch = pirl_batch()
    terms = training(batch, torch.Generator())
    with torch.no_grad():
        image = F.normalize(before.head(before.encoder(batch.views[0])), dim=1)
        parts = before.encoder(patches(batch.views[1], 2))
        puzzle = F.normalize(before.head_jig(parts), dim=1)
    for name, queries, weight in (("image", image, 0.7), ("jigsaw", puzzle, 0.3)):
        expected = 0.0
        for query, own in zip(queries, batch.indices.tolist(), strict=True):
            powers = [math.exp(float(query @ vector) / 0.5) for vector in before.bank.memory]
            expected -= math.log(powers[own] / sum(powers)) / 6
        assert terms[name].value.item() == pytest.approx(expected, rel=1e-4)
        assert terms[name].weight == pytest.approx(weight)
    moved = F.normalize(before.bank.memory[batch.indices] + image, dim=1)
    torch.testing.assert_close(training.bank.memory[batch.indices], moved)  # the image's only
