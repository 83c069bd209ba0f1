"""The monitor: known worlds give their codes; it warns, stops and raises as asked; logs hold n."""

import json
import warnings

import pytest
import torch

from nemd_toolkit.errors import Collapsed, InputError
from nemd_toolkit.monitor import CollapseWarning, Monitor
from tests import worlds

START = worlds.clusters(300, 64, 20, 0.9)[0]


def watch(rows, *, checks=3, start=START, losses=None, classes=None, **settings):
    """Begin healthy (or as `start`), then see the same rows until so many checks are done."""
    said = []
    settings = {"every": 5, "log": None, "say": said.append, "k": 20, **settings}
    monitor = Monitor(**settings)
    monitor.step(start, loss=None if losses is None else losses, classes=classes)
    while (0 if monitor.last is None else monitor.last.step) < 5 * checks:
        monitor.step(rows, loss=losses, classes=classes)
    return monitor, said


def fired(monitor):
    return {f.about.code for f in monitor.last.findings if f.status == "issue"}


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("coagulated", "NEMD002"),
        ("total", "NEMD001"),
        ("dimensional", "NEMD006"),
        ("cone", "NEMD007"),
        ("duplicated", "NEMD003"),
        ("dead", "NEMD004"),
        ("imbalanced", "NEMD005"),
    ],
)
def test_worlds_give_their_codes_and_stop_a_training(kind, code):
    world = worlds.make(kind, 1.0, variant="own" if kind == "imbalanced" else None)
    warmup = 0 if kind == "duplicated" else 5_000  # those of the world are so from the start
    monitor, said = watch(world.rows, prototypes=world.own, on_finding="stop", warmup=warmup)
    assert code in fired(monitor)
    assert monitor.should_stop
    assert any(f"monitor: {code} " in text for text in said)
    assert all("`nemd explain NEMD" in text for text in said)


@pytest.mark.parametrize("kind", ["healthy", "surplus", "long tail", "noise"])
def test_healthy_worlds_and_noise_are_left_alone(kind):
    world = worlds.make(kind, 1.0 if kind == "noise" else 0.0)
    monitor, said = watch(world.rows, on_finding="stop", warmup=0)
    assert (fired(monitor), said, monitor.should_stop) == (set(), [], False)


def test_noise_scores_0_and_points_1():
    assert watch(worlds.noise())[0].last.numbers.score.value == pytest.approx(0, abs=0.01)
    assert watch(worlds.points(20))[0].last.numbers.score.value == pytest.approx(1, abs=1e-3)


def test_it_stops_after_the_patience_and_says_it_once():
    rows = worlds.make("total", 1.0).rows
    for patience in (1, 2, 4):
        monitor, said = watch(rows, checks=patience, patience=patience, on_finding="stop")
        assert monitor.should_stop
        codes = [text.split()[1] for text in said]
        assert "NEMD001" in codes
        assert len(codes) == len({*codes})
    assert not watch(rows, checks=3, patience=4, on_finding="stop")[0].should_stop


def test_it_warns_and_never_stops_by_default():
    rows = worlds.make("cone", 1.0).rows
    monitor = Monitor(every=2, log=None)
    monitor.step(START)
    for _ in range(4):
        monitor.step(rows)
    with pytest.warns(CollapseWarning, match="NEMD007 cone at step 6"):
        monitor.step(rows)
    assert not monitor.should_stop
    with warnings.catch_warnings(action="error"):  # said once
        for _ in range(4):
            monitor.step(rows)


def test_it_raises_where_asked_to():
    with pytest.raises(Collapsed, match="NEMD006 dimensional-collapse at step 15"):
        watch(worlds.make("dimensional", 1.0).rows, on_finding="raise")


def test_a_training_that_begins_as_a_cone_and_leaves_it_is_not_stopped():
    monitor = Monitor(every=1, on_finding="stop", log=None, warmup=0, window=256, say=print)
    for offset in (3.0, 2.9, 2.6, 2.4, 2.2, 2.0, 1.5, 1.0, 0.5, 0.2):
        monitor.step(worlds.cone(offset, 256))
    assert not monitor.should_stop


def test_one_that_stays_a_cone_is_stopped_after_the_warm_up_only():
    rows = worlds.cone(3.0, 300)
    for warmup, stopped in ((100, False), (10, True)):
        monitor, _ = watch(rows, start=rows, warmup=warmup, on_finding="stop")
        assert monitor.should_stop is stopped


def test_a_doubt_is_said_and_stops_nothing():
    rows = START.clone()
    rows[5] = float("nan")
    monitor, said = watch(rows, on_finding="raise")
    assert [f.about.code for f in monitor.last.lasting] == ["NEMD010"]
    assert "rows of the window hold NaN or infinity" in said[0]
    assert monitor.last.numbers.variance > 0.9


@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_only_nan_gives_a_finding_and_no_numbers(bad):
    monitor, said = watch(torch.full((2048, 8), bad), start=torch.full((300, 8), bad))
    assert monitor.last.numbers is None
    assert "2,048 rows of the window" in said[0]
    assert "NaN" not in json.dumps(monitor.last.plain())


def test_a_loss_that_is_not_finite_is_a_finding():
    monitor, said = watch(START, losses=torch.tensor(float("nan")), classes=9)
    assert "the loss was NaN or infinite in 5 of 5 steps" in said[0]
    assert "loss" not in monitor.last.plain()


@pytest.mark.parametrize(("above", "found"), [(0.0, True), (-0.04, True), (-1.0, False)])
def test_a_loss_pinned_at_ln_k_is_recognised(above, found):
    loss = torch.tensor(512.0).log() + above
    monitor, _ = watch(START, losses=loss, classes=512, warmup=0, on_finding="stop")
    assert (fired(monitor) == {"NEMD011"}) is found
    assert monitor.should_stop is found
    unknown, _ = watch(START, losses=loss, warmup=0)
    assert fired(unknown) == set()


def test_the_log_says_what_each_line_rests_on(tmp_path):
    path, plotted = tmp_path / "new" / "monitor.jsonl", []
    rows = worlds.make("total", 1.0).rows
    watch(rows, log=path, loggers=[lambda numbers, step: plotted.append((step, numbers))])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 10, 15]
    assert [(x["rows"], x["dim"], x["window"]) for x in lines] == [(2048, 64, 2048)] * 3
    assert lines[-1]["findings"]["NEMD001"] == "issue"
    assert "NEMD001" in lines[-1]["lasting"]
    assert [step for step, _ in plotted] == [5, 10, 15]
    assert plotted[0][1]["monitor/variance"] == lines[0]["variance"]


def test_the_default_log_is_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Monitor(every=1).step(START)
    assert json.loads((tmp_path / "monitor.jsonl").read_text())["rows"] == 300


def test_the_same_rows_give_the_same_numbers_and_global_randomness_is_untouched():
    state = torch.get_rng_state()
    first, second = (watch(worlds.make("healthy", 0).rows)[0].last for _ in range(2))
    assert {**first.plain(), "seconds": 0} == {**second.plain(), "seconds": 0}
    assert torch.equal(torch.get_rng_state(), state)


def test_prototypes_may_be_a_function_that_is_asked_at_each_check():
    asked = []

    def prototypes():
        asked.append(1)
        return torch.eye(64)

    watch(START, prototypes=prototypes, checks=2)
    assert len(asked) == 3  # the beginning, and two checks


def test_ignored_codes_do_not_count():
    rows = worlds.make("cone", 1.0).rows
    monitor, said = watch(rows, ignore="NEMD007", on_finding="stop")
    assert (fired(monitor), monitor.should_stop, said) == (set(), False, [])


def test_too_few_rows_are_not_judged():
    monitor = Monitor(every=1, log=None)
    assert monitor.step(worlds.noise(255)) is None
    assert monitor.step(worlds.noise(1)) is not None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"every": 0}, "every of at least 1, got 0"),
        ({"patience": 0}, "patience"),
        ({"window": 100}, "window of at least 256, got 100"),
        ({"ignore": "NEMD099"}, "ignore: expected codes"),
    ],
)
def test_settings_of_no_use_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        Monitor(log=None, **settings)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (0, 4)])
def test_embeddings_of_another_shape_are_refused(shape):
    with pytest.raises(InputError, match=r"shape \(batch, dimensions\), got"):
        Monitor(log=None).step(torch.zeros(shape))
