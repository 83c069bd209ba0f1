"""The page of an analysis in a real browser: everything that a reader can do."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

import nemd_toolkit as nt
from nemd_toolkit.report.analysis import Analysis
from tests import worlds
from tests.browser.conftest import Open

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "=cmd|' /C calc'!A0",
    '" onload="alert(1)',
    "{{ 7 * 7 }} ${alert(1)}",
    "שלום 日本語 🙂",
    "x" * 10_000,
    "@sum",
    "+1",
)
GRAVE = ("serious", "critical")


def grave(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{v['id']}: {node['html'][:150]}"
        for v in found
        if v["impact"] in GRAVE
        for node in v["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280, 2560])
def test_page_fits_and_is_accessible(
    open_page: Open, report: Path, width: int, scheme: str
) -> None:
    page = open_page(report, width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert grave(page) == []


def test_page_with_images_is_accessible_and_shows_them(
    open_page: Open, digits_report: Path
) -> None:
    page = open_page(digits_report)
    images = page.locator(".thumbnails img")
    assert images.count() >= 12
    assert page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    assert "cosine" in (images.first.get_attribute("alt") or "")
    assert grave(page) == []


def test_five_questions_are_answered_on_the_first_screen_or_one_press_away(
    open_page: Open, report: Path
) -> None:
    page = open_page(report)
    for place in ("h1", ".headline", ".score", "nav"):
        box = page.locator(place).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 900, place
    for name, heading in (("What now", "#what-now"), ("Which prototypes", "#figures")):
        page.get_by_role("link", name=name).click()
        expect(page.locator(heading)).to_be_in_viewport()


def test_a_table_sorts_and_filters(open_page: Open, report: Path) -> None:
    page = open_page(report)
    table = page.locator("#prototypes-2")
    page.locator("summary", has_text="labels").last.click()
    sizes = table.locator("tbody tr td:nth-child(3)")
    table.get_by_role("button", name="size").click()
    assert sizes.all_inner_texts() == sorted(sizes.all_inner_texts(), key=int)
    page.get_by_label("K=9, labels: rows that hold").fill("kind c")
    assert table.locator("tbody tr:visible").count() == 1
    expect(page.get_by_text("1 of 9 rows")).to_be_visible()


def test_marks_tell_their_values_by_pointer_and_by_keys(
    open_page: Open, report: Path, analysis: Analysis
) -> None:
    page = open_page(report)
    figure = page.locator("figure[data-figure=spectrum]")
    frame, tip = figure.locator(".frame"), page.locator(".tip")
    expect(tip).to_be_hidden()
    frame.focus()
    page.keyboard.press("ArrowRight")
    first = analysis.measures.spectrum.singular_centred[0]
    expect(tip).to_have_text(f"of these embeddings · rank 1 · singular value {first:.3f}")
    expect(figure.locator("output")).to_have_text(tip.inner_text())
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    data = json.loads(page.locator("#data-spectrum").text_content() or "")
    box = frame.bounding_box()
    assert box is not None
    at = 30  # of the uniform points' values
    x, y = (data[axis][at] / 10_000 for axis in "xy")
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    second = analysis.measures.spectrum.null_singular[at - 24]
    expect(tip).to_have_text(f"of uniform · rank 7 · singular value {second:.3f}")


@pytest.mark.parametrize("name", ["scale", "duplicates", "resultants", "plane", "map", "members"])
def test_each_figure_gives_its_data(open_page: Open, report: Path, name: str) -> None:
    page = open_page(report)
    figure = page.locator(f"figure[data-figure={name}]")
    with page.expect_download() as caught:
        figure.get_by_role("button", name="CSV").click()
    assert caught.value.suggested_filename == f"{name}.csv"
    rows = list(csv.reader(io.StringIO(Path(caught.value.path()).read_text(encoding="utf-8"))))
    with page.expect_download() as caught:
        figure.get_by_role("button", name="JSON").click()
    records = json.loads(Path(caught.value.path()).read_text(encoding="utf-8"))
    assert len(records) == len(rows) - 1 > 0
    assert list(records[0]) == rows[0]


def test_the_explorer_shows_each_pair_as_it_was_measured(
    open_page: Open, report: Path, analysis: Analysis
) -> None:
    page = open_page(report)
    explorer = page.locator("#explorer")
    pairs = pd.read_csv(report.parent / "nemd_pairs.csv")
    for place, c in enumerate(analysis.measures.clusterings):
        assert c.nemd is not None
        explorer.get_by_label("Clustering", exact=True).select_option(index=place)
        of = pairs[(pairs["k"] == c.k) & (pairs["source"] == c.source)]
        row = of.sort_values("excess").iloc[0]  # shown first: the closest two
        ends = {
            explorer.get_by_label(which, exact=True).locator("option:checked").inner_text()
            for which in ("First", "Second")
        }
        assert {end.rpartition(" (")[0] for end in ends} == {
            c.prototypes.names[int(row[end])] for end in "pq"
        }
        numbers = explorer.locator("dl").inner_text()
        uniform, collapsed = c.nemd.excess_uniform, c.nemd.excess_collapsed
        score = (row["excess"] - uniform) / (collapsed - uniform)
        for value in (score, row["excess"], row["raw"]):
            assert f"{value:.3f}".rstrip("0").rstrip(".") in numbers


def test_picking_two_prototypes_draws_their_members(
    open_page: Open, report: Path, analysis: Analysis
) -> None:
    page = open_page(report)
    explorer = page.locator("#explorer")
    explorer.get_by_label("Clustering", exact=True).select_option("K=9, labels")
    names = explorer.get_by_label("First", exact=True).locator("option").all_inner_texts()
    explorer.get_by_label("First", exact=True).select_option(index=2)
    explorer.get_by_label("Second", exact=True).select_option(index=6)
    clouds = explorer.locator("[data-part=clouds]")
    sizes = [int(names[at].rpartition("(")[2].split()[0]) for at in (2, 6)]
    assert clouds.locator("circle").count() == sizes[0] + 1  # and one in the legend
    assert clouds.locator("rect").count() == sizes[1] + 1
    explorer.get_by_label("Second", exact=True).select_option(index=2)
    expect(explorer.get_by_text("one prototype twice")).to_be_visible()


def test_the_matrix_answers_to_pointer_and_keys(open_page: Open, report: Path) -> None:
    page = open_page(report)
    explorer, matrix = page.locator("#explorer"), page.locator("canvas")
    matrix.scroll_into_view_if_needed()
    box = matrix.bounding_box()
    assert box is not None
    cell = box["width"] / 9
    matrix.hover(position={"x": 4.5 * cell, "y": 0.5 * cell})
    told = page.locator(".tip").inner_text()
    assert ": score " in told
    matrix.click(position={"x": 4.5 * cell, "y": 0.5 * cell})
    assert explorer.get_by_label("First", exact=True).input_value() == "0"
    assert explorer.get_by_label("Second", exact=True).input_value() == "4"
    matrix.focus()
    page.keyboard.press("ArrowDown")
    assert explorer.get_by_label("First", exact=True).input_value() == "1"
    expect(explorer.locator("[data-part=cell-said]")).to_contain_text("score")


def test_column_and_log_scale_change_the_charts(open_page: Open, report: Path) -> None:
    page = open_page(report)
    explorer = page.locator("#explorer")
    histogram = explorer.locator("[data-part=histogram]")
    expect(histogram).to_contain_text("score of a pair")
    explorer.get_by_label("Number").select_option("raw")
    expect(histogram).to_contain_text("raw of a pair")
    explorer.locator("[data-part=sizes] rect").first.hover()
    expect(page.locator(".tip")).to_contain_text("members, resultant")
    bars = "[...document.querySelectorAll('[data-part=sizes] rect')]"
    heights = f"{bars}.map((bar) => bar.height.baseVal.value)"
    before = page.evaluate(heights)
    explorer.get_by_label("counts on a log scale").check()
    after = page.evaluate(heights)
    assert after[0] == pytest.approx(before[0])
    assert after[-1] > before[-1]


def test_a_row_of_the_table_leads_to_its_prototype(open_page: Open, report: Path) -> None:
    page = open_page(report)
    page.locator("#prototypes-0").get_by_role("button", name="Look at prototype 7").click()
    chosen = page.locator("[data-part=first] option:checked").inner_text()
    assert chosen.startswith("7 (")
    expect(page.locator("#explorer-title")).to_be_in_viewport()


def test_paper_and_readers_without_scripts_get_the_plain_figures(
    browser: object, report: Path, open_page: Open
) -> None:
    page = open_page(report)
    expect(page.locator("#figure-matrix")).to_be_hidden()
    page.emulate_media(media="print")
    expect(page.locator("#figure-matrix")).to_be_visible()
    expect(page.locator("#explorer")).to_be_hidden()
    context = browser.new_context(java_script_enabled=False)  # type: ignore[attr-defined]
    plain = context.new_page()
    plain.goto(report.as_uri())
    expect(plain.locator("#figure-matrix")).to_be_visible()
    expect(plain.locator("#explorer")).to_be_hidden()
    expect(plain.locator(".tools").first).to_be_hidden()
    context.close()


def test_hostile_names_are_text_everywhere(open_page: Open, tmp_path: Path) -> None:
    rows, group = worlds.clusters(600, 16, len(HOSTILE))
    labels = [HOSTILE[g] for g in group]
    ids = [f"{HOSTILE[g]}{at}" for at, g in enumerate(group)]
    source = tmp_path / "<img src=x onerror=alert(1)>.npz"
    np.savez(source, vectors=rows.numpy(), labels=labels, ids=ids)
    path = nt.analyze(source, prototypes=("labels", 5)).write(tmp_path / "report")
    page = open_page(path)
    for select in ("First", "Second"):
        names = page.get_by_label(select, exact=True).locator("option").all_text_contents()
        assert any(name.startswith("</script><img src=x onerror=alert(1)>") for name in names)
    figure = page.locator("figure[data-figure=members]")
    with page.expect_download() as caught:
        figure.get_by_role("button", name="CSV").click()
    cells = list(csv.reader(io.StringIO(Path(caught.value.path()).read_text(encoding="utf-8"))))
    assert not [cell for row in cells for cell in row if cell.startswith(("=", "+", "@"))]
    assert any(row[0].startswith("'=cmd") for row in cells)
    page.locator("#explorer canvas").hover(position={"x": 5, "y": 5})
    page.locator("#explorer [data-part=sizes] rect").first.hover()
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert grave(page) == []
