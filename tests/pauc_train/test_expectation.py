"""The E-step against PCL's definitions in plain numpy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nemd_toolkit.clustering import kmeans
from nemd_toolkit.errors import InputError
from pauc_train.expectation import PrototypeConfig, cluster


def embeddings(n=60, d=6):
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(5, d))
    points = centres[rng.integers(0, 5, n)] + 0.4 * rng.normal(size=(n, d))
    return F.normalize(torch.from_numpy(points).float(), dim=1)


def pcl_phi(points, means, assignment, temperature):
    """PCL's pcl/main: density per cluster, percentiles, scaling; written anew in numpy."""
    distances = [
        [np.sum((points[i] - means[c]) ** 2) for i in np.flatnonzero(assignment == c)]
        for c in range(len(means))
    ]
    density = np.zeros(len(means))
    for c, squared in enumerate(distances):
        if len(squared) > 1:
            density[c] = np.mean(np.sqrt(squared)) / np.log(len(squared) + 10)
    largest = density.max()
    for c, squared in enumerate(distances):
        if len(squared) <= 1:
            density[c] = largest
    density = density.clip(np.percentile(density, 10), np.percentile(density, 90))
    return temperature * density / density.mean()


@pytest.mark.parametrize("clusters", [(5,), (4, 9), (3, 25, 40)])
def test_phi_and_assignment_are_pcls(clusters):
    points = embeddings()
    found = cluster(points, PrototypeConfig(clusters=clusters), mean_phi=0.2)
    assert [c.k for c in found] == list(clusters)
    for seed, clustering in enumerate(found):
        raw = (
            kmeans(points, clustering.k, seed=seed, spherical=False, iterations=20, restarts=5)
            .centroids.double()
            .numpy()
        )
        x = points.double().numpy()
        squared = ((x[:, None] - raw[None]) ** 2).sum(2)  # (n, k)
        assignment = squared.argmin(1)
        assert (clustering.assignment.numpy() == assignment).all()
        expected = pcl_phi(x, raw, assignment, 0.2)
        np.testing.assert_allclose(clustering.phi.numpy(), expected, rtol=1e-4)
        unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        np.testing.assert_allclose(clustering.centroids.numpy(), unit, rtol=1e-4, atol=1e-6)


def test_the_many_clusters_case_holds_singletons_and_clips():
    clustering = cluster(embeddings(), PrototypeConfig(clusters=(40,)), mean_phi=0.2)[0]
    sizes = torch.bincount(clustering.assignment, minlength=40)
    assert int((sizes == 1).sum()) > 5
    # singletons take the largest density, which the 90th percentile then may clip; all agree
    assert len(clustering.phi[sizes == 1].unique()) == 1
    assert float(clustering.phi.mean()) == pytest.approx(0.2, rel=1e-5)
    assert clustering.used == int((sizes > 0).sum())


def test_the_same_embeddings_give_the_same_clusterings():
    config = PrototypeConfig(clusters=(4, 7))
    first, second = (
        cluster(embeddings(), config, mean_phi=0.2),
        cluster(embeddings(), config, mean_phi=0.2),
    )
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.centroids, b.centroids)
        assert torch.equal(a.assignment, b.assignment)


def test_total_collapse_is_an_error_that_says_so():
    points = torch.ones(50, 4) / 2
    with pytest.raises(InputError, match="collapse"):
        cluster(points, PrototypeConfig(clusters=(3,)), mean_phi=0.2)


def test_more_prototypes_than_images_is_an_error():
    with pytest.raises(InputError, match="60"):
        cluster(embeddings(), PrototypeConfig(clusters=(61,)), mean_phi=0.2)


def test_stored_form_holds_what_pcl_omits():
    stored = cluster(embeddings(), PrototypeConfig(clusters=(4,)), mean_phi=0.2)[0].plain()
    assert {key: type(value) for key, value in stored.items()} == {
        "k": int,
        "centroids": torch.Tensor,
        "assignment": torch.Tensor,
        "phi": torch.Tensor,
        "objective": float,
        "used": int,
    }
    assert stored["assignment"].dtype == torch.int64
