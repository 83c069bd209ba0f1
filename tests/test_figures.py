"""What figures draw: the numbers of the measures, readable, and the same bytes every time."""

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.figures.duplicates import draw_duplicates
from nemd_toolkit.figures.matrix import draw_matrix, filled
from nemd_toolkit.figures.pairs import draw_pairs
from nemd_toolkit.figures.resultants import draw_resultants
from nemd_toolkit.figures.saving import png_bytes, svg_text
from nemd_toolkit.figures.scale import Row, draw_scale, rows_of
from nemd_toolkit.figures.spectrum import draw_spectra
from nemd_toolkit.figures.sphere_map import draw_map
from nemd_toolkit.figures.style import plain
from nemd_toolkit.figures.usage import draw_usage
from nemd_toolkit.measures import Interval, Measures, measure
from nemd_toolkit.measures.order import seriate
from nemd_toolkit.prototypes import fit_prototypes

SCORE = Interval(value=0.33, low=0.25, high=0.5)


@pytest.fixture(scope="module")
def measures() -> Measures:
    generator = torch.Generator().manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(8, 16, generator=generator), dim=1)
    rows = torch.randint(0, 8, (600,), generator=generator)
    points = centres[rows] + 0.8 * torch.randn(600, 16, generator=generator) / 4
    embeddings = Embeddings(points)
    return measure(embeddings, [fit_prototypes(embeddings, k) for k in (12, 6)])


@pytest.fixture(scope="module")
def figures(measures: Measures) -> dict[str, Figure]:
    coarse = measures.clusterings[1]
    assert coarse.nemd is not None
    order = coarse.spread.which[seriate(coarse.prototypes.mean_directions().numpy())]
    return {
        "scale": draw_scale(rows_of(measures), warning=0.6, issue=0.75),
        "matrix": draw_matrix(coarse.nemd, order),
        "pairs": draw_pairs(coarse.nemd),
        "spectrum": draw_spectra([("these embeddings", measures.spectrum)]),
        "usage": draw_usage(coarse.usage),
        "resultants": draw_resultants(measures.clusterings),
        "map": draw_map(measures.projection, coarse.prototypes, np.arange(6)),
        "duplicates": draw_duplicates(measures.clusterings, epsilon=0.025, share=0.1),
    }


def line(figure: Figure, label: str) -> np.ndarray:
    found = [
        drawn
        for axes in figure.axes
        for drawn in axes.lines
        if label in (drawn.get_label(), drawn.get_gid())
    ]
    assert len(found) == 1, label
    return np.asarray(found[0].get_xydata())


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_scale_marks_the_scores_and_the_thresholds_it_was_given() -> None:
    rows = [Row(name="all", score=SCORE, strong=True), Row(name="K=2", score=None)]
    figure = draw_scale(rows, warning=0.61, issue=0.77)
    assert line(figure, "score-0")[0, 0] == SCORE.value
    assert line(figure, "threshold-warning")[0, 0] == 0.61
    assert line(figure, "threshold-issue")[0, 0] == 0.77
    ends = [tuple(drawn.get_xdata()) for drawn in figure.axes[0].lines]
    assert (SCORE.low, SCORE.high) in ends
    assert {"0.33 [0.25, 0.50]", "no score", "warning 0.61", "issue 0.77"} <= set(words(figure))


def test_scale_has_the_combined_score_first_then_each_clustering(measures: Measures) -> None:
    rows = rows_of(measures)
    assert measures.nemd is not None
    assert [row.score for row in rows] == [
        measures.nemd.score,
        *(c.nemd.score for c in measures.clusterings if c.nemd),
    ]
    assert [row.strong for row in rows] == [True, False, False]


def test_scale_keeps_scores_beyond_its_ends_in_sight() -> None:
    wide = Interval(value=1.2, low=-0.4, high=1.5)
    low, high = draw_scale([Row(name="x", score=wide)], warning=0.6, issue=0.75).axes[0].get_xlim()
    assert low < wide.low < wide.high < high


def test_spectrum_draws_the_measured_singular_values(
    figures: dict[str, Figure], measures: Measures
) -> None:
    drawn = line(figures["spectrum"], "these embeddings")[:, 1]
    np.testing.assert_array_equal(drawn, measures.spectrum.singular_centred)
    np.testing.assert_array_equal(
        line(figures["spectrum"], "uniform")[:, 1], measures.spectrum.null_singular
    )


def test_spectrum_of_a_single_point_is_a_sentence() -> None:
    points = Embeddings(torch.ones(40, 4))
    found = measure(points, [fit_prototypes(points, 2)])
    assert any("no direction varies" in w for w in words(draw_spectra([("x", found.spectrum)])))


def test_usage_draws_sorted_sizes_that_sum_to_all_samples(
    figures: dict[str, Figure], measures: Measures
) -> None:
    (steps,) = figures["usage"].axes[0].patches
    values = np.asarray(steps.get_data().values)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(values, np.sort(measures.clusterings[1].usage.sizes)[::-1])


def test_resultants_and_duplicates_draw_the_measured_curves(
    figures: dict[str, Figure], measures: Measures
) -> None:
    c = measures.clusterings[0]
    drawn = line(figures["resultants"], "K=12, k-means")[:, 1]
    np.testing.assert_array_equal(drawn, np.sort(c.spread.resultants))
    curve = line(figures["duplicates"], "K=12, k-means")
    np.testing.assert_array_equal(curve, np.array(c.spread.duplicates))


def test_pairs_draw_every_pair_and_both_anchors(
    figures: dict[str, Figure], measures: Measures
) -> None:
    nemd = measures.clusterings[1].nemd
    assert nemd is not None
    raw, excess = figures["pairs"].axes
    assert [drawn.get_xdata()[0] for drawn in excess.lines] == [
        nemd.excess_uniform,
        nemd.excess_collapsed,
    ]
    assert raw.lines[0].get_xdata()[0] == nemd.raw_uniform
    outline = np.asarray(excess.patches[0].get_path().vertices)
    assert outline[:, 0].min() == pytest.approx(nemd.table.excess.min())
    assert outline[:, 0].max() == pytest.approx(nemd.table.excess.max())


def test_matrix_is_symmetric_in_the_given_order_and_empty_where_not_measured(
    measures: Measures,
) -> None:
    nemd = measures.clusterings[1].nemd
    assert nemd is not None
    order = np.unique(nemd.table.pairs)[::-1]
    matrix = filled(nemd, order)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert np.isnan(np.diag(matrix)).all()
    assert matrix[-1, -2] == nemd.table.excess[0]  # the first pair, in reversed order


def test_map_draws_every_sampled_row(figures: dict[str, Figure], measures: Measures) -> None:
    drawn = np.concatenate([c.get_offsets() for c in figures["map"].axes[0].collections])
    assert len(drawn) == len(measures.projection.rows)
    assert set(map(tuple, drawn)) == set(map(tuple, measures.projection.points[:, :2]))


def test_seriation_brings_near_directions_together() -> None:
    angles = np.random.default_rng(0).permutation(np.linspace(0, 1.5, 12))
    order = seriate(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    steps = np.diff(angles[order])
    assert (steps > 0).all() or (steps < 0).all()


def test_nothing_drawn_leaves_its_figure(figures: dict[str, Figure]) -> None:
    for name, figure in figures.items():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        box = figure.get_tightbbox(canvas.get_renderer())  # in inches
        width, height = figure.get_size_inches()
        assert box.x0 > -0.02, name
        assert box.y0 > -0.02, name
        assert box.x1 < width + 0.02, name
        assert box.y1 < height + 0.02, name


def test_figures_are_the_same_bytes_every_time_and_hold_no_dates(measures: Measures) -> None:
    draws = [draw_scale(rows_of(measures), warning=0.6, issue=0.75) for _ in range(2)]
    assert svg_text(draws[0], "scale") == svg_text(draws[1], "scale")
    assert png_bytes(draws[0]) == png_bytes(draws[1])
    assert "dc:date" not in svg_text(draws[0], "scale")
    assert b"Matplotlib" not in png_bytes(draws[0])


def test_drawing_leaves_the_callers_settings_alone(measures: Measures) -> None:
    before = dict(matplotlib.rcParams)
    png_bytes(draw_usage(measures.clusterings[0].usage))
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", ["日本語", "a\x00b\n", "$x_$", "שלום", "\ud800", "x" * 10_000])
def test_any_name_can_be_drawn_without_a_warning(name: str) -> None:
    figure = draw_scale([Row(name=name, score=SCORE)], warning=0.6, issue=0.75)
    assert png_bytes(figure)
    assert len(plain(name)) <= 28
