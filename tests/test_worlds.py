"""Generated worlds have the property that they claim, and more of it at a higher severity."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.findings import CHECKS
from nemd_toolkit.prototypes import prototypes_from_vectors
from tests import worlds

SETTING = worlds.Setting(count=1500, dim=64, groups=20, seed=3)
LADDER = (0.0, 0.25, 0.5, 0.75, 1.0)


def made(kind, severity, variant=None, **changed):
    setting = worlds.Setting(**{**{s: getattr(SETTING, s) for s in SETTING.__slots__}, **changed})
    return worlds.make(kind, severity, setting, variant)


def within(world):
    """Mean length of the groups' means: 1 where every group is a point."""
    groups = range(int(world.group.max()) + 1)
    return float(np.mean([world.rows[world.group == g].double().mean(0).norm() for g in groups]))


def variance(world):
    return float(1 - world.rows.double().mean(0).square().sum())


def repeated(world, within=1e-9):
    """Own vectors whose cosine distance to an earlier one is at most that."""
    own = world.own.double()
    near = 1 - own @ own.T <= within + 1e-7  # float32 vectors
    return int(near.tril(-1).any(1).sum())


def without_members(world):
    found = prototypes_from_vectors(Embeddings(world.rows), world.own)
    return len(world.own) - len(found.used)


def entropy(world):
    shares = torch.bincount(world.group).double() / len(world.group)
    return float(-(shares * shares.log()).sum())


def rank(world):
    return int(torch.linalg.matrix_rank(world.rows.double(), rtol=1e-5))


def tail(world):
    """Share of squared length outside the two strongest directions."""
    squares = torch.linalg.svdvals(world.rows.double()).square()
    return float(squares[2:].sum() / squares.sum())


PROPERTIES = {  # what rises with the severity
    ("coagulated", "k-means"): within,
    ("coagulated", "own"): within,
    ("duplicated", "exact"): repeated,
    ("duplicated", "near"): lambda w: repeated(w, 1e-4),
    ("duplicated", "apart"): lambda w: repeated(w, 0.01),
    ("total", "k-means"): lambda w: -variance(w),
    ("dimensional", "rank"): lambda w: -rank(w),
    ("dimensional", "power law"): lambda w: -tail(w),
    ("cone", "k-means"): lambda w: -variance(w),
    ("dead", "own"): without_members,
    ("imbalanced", "own"): lambda w: -entropy(w),
    ("long tail", "k-means"): lambda w: -entropy(w),
    ("noise", "k-means"): lambda w: -within(w),
    ("small", "members"): lambda w: -len(w.rows),
    ("small", "samples"): lambda w: -len(w.rows),
    ("surplus", "k-means"): lambda w: -int(w.group.max()),
}


@pytest.mark.parametrize(("kind", "variant"), PROPERTIES)
def test_severity_is_monotone_and_starts_from_health(kind, variant):
    values = [PROPERTIES[kind, variant](made(kind, severity, variant)) for severity in LADDER]
    assert all(a < b for a, b in itertools.pairwise(values)), values
    begin = made(kind, 0.0, variant)
    if kind not in ("small", "surplus"):
        torch.testing.assert_close(begin.rows, made("healthy", 0.0).rows, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", worlds.KINDS)
def test_same_seed_same_bytes_and_unit_rows(kind):
    for variant in worlds.VARIANTS[kind]:
        first, again = made(kind, 0.6, variant), made(kind, 0.6, variant)
        other = made(kind, 0.6, variant, seed=4)
        assert torch.equal(first.rows, again.rows)
        assert not torch.equal(first.rows, other.rows)
        assert (first.own is None) == (again.own is None)
        if first.own is not None:
            assert torch.equal(first.own, again.own)
        torch.testing.assert_close(first.rows.norm(dim=1), torch.ones(len(first.rows)))
        assert torch.bincount(first.group).min() > 0


def test_a_drawn_world_is_that_of_its_seed():
    for kind in worlds.KINDS:
        first, again = worlds.draw(kind, 0.4, 11), worlds.draw(kind, 0.4, 11)
        assert (first.setting, first.variant) == (again.setting, again.variant)
        assert torch.equal(first.rows, again.rows)
        assert first.setting != worlds.draw(kind, 0.4, 12).setting


def test_every_kind_has_an_answer():
    known = {about.code for about, _ in CHECKS} | {"NEMD004", "NEMD005"}
    for kind in worlds.KINDS:
        assert 0 <= worlds.STATED[kind] < 1
        for variant in worlds.VARIANTS[kind]:
            world = made(kind, 1.0, variant)
            assert world.codes <= known
            assert bool(world.codes) == (world.state != "healthy")


@pytest.mark.parametrize("severity", [0.0, 0.4, 0.8])
def test_noise_within_groups_shrinks_as_said(severity):
    spread = 0.9 * (1 - severity)  # mean cosine to the centre: 1/√(1 + s²), up to 1/d
    world = made("coagulated", severity, count=20_000)
    assert within(world) == pytest.approx(1 / np.sqrt(1 + spread**2), abs=0.01)


def test_coagulation_ends_in_one_point_for_each_group():
    assert len(made("coagulated", 1.0).rows.unique(dim=0)) == 20


@pytest.mark.parametrize("severity", [0.2, 0.6, 1.0])
@pytest.mark.parametrize(("variant", "away"), [("exact", 0.0), ("near", 1e-4), ("apart", 0.01)])
def test_a_share_of_own_prototypes_are_copies(severity, variant, away):
    world = made("duplicated", severity, variant)
    assert len(world.own) == 20
    assert repeated(world, away) == round(severity * 15)
    if variant == "apart":
        assert repeated(world, 0.001) == 0


def test_variance_falls_to_nothing_under_total_collapse():
    healthy = variance(made("healthy", 0.0))
    for severity in (0.25, 0.5):
        share = 10 ** (-8 * severity)
        assert variance(made("total", severity)) == pytest.approx(share * healthy, rel=0.1)
    assert len(made("total", 1.0).rows.unique(dim=0)) == 1


def test_rank_falls_geometrically_to_two():
    for severity in (0.0, 0.5, 1.0):
        assert rank(made("dimensional", severity, "rank")) == np.ceil(
            64 ** (1 - severity) * 2**severity - 1e-9
        )


def test_a_power_law_weighs_coordinates():
    rows = made("dimensional", 0.5, "power law").rows
    assert F.cosine_similarity(
        rows * torch.arange(1.0, 65) ** 3, made("healthy", 0.0).rows
    ).min() > (1 - 1e-5)


def test_the_common_direction_of_a_cone_carries_its_share():
    for severity in (0.5, 1.0):
        share = 1 - variance(made("cone", severity))
        assert share == pytest.approx(0.98 * severity, abs=0.1)


@pytest.mark.parametrize("severity", [0.2, 0.6, 1.0])
def test_dead_prototypes_get_no_row(severity):
    assert without_members(made("dead", severity)) == round(severity * 15)


def test_sizes_of_an_imbalanced_world_follow_zipf():
    sizes = torch.bincount(made("imbalanced", 0.5, count=50_000).group).double()
    expected = 1 / torch.arange(1.0, 21)
    torch.testing.assert_close(
        sizes / sizes.sum(), (expected / expected.sum()).double(), rtol=0.06, atol=1e-3
    )


def test_noise_ends_without_groups():
    members = 1500 / 20
    assert within(made("noise", 1.0)) == pytest.approx(1 / np.sqrt(members), rel=0.15)


def test_small_worlds_end_with_two_members_or_three_samples():
    ended = made("small", 1.0, "members")
    assert len(ended.rows) == 2 * max(ended.setting.numbers)
    assert len(made("small", 1.0, "samples").rows) == 3


def test_a_mixed_world_has_both_properties():
    world = made("mixed", 0.8, "coagulated+dead")
    assert without_members(world) == 12
    assert within(world) == pytest.approx(1 / np.sqrt(1 + 0.18**2), abs=0.01)
    assert world.codes == {"NEMD002", "NEMD004"}


def test_the_largest_dead_worlds_still_have_dimensions_enough():
    drawn = [worlds.draw("dead", 0.4, seed, large=True).setting for seed in range(40)]
    assert max(s.count for s in drawn) > 62_500  # 64 dimensions are more numbers than others have
    assert min(s.dim for s in drawn) >= 64
