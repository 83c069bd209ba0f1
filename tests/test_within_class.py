"""The benchmark of what is left of differences within a class."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

FOLDER = str(Path(__file__).parents[1] / "benchmarks")


@pytest.fixture(scope="module")
def within_class():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        yield importlib.import_module("within_class")


@pytest.fixture(scope="module")
def digits(within_class):
    return within_class.Classes("digits")


def test_pixels_tell_all_and_classes_alone_nothing(digits):
    first, second = digits.labels
    assert digits.r_squared(*digits.pixels) == pytest.approx(1.0, abs=1e-4)
    of_class = [np.eye(10)[labels] for labels in (first, second)]
    assert digits.r_squared(*of_class) == pytest.approx(0.0, abs=0.01)


def test_a_part_of_the_pixels_tells_what_least_squares_does(digits):
    first, second = (pixels[:, 20:28] for pixels in digits.pixels)
    known, wanted = digits.pixels
    told = LinearRegression(fit_intercept=False).fit(first, known).predict(second)
    expected = 1 - np.square(wanted - told).sum() / np.square(wanted).sum()
    assert digits.r_squared(first, second) == pytest.approx(expected, abs=2e-3)


def test_failed_runs_and_missing_layers_are_left_out(within_class, tmp_path):
    failed = {"result": {"failed": "no", "method": "a", "seed": 0}}
    (tmp_path / "result.json").write_text(json.dumps(failed))
    assert within_class.one_run(tmp_path, "digits", None) is None
    runs = [
        {
            "method": name,
            "numbers": {"score": x, "excess": x},
            "r_squared": told,
            "state": "healthy",
        }
        for name, x, told in [
            ("a", 0.1, {"projector": 0.9, "backbone": None}),
            ("b", 0.2, {"projector": 0.8, "backbone": None}),
            ("c", 0.3, {"projector": 0.4, "backbone": None}),
        ]
    ]
    found = within_class.correlations(runs)
    assert found["projector"]["score"]["rho"] == pytest.approx(-1)
    assert found["projector"]["effective_rank"] is None
    assert found["backbone"]["score"] is None
