"""The score by energy distances: known answers, an independent reference, and NEMD's own score."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

import nemd_toolkit as nt
from nemd_toolkit.measures import energy_score as module
from nemd_toolkit.measures.energy_score import energy_score
from tests import worlds


def test_uniform_rows_score_0_and_points_1():
    assert energy_score(worlds.noise(1024, 32, seed=5), 16).value == pytest.approx(0, abs=0.01)
    found = energy_score(worlds.points(16, 1024, 32), 16)
    assert (found.value, found.low) == pytest.approx((1, 1), abs=1e-3)


def test_it_is_the_energy_between_anchors_by_loops():
    """Half a = rows of the first half with their own k-means, written out again with numpy."""
    x = worlds.clusters(256, 8, 5, 0.6, seed=3)[0]
    halves = module._both_halves(x, 8, 0)
    order = torch.randperm(256, generator=torch.Generator().manual_seed(0))
    means = []
    for own, other in ((order[:128], order[128:]), (order[128:], order[:128])):
        centroids = module.kmeans(x[own], 8, seed=0, iterations=10).centroids
        held = x[other].double().numpy()
        group = (held @ centroids.double().numpy().T).argmax(1)
        clouds = [held[group == p] for p in range(8) if (group == p).sum() >= 4]
        energies = []
        for a, first in enumerate(clouds):
            for second in clouds[a + 1 :]:
                within = [cdist(c, c).sum() / (len(c) * (len(c) - 1)) for c in (first, second)]
                energies.append(cdist(first, second).mean() - np.mean(within))
        means.append(np.mean(energies))
    assert [half.means()[0] for half in halves] == pytest.approx(means, rel=1e-3)


@pytest.mark.parametrize("dim", [16, 128])
def test_it_follows_nemds_score_from_below_where_prototypes_are_enough(dim):
    for spread in (0.2, 0.5, 0.9, 1.6):
        x = worlds.clusters(2048, dim, 12, spread)[0]
        nemd = nt.nemd(nt.fit_prototypes(nt.Embeddings(x), 24), splits=1).score.value
        assert -0.06 < energy_score(x[:1024], 24).value - nemd < 0.01


def test_with_fewer_prototypes_than_groups_it_is_too_low_and_never_too_high():
    x = worlds.clusters(2048, 32, 40, 0.2)[0]
    nemd = nt.nemd(nt.fit_prototypes(nt.Embeddings(x), 10), splits=1).score.value
    assert energy_score(x, 10).value < nemd - 0.1


def test_a_rotation_changes_nothing_and_the_same_seed_gives_the_same_number():
    x = worlds.clusters(512, 16, 8, 0.7)[0]
    g = torch.Generator().manual_seed(1)
    turn = torch.linalg.qr(torch.randn(16, 16, generator=g))[0]
    assert energy_score(x, 8) == energy_score(x, 8)
    assert energy_score(x @ turn, 8).value == pytest.approx(energy_score(x, 8).value, abs=1e-3)


def test_no_scale_and_too_few_rows_give_no_score():
    assert energy_score(worlds.equal(512, 16), 8) is None
    assert energy_score(worlds.noise(24, 16), 8) is None
    with pytest.raises(nt.InputError, match="ask for fewer"):
        energy_score(worlds.noise(10, 16), 8)
