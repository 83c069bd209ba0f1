import numpy as np
import pytest
import torch

from nemd_toolkit.clustering import kmeans
from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.measures.clouds import draw_clouds
from nemd_toolkit.measures.held_out import TooFewSamples, cross_fitted, members_of
from nemd_toolkit.measures.pair_table import measure_pairs
from nemd_toolkit.prototypes import fit_prototypes
from nemd_toolkit.sphere import chord
from tests import worlds


def test_every_row_is_held_out_once_a_split_and_lies_nearest_to_its_centroid():
    x, _ = worlds.clusters(400, 16, 6, 0.7, seed=3)
    runs = cross_fitted(Embeddings(x), 5, seed=9, splits=3)
    assert len(runs) == 6
    for first, second in zip(runs[::2], runs[1::2], strict=True):
        held = [torch.cat(run.rows).sort().values for run in (first, second)]
        assert torch.equal(torch.cat(held).sort().values, torch.arange(400))
        assert [len(rows) for rows in held] == [200, 200]
    for split in range(3):
        own, run = torch.cat(runs[2 * split + 1].rows).sort().values, runs[2 * split]
        centroids = kmeans(x[own], 5, seed=9 + 104_729 * split).centroids
        for p, rows in enumerate(run.rows):
            assert (chord(x[rows], centroids).argmin(1) == p).all()
            assert not set(rows.tolist()) & set(own.tolist())
    assert not torch.equal(runs[0].rows[0], runs[2].rows[0])


def test_views_of_one_sample_stay_in_one_half():
    x, _ = worlds.clusters(300, 16, 6, 0.7)
    groups = np.random.default_rng(0).permutation(300) // 3
    first, second = cross_fitted(Embeddings(x, groups=groups), 4, seed=0)
    seen = [set(groups[torch.cat(run.rows).numpy()].tolist()) for run in (first, second)]
    assert not seen[0] & seen[1]
    assert [len(s) for s in seen] == [50, 50]


def test_too_few_rows_for_two_halves_are_refused():
    e = Embeddings(worlds.noise(19, 4))
    with pytest.raises(TooFewSamples, match="at least 20 rows for 10 prototypes"):
        cross_fitted(e, 10, seed=0)
    assert len(cross_fitted(e, 9, seed=0)) == 2


def test_clouds_that_kmeans_did_not_see_hardly_depend_on_the_number_of_rows():
    # noise: k-means finds clouds in it, and the further apart the fewer rows it has to fit to
    def excess(count, of):
        clouds = [draw_clouds(run, 8, seed=0) for run in of(Embeddings(worlds.noise(count, 32)))]
        return np.mean([measure_pairs(c, 5000, 0).excess.mean() for c in clouds])

    def seen(e):
        return [members_of(fit_prototypes(e, 24, seed=s)) for s in range(4)]

    def held_out(e):
        return cross_fitted(e, 24, seed=0, splits=2)

    naive = excess(1200, seen) - excess(20_000, seen)
    assert naive > 0.02
    assert abs(excess(1200, held_out) - excess(20_000, held_out)) < naive / 2
