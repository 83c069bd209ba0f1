"""CPC and CPC v2: losses against the paper and the listing, and what each part may see."""

import math

import numpy as np
import pytest
import torch

from nemd_toolkit.errors import InputError
from pauc_train.method import Batch, Setup, total
from pauc_train.methods import METHODS
from pauc_train.patch_views import drop_colours, flip_patches, light_patches, subcrop_patches
from pauc_train.patches import PatchEncoder, PatchShape, apart, cut, mosaic
from pauc_train.prediction import Predictors, RowContext, patch_nce
from pauc_train.recipe import load_config
from pauc_train.views import Draws


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def draws(count, seed=0):
    return Draws(seeded(seed), count)


@pytest.fixture
def awake():
    """Weights above zero, away from their start: no ReLU hides what a part may see."""

    def shake(module):
        with torch.no_grad():
            for p in module.parameters():
                p.copy_(0.1 + 0.1 * torch.rand(p.shape, generator=seeded(p.numel())))
        return module

    return shake


def start(name, overrides=None, size=(8, 8), channels=1):
    config = load_config(name, "digits", overrides or {})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return METHODS[name].start(
            Setup(config=config, count=40, channels=channels, size=size, generator=seeded())
        )


def batch_for(training, name, count=5, channels=1, side=8):
    images = torch.rand(count, channels, side, side, generator=seeded(1))
    views = tuple(view(images, draws(count)) for view in METHODS[name].views(training.config))
    return Batch(views=views, indices=torch.arange(count), epoch=0, progress=0.0)


def slow_patch_nce(predicted, targets, step):
    """Eq. 4, one prediction after another, with all patches of the batch as candidates."""
    predicted, targets = predicted.detach(), targets.detach()
    b, _, rows, columns = targets.shape
    losses = []
    for i in range(b):
        for r in range(rows - step):
            for c in range(columns):
                guess = predicted[i, :, r, c]
                f = {
                    (j, y, x): math.exp(float(guess @ targets[j, :, y, x]))
                    for j in range(b)
                    for y in range(rows)
                    for x in range(columns)
                }
                losses.append(-math.log(f[i, r + step, c] / sum(f.values())))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_patch_nce_is_equation_4(step):
    predicted, targets = torch.randn(2, 3, 4, 4, 5, generator=seeded())
    value = patch_nce(predicted, targets, step=step)
    assert float(value) == pytest.approx(slow_patch_nce(predicted, targets, step), rel=1e-5)


def test_patch_nce_by_hand():
    """Latents are zero but one: of 4 candidates the right one has score 2, or all have 0."""
    targets = torch.zeros(1, 1, 2, 2)
    targets[0, 0, 1, 0] = 1.0
    value = patch_nce(2 * torch.ones(1, 1, 2, 2), targets, step=1)
    right, wrong = math.log((math.e**2 + 3) / math.e**2), math.log(math.e**2 + 3)
    assert float(value) == pytest.approx((right + wrong) / 2, rel=1e-6)


def listing_labels(b, rows, columns, i):
    """Hénaff et al., appendix: index arithmetic of the listing's targets."""
    element = np.arange(b * (rows - i - 1) * columns)
    each = (rows - i - 1) * columns
    return element // each * rows * columns + (i + 1) * columns + element % each


def test_patch_nce_takes_the_targets_of_the_second_versions_listing():
    """Every target is the only one of its direction, so that the argmax tells which was taken."""
    b, rows, columns, i = 2, 5, 3, 2
    count = b * rows * columns
    every = torch.eye(count).view(b, rows, columns, count).permute(0, 3, 1, 2)
    labels = torch.from_numpy(listing_labels(b, rows, columns, i))
    guesses = torch.zeros(b, rows, columns, count)
    guesses[:, : rows - i - 1] = 50.0 * torch.eye(count)[labels].view(b, -1, columns, count)
    assert float(patch_nce(guesses.permute(0, 3, 1, 2), every, step=i + 1)) < 1e-6


def test_the_context_of_a_row_sees_it_and_those_above_and_no_row_below(awake):
    net = awake(RowContext(6, inner=5, layers=5)).double()
    latents = torch.rand(1, 6, 7, 7, generator=seeded()).double()
    whole = net(latents)
    for row in range(7):
        changed = latents.clone()
        changed[:, :, row, 3] += 1.0
        moved = (net(changed) != whole).any(1)[0].any(1)  # rows
        # five blocks reach five rows up
        assert moved.tolist() == [row <= other <= row + 5 for other in range(7)]


def test_each_direction_predicts_from_its_own_side(awake):
    """A changed latent moves predictions below it, left of it, above it, right of it."""
    net = awake(Predictors(4, outputs=3, inner=4, layers=3, steps=(1, 2), directions=4)).double()
    latents = torch.rand(1, 4, 5, 5, generator=seeded()).double()
    changed = latents.clone()
    changed[:, :, 2, 2] += 1.0
    moved = (net(changed) != net(latents)).any(3).any(2)[0]  # (directions, 5, 5)
    reach = moved.nonzero()
    sides = [reach[reach[:, 0] == way][:, 1:] - 2 for way in range(4)]
    down, left, up, right = sides
    assert (down[:, 0].min(), down[:, 0].max()) == (0, 2)
    assert (up[:, 0].min(), up[:, 0].max()) == (-2, 0)
    assert {int(left[:, 1].min()), int(left[:, 1].max())} == {-2, 0}
    assert {int(right[:, 1].min()), int(right[:, 1].max())} == {0, 2}


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_a_latent_sees_its_patch_alone(norm, awake):
    shape = PatchShape(
        patch=4, channels=1, blocks=(1, 2), inner=(4, 4), widths=(8, 8), stem="small", norm=norm
    )
    net = awake(PatchEncoder(shape)).double()
    grids = torch.rand(2, 1, 12, 12, generator=seeded()).double()
    changed = grids.clone()
    changed[0, 0, 5, 9] += 1.0  # patch in row 1 and column 2 of the first image
    moved = (net(changed) != net(grids)).any(1)
    assert moved.nonzero().tolist() == [[0, 1, 2]]


def test_patches_overlap_and_come_apart():
    images = torch.arange(64.0).view(1, 1, 8, 8)
    parts = apart(cut(images, patch=4, stride=2), 4)
    assert parts.shape == (1, 3, 3, 1, 4, 4)
    for r in range(3):
        for c in range(3):
            assert torch.equal(
                parts[0, r, c, 0], images[0, 0, 2 * r : 2 * r + 4, 2 * c : 2 * c + 4]
            )
    assert torch.equal(apart(mosaic(parts), 4), parts)


def test_a_part_of_a_patch_is_moved_into_its_middle():
    parts = 1 + torch.arange(32 * 36.0).view(32, 1, 1, 1, 6, 6).expand(-1, 2, 3, 1, 6, 6)
    moved = apart(subcrop_patches(mosaic(parts), patch=6, margin=2, draws=draws(32)), 6)
    assert not moved[..., [0, 5], :].any()
    assert not moved[..., :, [0, 5]].any()
    seen = set()
    for before, after in zip(parts.flatten(0, 3), moved.flatten(0, 3), strict=True):
        places = [
            (y, x)
            for y in range(3)
            for x in range(3)
            if torch.equal(after[1:5, 1:5], before[y : y + 4, x : x + 4])
        ]
        assert len(places) == 1
        seen.update(places)
    assert len(seen) == 9


def test_patch_views_change_each_patch_by_itself():
    grids = torch.rand(16, 3, 8, 8, generator=seeded()) / 2 + 0.1
    before = apart(grids, 4)
    flipped = apart(flip_patches(grids, patch=4, probability=0.5, draws=draws(16)), 4)
    mirrored = (flipped == before.flip(-1)).flatten(3).all(3)
    assert ((flipped == before).flatten(3).all(3) ^ mirrored).all()
    assert 10 < int(mirrored.sum()) < 54
    dropped = apart(drop_colours(grids, patch=4, draws=draws(16)), 4)
    kept = (dropped == before).flatten(4).all(4)  # (b, r, k, 3)
    assert (kept.sum(3) == 1).all()
    assert torch.equal((dropped != 0).flatten(4).any(4), kept)
    assert kept.flatten(0, 2).any(0).all()
    lit = apart(light_patches(grids, patch=4, strength=0.4, draws=draws(16)), 4)
    ratio = lit / before
    torch.testing.assert_close(ratio, ratio[..., :1, :1, :1].expand_as(ratio))
    assert 0.6 <= float(ratio.min()) < 0.7
    assert 1.3 < float(ratio.max()) <= 1.4 + 1e-5


@pytest.mark.parametrize("name", ["cpc", "cpcv2"])
def test_views_of_colour_images_are_mosaics_in_range(name):
    config = load_config(name, "digits", {"views": "photos"})
    images = torch.rand(4, 3, 8, 8, generator=seeded())
    (view,) = METHODS[name].views(config)
    grids = view(images, draws(4))
    assert grids.shape == (4, 3, 12, 12)
    assert 0 <= float(grids.min()) <= float(grids.max()) <= 1
    assert torch.equal(grids, view(images, draws(4)))
    channels = apart(grids, 4).flatten(4).any(4).sum(3)
    if name == "cpc":  # the same in all channels: no colour
        torch.testing.assert_close(grids, grids[:, :1].expand_as(grids))
    else:  # one channel
        assert int(channels.max()) == 1


@pytest.mark.parametrize("name", ["cpc", "cpcv2"])
def test_the_loss_is_the_mean_over_directions_and_steps(name):
    training = start(name, {"first_step": 1, "last_step": 2})
    batch = batch_for(training, name)
    latents = training.encoder(batch.views[0])
    targets = training.target(latents)
    ways = training.scale * training.predictors(latents)
    assert ways.shape[1:3] == ({"cpc": 1, "cpcv2": 4}[name], 2)
    losses = [
        slow_patch_nce(
            torch.rot90(ways[:, way, step - 1], way, (2, 3)),
            torch.rot90(targets, way, (2, 3)),
            step,
        )
        for way in range(ways.shape[1])
        for step in (1, 2)
    ]
    value = total(training.loss(batch, seeded())).item()
    assert value == pytest.approx(sum(losses) / len(losses), rel=1e-4)


@pytest.mark.parametrize("name", ["cpc", "cpcv2"])
def test_gradients_reach_everything(name):
    training = start(name)
    total(training.loss(batch_for(training, name), seeded())).backward()
    silent = {
        n for n, p in training.named_parameters() if p.grad is None or not p.grad.abs().max() > 0
    }
    # residuals start at zero in CPC: their inner layers are moved from the second step on
    assert all(name == "cpc" and ".conv3." not in n and "encoder.layers" in n for n in silent)


def test_features_are_the_mean_latents_of_the_overlapping_patches():
    training = start("cpcv2").eval()
    images = torch.rand(3, 1, 8, 8, generator=seeded())
    alone = [
        training.encoder(images[:, :, 2 * r : 2 * r + 4, 2 * c : 2 * c + 4])[..., 0, 0]
        for r in range(3)
        for c in range(3)
    ]
    torch.testing.assert_close(training.features(images), torch.stack(alone).mean(0))


def test_norms_are_as_the_papers_have_them():
    kinds = {name: {type(m).__name__ for m in start(name).modules()} for name in ("cpc", "cpcv2")}
    assert "GroupNorm" in kinds["cpcv2"]  # over one group: layer norm
    assert not {"GroupNorm", "BatchNorm2d"} & kinds["cpc"]
    assert "BatchNorm2d" not in kinds["cpcv2"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"patch_size": 8}, "two rows and columns of patches"),
        ({"last_step": 3}, "first_step .* to 2 in a grid of 3x3 patches, got 3"),
        ({"first_step": 2, "last_step": 1}, "got 1"),
        ({"patch_margin": 4}, "less than patch_size, got 4 and 4"),
        ({"widths": [8]}, "as many in inner_widths and widths, got 2, 2 and 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(overrides, message):
    with pytest.raises(InputError, match=message):
        start("cpc", overrides)
