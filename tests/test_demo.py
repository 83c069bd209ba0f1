"""The demo with short trainings: the same files and, for one seed, the same bytes."""

import json

import pytest

from nemd_toolkit.demo import METHODS, run_demo
from pauc_train import loop
from pauc_train.loop import fit


def short(method, *rest, **asked):
    """Train for three epochs, with prototypes from the second on."""
    warm_up = {} if method == "mocov2" else {"warmup_epochs": 1}
    return fit(method, *rest, overrides={"epochs": 3, **warm_up}, **asked)


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "fit", short)
        patch.setattr("nemd_toolkit.demo.PROTOTYPES", (10,))
        folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
        said = []
        results = [run_demo(folder, 0, said.append) for folder in folders]
    return folders, results, said


def document(folder, method):
    found = json.loads((folder / method / "report.json").read_text(encoding="utf-8"))
    del found["provenance"]["seconds"]
    return json.dumps(found)


def test_two_runs_give_the_same_reports_apart_from_times(demos):
    (first, second), _, _ = demos
    for method in METHODS:
        assert document(first, method) == document(second, method)
        assert (first / method / "last.pt").read_bytes() == (
            second / method / "last.pt"
        ).read_bytes()


def test_everything_is_written_and_linked(demos):
    (folder, _), _, said = demos
    page = (folder / "comparison.html").read_text(encoding="utf-8")
    for method in METHODS:
        assert f'href="{method}/report.html"' in page
        assert (folder / method / "report.html").exists()
        assert f"training {method} on digits" in said
    assert "pixel kNN" in page


def test_sources_are_named_from_the_demos_folder(demos):
    (folder, _), _, _ = demos
    provenance = json.loads(document(folder, "pclv2"))["provenance"]
    assert provenance["source"] == "pclv2/last.pt"
    assert str(folder) not in json.dumps(provenance)


def test_a_finished_training_is_not_run_again(demos):
    (folder, _), _, _ = demos
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "fit", short)
        patch.setattr("nemd_toolkit.demo.METHODS", METHODS[:2])
        patch.setattr("nemd_toolkit.demo.PROTOTYPES", (10,))
        before = (folder / "pclv2" / "log.jsonl").read_bytes()
        run_demo(folder, 0, lambda _: None)
    assert (folder / "pclv2" / "log.jsonl").read_bytes() == before
