"""Names beside points cover no point and no other name, and are left out where there is no room."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from nemd_toolkit.figures.accuracy import Point, draw_accuracy
from nemd_toolkit.figures.labels import name_points
from nemd_toolkit.measures import Interval


def drawn(places, names):
    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*np.transpose(places), "o")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    left_out = name_points(axes, places, names)
    figure.draw_without_rendering()
    return axes, left_out


@pytest.mark.parametrize("count", [1, 5, 60])
def test_no_name_covers_a_point_or_a_name(count):
    rng = np.random.default_rng(count)
    places = [tuple(place) for place in rng.uniform(0.1, 0.9, (count, 2))]
    axes, left_out = drawn(places, [f"method {number}" for number in range(count)])
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) + len(left_out) == count
    assert len(boxes) >= min(count, 15)
    for place, box in enumerate(boxes):
        assert not box.count_overlaps(boxes[:place])
        assert not any(box.contains(*point) for point in axes.transData.transform(places))
        frame = axes.get_window_extent()
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1


def test_names_without_room_are_told_and_the_first_come_first():
    axes, left_out = drawn([(0.5, 0.5)] * 40, [f"method {number}" for number in range(40)])
    assert left_out
    assert left_out[-1] == "method 39"
    assert axes.texts[0].get_text() == "method 0"
    assert left_out == sorted(left_out, key=lambda name: int(name.split()[1]))


def test_few_methods_are_all_named():
    def near(value):
        return Interval(value=value, low=value - 0.01, high=value + 0.01)

    points = [
        Point(name=f"m{number}", score=near(0.1 * number), accuracy=near(0.9))
        for number in range(1, 9)
    ]
    [axes] = draw_accuracy(points).axes
    assert [text.get_text() for text in axes.texts] == [point.name for point in points]
    assert Bbox.union([text.get_window_extent() for text in axes.texts]).width > 0
