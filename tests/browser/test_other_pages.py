"""Pages of a comparison, of trainings and of a course in a real browser."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

import nemd_toolkit as nt
from nemd_toolkit.report.comparison import write_comparison
from nemd_toolkit.report.trainings import TrainedRun, write_trainings
from nemd_toolkit.tracking import track
from tests import worlds
from tests.browser.conftest import Open
from tests.browser.test_report_page import grave

HOSTILE = "</script><img src=x onerror=alert(1)>"


def comparison(folder: Path) -> Path:
    runs = [
        (name, nt.analyze(worlds.clusters(500, 16, 8, spread)[0], prototypes=8))
        for name, spread in ((HOSTILE, 0.2), ("=cmd", 0.9), ("שלום 🙂", 0.5))
    ]
    return write_comparison(runs, folder)


def trainings(folder: Path) -> Path:
    runs = [
        TrainedRun(
            method=method,
            seed=seed,
            state="healthy",
            numbers={"linear_probe": 0.9 + seed / 100, "score": 0.5, "knn": 0.8},
        )
        for method in (HOSTILE, "pcl")
        for seed in range(3)
    ]
    return write_trainings(runs, folder, about={"data": HOSTILE})


def course(folder: Path) -> Path:
    source = folder / "<img src=x onerror=alert(2)>"
    source.mkdir(parents=True)
    for epoch, spread in enumerate((0.9, 0.7, 0.1, 0.08)):
        np.save(source / f"epoch-{epoch}.npy", worlds.clusters(500, 16, 8, spread)[0].numpy())
    return track(source, prototypes=8, records=folder / "records").write(folder / "track")


MAKERS: dict[str, Callable[[Path], Path]] = {
    "comparison": comparison,
    "trainings": trainings,
    "course": course,
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in MAKERS.items()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", list(MAKERS))
def test_page_fits_is_accessible_and_runs_nothing_of_its_input(
    open_page: Open, pages: dict[str, Path], name: str, scheme: str
) -> None:
    for width in (320, 1280):
        page = open_page(pages[name], width=width, scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("img").count() == 0
    assert grave(page) == []


@pytest.mark.parametrize("name", list(MAKERS))
def test_every_figure_gives_its_data_and_tells_its_values(
    open_page: Open, pages: dict[str, Path], name: str
) -> None:
    page = open_page(pages[name])
    figures = page.locator("figure[data-figure]")
    assert figures.count() > 0
    for place in range(figures.count()):
        figure = figures.nth(place)
        with page.expect_download() as caught:
            figure.get_by_role("button", name="JSON").click()
        assert json.loads(Path(caught.value.path()).read_text(encoding="utf-8"))
        frame = figure.locator(".frame")
        if frame.get_attribute("tabindex"):
            frame.focus()
            page.keyboard.press("ArrowRight")
            expect(page.locator(".tip")).to_be_visible()
            expect(figure.locator("output")).not_to_be_empty()


@pytest.mark.parametrize("name", list(MAKERS))
def test_tables_sort(open_page: Open, pages: dict[str, Path], name: str) -> None:
    page = open_page(pages[name])
    header = page.locator("table.sortable").first.get_by_role("button", name="NEMD score").first
    header.click()
    expect(page.locator("th[aria-sort=ascending]")).to_contain_text("score")
    header.click()
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("score")
