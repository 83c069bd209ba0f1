"""What a page holds for its script: true numbers, in their place, that cannot end the script."""

import io
import json
import sys
from base64 import b64decode
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

import nemd_toolkit as nt
from nemd_toolkit.errors import InputError
from nemd_toolkit.formulas import uniform
from nemd_toolkit.images import open_images
from nemd_toolkit.measures import measure
from nemd_toolkit.measures.instance import uniformity_of_noise
from nemd_toolkit.measures.member_distances import measure_member_distances
from nemd_toolkit.report.embedded import MOST_ROWS, as_script_data, columns_of, picture_data
from nemd_toolkit.report.exemplars import find_exemplars
from nemd_toolkit.report.explorer import MOST_PAIRS, MOST_PROTOTYPES, explorer_data
from nemd_toolkit.report.gallery import gallery
from nemd_toolkit.report.inline_svg import inline_svg
from nemd_toolkit.report.picture import Hover, Picture, places
from tests import worlds


@pytest.fixture(scope="module")
def analysis():
    rows, group = worlds.clusters(900, 24, 9, 0.5)
    return nt.analyze(nt.Embeddings(rows, labels=group.numpy()), prototypes=(12, "labels"))


def a_picture(rows=3, hover=None):
    figure = Figure(figsize=(4, 2))
    axes = figure.add_axes((0.25, 0.5, 0.5, 0.25))  # shares of the figure
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 1)
    data = pd.DataFrame({"x": np.linspace(0, 10, rows), "y": np.linspace(0, 2, rows), "of": "a"})
    return Picture(name="p", title="P", reading="", alt="", figure=figure, data=data, hover=hover)


def test_marks_stand_where_the_axes_put_them():
    at = places(a_picture(hover=Hover(x="x", y="y")))
    np.testing.assert_allclose(at[0], [0.25, 0.5])  # the origin: from the left, from above
    np.testing.assert_allclose(at[1], [0.5, 0.25])
    np.testing.assert_allclose(at[2], [0.75, 0.0], atol=1e-12)
    assert places(a_picture()) is None


def test_marks_of_every_figure_lie_within_it(analysis):
    for picture in gallery(analysis):
        inline_svg(picture.figure, name=picture.name, title="", description="")
        if picture.hover is not None:
            at = places(picture)
            assert np.isfinite(at).any(), picture.name
        assert len(picture.data), picture.name


def test_long_tables_are_taken_at_even_steps_with_both_ends():
    picture = a_picture(rows=20_001, hover=Hover(x="x", y="y", hidden=("y",)))
    found = json.loads(picture_data(picture))
    assert found["rows"] == 20_001
    assert [c["name"] for c in found["columns"]] == ["x", "of"]
    values = found["columns"][0]["values"]
    assert len(values) == MOST_ROWS == len(found["y"])
    assert (values[0], values[-1]) == (0, 10)
    assert found["y"][-1] == 0  # at the upper edge of the figure


def test_columns_keep_numbers_texts_and_gaps():
    table = pd.DataFrame(
        {
            "n": pd.array([1, None, 3, 4], dtype="Int64"),
            "x": [0.123456789, np.nan, np.inf, 2],
            "few": ["b", "b", "a", "a"],
            "many": ["x", "y" * 300, "z", ""],
        }
    )
    n, x, few, many = columns_of(table)
    assert n["values"] == [1, None, 3, 4]
    assert x["values"] == [0.123457, None, None, 2]
    assert [few["words"][code] for code in few["codes"]] == ["b", "b", "a", "a"]
    assert len(many["values"][1]) == 200


@pytest.mark.parametrize("text", ["</script>", "<!--", "&lt;", "\u2028", "]]>"])
def test_no_text_ends_the_script(text):
    made = str(as_script_data({text: [text]}))
    assert json.loads(made) == {text: [text]}
    assert not set(made) & set("<>&\u2028")


def test_explorer_holds_the_pairs_anchors_and_clouds(analysis):
    m = analysis.measures
    found = explorer_data(m, m.clusterings)
    c, shown = m.clusterings[1], found["clusterings"][1]
    names = [shown["names"][at] for at in shown["p"]]
    truth = {
        tuple(sorted(map(int, pair))): value
        for pair, value in zip(c.nemd.table.pairs, c.nemd.table.excess, strict=True)
    }
    assert len(names) == len(truth) == shown["measured"]
    for p, q, excess in zip(shown["p"], shown["q"], shown["excess"], strict=True):
        ends = tuple(sorted((shown["which"][p], shown["which"][q])))
        assert excess == pytest.approx(truth[ends], abs=5e-5)
    steps = np.frombuffer(b64decode(found["points"]), dtype="<i2")
    points = steps.reshape(found["rows"], found["axes"]) * found["step"]
    np.testing.assert_allclose(points, m.projection.points, atol=found["step"])
    owner = np.array([shown["which"][at] for at in shown["owner"]])
    np.testing.assert_array_equal(owner, c.prototypes.assignment.numpy()[m.projection.rows])


def test_explorer_shows_those_of_the_closest_pairs_where_prototypes_are_many():
    count = 1_200
    e = nt.Embeddings(worlds.noise(12 * count, 8), labels=np.repeat(np.arange(count), 12))
    m = measure(e, [nt.prototypes_from_labels(e)])
    [shown] = explorer_data(m, m.clusterings)["clusterings"]
    table = m.clusterings[0].nemd.table
    closest = table.pairs[table.excess.argmin()]
    assert set(closest) <= set(shown["which"])
    assert len(shown["which"]) <= MOST_PROTOTYPES
    assert MOST_PROTOTYPES // 2 <= len(shown["p"]) <= MOST_PAIRS
    assert min(shown["owner"]) == -1


def test_explorer_is_none_without_pairs():
    m = nt.analyze(worlds.equal(100), prototypes=2).measures
    assert explorer_data(m, m.clusterings) is None


@pytest.mark.parametrize("dim", [2, 3, 16, 128])
def test_noise_has_the_uniformity_of_the_uniform_law(dim):
    rows = [uniform(worlds.noise(3_000, dim, seed=seed).double()) for seed in range(4)]
    # 4.5 million pairs a seed: the deviation between seeds is about 1/1500 of the scale
    assert uniformity_of_noise(dim) == pytest.approx(float(sum(rows) / 4), abs=4e-3)


def test_member_distances_count_every_member_at_its_chord(analysis):
    c = analysis.measures.clusterings[1]
    found = measure_member_distances(c.prototypes, c.spread.resultants)
    assert (np.diff(found.resultants) <= 0).all()
    assert found.of == len(found.which) == 9
    np.testing.assert_array_equal(found.counts.sum(axis=1), c.usage.sizes[found.which])
    rows = c.prototypes.embeddings.vectors[c.prototypes.assignment == int(found.which[0])].double()
    middle = rows.mean(0) / rows.mean(0).norm()
    chords = (2 - 2 * rows @ middle).clamp_min(0).sqrt().numpy()
    np.testing.assert_array_equal(np.histogram(chords, found.edges)[0], found.counts[0])


def test_points_lie_in_the_first_bin():
    e = nt.Embeddings(worlds.points(4, 200), labels=None)
    found = measure_member_distances(nt.fit_prototypes(e, 4), np.ones(4))
    np.testing.assert_array_equal(found.counts[:, 0], found.counts.sum(axis=1))


def digits_clustering():
    images = open_images("digits")
    pixels = images.batch(torch.arange(len(images))).flatten(1)
    e = nt.Embeddings(pixels, labels=images.labels, ids=images.ids)
    return measure(e, [nt.fit_prototypes(e, 12)]).clusterings[0], images


def test_exemplars_are_the_nearest_and_farthest_members_of_the_tightest():
    c, images = digits_clustering()
    found = find_exemplars(c, images)
    assert [e.prototype for e in found] == c.spread.which[np.argsort(-c.spread.resultants)][
        :6
    ].tolist()
    first = found[0]
    members = (c.prototypes.assignment == first.prototype).nonzero().squeeze(1)
    rows = c.prototypes.embeddings.vectors[members].double()
    cosines = rows @ (rows.mean(0) / rows.mean(0).norm())
    assert [t.cosine for t in first.nearest] == pytest.approx(cosines.sort().values.flip(0)[:6])
    assert [t.cosine for t in first.farthest] == pytest.approx(cosines.sort().values[:6])
    nearest = int(members[cosines.argmax()])
    assert first.nearest[0].name == str(images.ids[nearest])
    seen = np.asarray(Image.open(io.BytesIO(first.nearest[0].png))) / 255
    np.testing.assert_allclose(seen, images.batch(torch.tensor([nearest]))[0, 0], atol=0.003)


def test_images_that_are_gone_leave_a_note(tmp_path: Path, monkeypatch):
    from pauc_train.loop import fit

    def gone(*_):
        raise InputError("a.png: expected a picture, got none")

    checkpoint = fit("mocov2", "digits", epochs=1, out=tmp_path)
    monkeypatch.setattr("nemd_toolkit.pipeline.find_exemplars", gone)
    found = nt.analyze(checkpoint, "digits", 10)
    assert found.exemplars == ()
    assert any("no images are shown: a.png" in note for note in found.provenance.notes)


def test_a_map_of_neighbours_is_a_picture_more_and_no_verdict(analysis):
    pytest.importorskip("openTSNE")
    rows, group = worlds.clusters(300, 24, 5, 0.2)
    e = nt.Embeddings(rows, labels=group.numpy())
    plain, mapped = (nt.analyze(e, prototypes=5, neighbour_map=kind) for kind in (None, "tsne"))
    assert (plain.verdict, plain.findings) == (mapped.verdict, mapped.findings)
    found = mapped.neighbour_map
    assert found.library.startswith("openTSNE ")
    # tight groups: the nearest on the map is of the same group
    apart = np.linalg.norm(found.points[:, None] - found.points, axis=2)
    np.fill_diagonal(apart, np.inf)
    labels = group.numpy()[found.rows]
    assert (labels[apart.argmin(axis=1)] == labels).mean() > 0.99
    names = [picture.name for picture in gallery(mapped)]
    assert names[-1] == "neighbours"
    assert "--map tsne" in mapped.provenance.command


def test_a_map_without_its_library_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(InputError, match="expected the package umap-learn, found none"):
        nt.analyze(worlds.noise(100, 8), prototypes=4, neighbour_map="umap")
