"""How large a page is, and how soon it is painted, for small and for huge analyses.

    python benchmarks/page.py --out reports/page/page.json

Pages of K = 10 and K = 400 at 7,000 rows, of twelve clusterings with long names, and of N = 1.28
million rows in K = 25,000 labelled groups (16 dimensions: the page does not depend on them beyond
16) are written and opened in headless Chromium, seven times each. First paint is the browser's own
"first-contentful-paint", in milliseconds after navigation began; ready is when the page's script
has run.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import torch
from playwright.sync_api import Browser, sync_playwright
from transport import commit, this_machine
from validity_worlds import worlds

import nemd_toolkit as nt
from nemd_toolkit.files import write_text
from nemd_toolkit.report.analysis import Analysis

TURNS = 7
_PAINT = """() => new Promise((done) => new PerformanceObserver((list) => done(
    list.getEntriesByName("first-contentful-paint")[0].startTime
)).observe({type: "paint", buffered: true}))"""
_READY = "() => performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"


def analyses() -> Iterator[tuple[str, Analysis]]:
    """Small, with as many prototypes as are tried by default, and the largest that is asked for."""
    for k in (10, 400):
        rows, _ = worlds.clusters(7_000, 64, k, 0.6)
        yield f"N=7,000, K={k}", nt.analyze(rows, prototypes=k)
    rows, group = worlds.clusters(12_000, 32, 400, 0.6)
    names = [f"{'ל' * 200} {g}" for g in group.tolist()]  # two bytes a letter
    dozen = ("labels", *range(200, 189, -1))
    yield (
        "twelve clusterings, long names",
        nt.analyze(nt.Embeddings(rows, labels=names), prototypes=dozen),
    )
    rows, group = worlds.clusters(1_280_000, 16, 25_000, 0.6)
    big = nt.Embeddings(rows, labels=group.numpy())
    yield "N=1,280,000, K=25,000", nt.analyze(big, prototypes="labels")


def opened(browser: Browser, page: Path) -> dict[str, float]:
    """Open a page once, in a context of its own, so that nothing is kept from before."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.goto(page.as_uri())
    found = {"first_paint_ms": tab.evaluate(_PAINT), "ready_ms": tab.evaluate(_READY)}
    context.close()
    return found


def measured(name: str, analysis: Analysis, browser: Browser, folder: Path) -> dict[str, Any]:
    """Write one page, and open it several times."""
    start = time.perf_counter()
    page = analysis.write(folder / name.replace(",", "").replace(" ", "-"))
    seconds = time.perf_counter() - start
    turns = [opened(browser, page) for _ in range(TURNS)]
    found = {
        key: {
            "median": statistics.median(t[key] for t in turns),
            "most": max(t[key] for t in turns),
        }
        for key in turns[0]
    }
    return {"name": name, "bytes": page.stat().st_size, "write_seconds": seconds, **found}


def main() -> None:
    """Measure all pages, print and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("reports/page/page.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        path = which("chromium") or playwright.chromium.executable_path
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name, analysis in analyses():
            rows.append(measured(name, analysis, browser, Path(folder)))
            print(rows[-1], flush=True)
    document = {"schema": "nemd-page/1", "commit": commit(), "machine": this_machine("cpu")}
    text = json.dumps({**document, "pages": rows}, indent=1, ensure_ascii=False)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(options.out, text + "\n")


if __name__ == "__main__":
    main()
