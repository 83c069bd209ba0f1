"""The transport benchmark runs end to end in miniature, and its checks see what is wrong."""

import importlib
import importlib.util
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp, vonmises_fisher

from nemd_toolkit import Pairs
from nemd_toolkit.errors import InputError

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def module():
    """Import by name from benchmarks/, which is a folder of scripts and no package."""
    with pytest.MonkeyPatch.context() as patch:
        for library in ("OMP", "OPENBLAS", "MKL"):  # the script sets them: put back afterwards
            patch.setenv(f"{library}_NUM_THREADS", "1")
        patch.syspath_prepend(FOLDER)
        yield importlib.import_module


@pytest.fixture
def tiny(module):
    """Three clouds of 4 to 10 points: row B1 of a table of one."""
    benchmark, data = module("transport"), module("transport_data")
    clouds = partial(data.von_mises_fisher, count=3, sizes=(4, 10), dim=8, resultant=0.7)
    targets = (module("transport_compare").Target("exact", 0.0),)
    return benchmark.Row("B1", "tiny", partial(benchmark.compare, clouds=clouds, targets=targets))


@pytest.fixture
def fast_processes(module, monkeypatch):
    """Let new processes import POT without torch, which takes them seconds; this one keeps it."""
    module("transport_baseline")
    monkeypatch.setenv("POT_BACKEND_DISABLE_PYTORCH", "1")


def test_a_run_is_written_drawn_and_tabled(module, tiny, fast_processes, tmp_path, capsys):
    benchmark = module("transport")
    command = ["run", "--seed", "3", "--repeats", "1", "--out", str(tmp_path)]
    other = benchmark.Row("B8", "other", lambda _: {"kind": "scale", "checks": [CHECK]})
    before = torch.get_num_threads()
    assert benchmark.main(command, [tiny, other]) == 0
    assert torch.get_num_threads() == before
    document = json.loads((tmp_path / "transport.json").read_text(encoding="utf-8"))
    row, scale = document["rows"]
    assert (row["id"], row["seed"], row["clouds"], row["dim"]) == ("B1", 3, 3, 8)
    assert 4 <= row["sizes"][0] <= row["sizes"][1] <= 10
    assert row["largest_difference"] < 1e-12
    assert row["bound_violations"] == 0
    assert 0 <= row["width"]["mean"] <= row["width"]["largest"] <= 0.01
    assert all(check["passed"] for check in row["checks"])
    times = row["milliseconds"]
    assert {tuple(arm["pairs"]) for arm in times.values()} == {(3,)}
    for name, over, under in (
        ("exact", "baseline", "exact"),
        ("interval_to_two_processes", "baseline_two_processes", "interval"),
        ("exact_above_floor", "exact_one_thread", "matrix_product"),
    ):
        expected = times[over]["median"] / times[under]["median"]  # of one repeat
        assert row["ratios"][name]["median"] == pytest.approx(expected)

    again = benchmark.Row("B8", "other", lambda _: {"kind": "scale", "checks": []})
    assert benchmark.main([*command, "--rows", "B8"], [tiny, again]) == 0
    kept = json.loads((tmp_path / "transport.json").read_text(encoding="utf-8"))["rows"]
    assert kept[0] == row
    assert (scale["checks"], kept[1]["checks"]) == ([CHECK], [])

    assert benchmark.main(["plot", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "transport.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert benchmark.main(["table", "--out", str(tmp_path)]) == 0
    assert "| B1 | tiny |" in capsys.readouterr().out


CHECK = {"what": "solves", "at_most": 1.5, "measured": 1.2, "passed": True}


def test_rows_of_another_machine_are_not_mixed_in(module, tiny, tmp_path, capsys):
    benchmark = module("transport")
    path = tmp_path / "transport.json"
    path.write_text(json.dumps({"machine": {"cpu": "another"}, "rows": []}), encoding="utf-8")
    before = path.read_bytes()
    assert benchmark.main(["run", "--seed", "1", "--out", str(tmp_path)], [tiny]) == 2
    assert "another --out" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_wrong_values_and_bounds_are_counted(module):
    compare = module("transport_compare")
    pairs = np.array([[0, 1], [0, 2], [1, 2]])
    truth = np.array([1.0, 2.0])  # of pairs 2 and 0
    exact = np.array([2.0, 5.0, 1.25])
    low, high = np.array([2.1, 4.0, 0.9]), np.array([2.2, 4.0, 0.95])
    found = compare._compared(
        {
            "exact": Pairs(pairs=pairs, cost=exact, lower=exact, upper=exact),
            "interval": Pairs(pairs=pairs, cost=low, lower=low, upper=high),
            "baseline": truth,
        },
        pairs,
        np.array([2, 0]),
    )
    assert found["difference"] == 0.25
    assert found["violations"] == 2  # one interval above the truth, one below it
    assert found["solved"] == pytest.approx(1 / 3)
    assert found["width"] == pytest.approx([0.05, 0.0, 0.04])


@pytest.mark.parametrize(("statistic", "passed"), [("median", True), ("low", False)])
def test_a_target_holds_in_the_median_or_in_every_repeat(module, statistic, passed):
    compare = module("transport_compare")
    record = {
        "ratios": {"exact": {"median": 2.0, "low": 0.9, "high": 3.0}},
        "width": {"mean": 0.02},
        "largest_difference": 0.0,
        "bound_violations": 1,
    }
    checks = compare._checks(record, [compare.Target("exact", 1.0, statistic)])
    verdicts = {check["what"].split(",")[0]: check["passed"] for check in checks}
    assert verdicts == {
        "exact ratio": passed,
        "interval mean width": False,
        "largest difference": True,
        "bound violations": False,
    }


def test_both_processes_give_every_cost_in_its_place(module, fast_processes):
    baseline = module("transport_baseline")
    rng = np.random.default_rng(0)
    clouds = [rng.standard_normal((n, 3)) for n in (1, 5, 9, 4)]
    pairs = np.array([[3, 0], [1, 2], [0, 2], [2, 3], [1, 3]])
    with baseline.TwoProcesses() as two:
        for chosen in (pairs, pairs[:1], pairs[::-1]):
            two.load(clouds, chosen)
            np.testing.assert_array_equal(two.solve(), baseline.emd2_loop(clouds, chosen))


def test_sampled_pairs_are_distinct_even_over_sizes_and_equally_likely(module):
    sample = module("transport_baseline").sample_pairs
    work = np.random.default_rng(5).integers(1, 4, 40) ** 4
    drawn = [sample(work, 9, np.random.default_rng(seed)) for seed in range(4000)]
    assert all(len(set(chosen.tolist())) == 9 for chosen in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=40)
    # binomial(4000, 9/40) has standard deviation 26
    assert np.abs(counts - 4000 * 9 / 40).max() < 4 * 26
    means = [work[chosen].mean() for chosen in drawn]
    plain = work.std() / np.sqrt(9)
    assert np.std(means) < plain / 2
    assert sorted(sample(work, 40, np.random.default_rng(0)).tolist()) == list(range(40))


@pytest.mark.parametrize(("dim", "resultant"), [(3, 0.5), (64, 0.9)])
def test_clouds_follow_the_von_mises_fisher_law(module, dim, resultant):
    data = module("transport_data")
    kappa = resultant * (dim - resultant**2) / (1 - resultant**2)
    ours = data._cosines(np.random.default_rng(1), 4000, dim, resultant)
    law = vonmises_fisher(np.eye(dim)[0], kappa)
    theirs = law.rvs(4000, random_state=np.random.default_rng(2))[:, 0]
    assert ks_2samp(ours, theirs).pvalue > 0.01

    [cloud] = data.von_mises_fisher(4, count=1, sizes=(4000, 4000), dim=dim, resultant=resultant)
    assert np.linalg.norm(cloud, axis=1) == pytest.approx(np.ones(4000))
    mean = cloud.mean(0)
    assert np.linalg.norm(mean) == pytest.approx(np.mean(theirs), abs=0.02)
    across = cloud - np.outer(cloud @ mean, mean) / (mean @ mean)
    spread = np.sort(np.linalg.eigvalsh(across.T @ across / 4000))[1:]  # 0 along the mean
    # uniform directions: equal eigenvalues up to sampling (Marchenko–Pastur)
    edge = (1 + np.sqrt(dim / 4000)) ** 2
    assert spread.max() / spread.mean() < edge * 1.1
    assert spread.sum() == pytest.approx(1 - np.mean(theirs**2), abs=0.02)


def test_clouds_of_digits_hold_every_image_once(module):
    data = module("transport_data")
    classes, clusters = data.digit_classes(0), data.digit_clusters(0, k=7)
    assert (len(classes), sum(map(len, classes))) == (10, 1617)
    assert (len(clusters), sum(map(len, clusters))) == (7, 1797)
    for cloud in (*classes, *clusters):
        assert cloud.dtype == np.float64
        assert np.linalg.norm(cloud, axis=1) == pytest.approx(np.ones(len(cloud)))


def test_fashion_mnist_without_its_folder_is_refused(module):
    with pytest.raises(InputError, match="--fashion-mnist DIR"):
        module("transport_data").fashion_clusters(0, folder=None, k=2, count=5)


def test_peers_are_measured_or_skipped_by_name(module, monkeypatch):
    peers, data = module("transport_peers"), module("transport_data")
    monkeypatch.setattr(peers, "CORES", 1)  # torch's threads spin when others want the cores
    monkeypatch.setattr(peers, "_REPEATS", 1)
    clouds = partial(data.von_mises_fisher, count=3, sizes=(6, 6), dim=4, resultant=0.5)
    document = peers.measure_peers(0, {("B1", "tiny"): clouds})
    [row] = document["rows"]
    modules = {"OTT-JAX": "ott", "GeomLoss": "geomloss"}
    for peer in row["peers"]:
        needed = modules.get(peer["name"])
        if needed and importlib.util.find_spec(needed) is None:
            assert peer["skipped"].endswith("is not installed")
        else:
            assert peer["milliseconds"]["low"] > 0
            assert peer["largest_error"] >= abs(peer["median_error"])
    emd2, exact, interval = row["peers"][:3]
    assert emd2["largest_error"] == 0
    assert exact["largest_error"] < 1e-12
    assert interval["largest_error"] <= 0.01
    assert "| B1 tiny | emd2, one thread |" in module("transport_plot").peers_as_markdown(document)
