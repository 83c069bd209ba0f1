"""What a report says was sampled."""

from functools import partial

import pytest

from nemd_toolkit.measures.nemd import measure_nemd
from nemd_toolkit.pipeline import analyze
from tests import worlds


@pytest.mark.parametrize(("most", "said"), [(7, True), (28, False)])
def test_notes_say_which_pairs_were_sampled(monkeypatch, most, said):
    few = partial(measure_nemd, max_pairs=most)
    monkeypatch.setattr("nemd_toolkit.measures.summary.measure_nemd", few)
    x, _ = worlds.clusters(600, 16, 8, 0.5)
    found = analyze(x, prototypes=8)
    n = found.measures.nemd.n
    note = (
        "NEMD measured on a sample of the pairs of prototypes: 7 of 28 (K=8); and on two samples "
        f"of {n} members of each prototype in them"
    )
    assert (note in found.provenance.notes) == said


def test_notes_say_how_many_rows_kmeans_was_fitted_to(monkeypatch):
    monkeypatch.setattr("nemd_toolkit.clustering._ENOUGH_ROWS", 300)
    x, _ = worlds.clusters(900, 16, 5, 0.5)
    assert analyze(x, prototypes=5).provenance.notes == (
        "k-means fitted to a sample of the 900 rows: 300 (K=5)",
    )
