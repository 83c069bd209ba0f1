"""A real browser, and pages of analyses to open in it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page, sync_playwright

import nemd_toolkit as nt
from nemd_toolkit.report.analysis import Analysis
from tests import worlds

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium: the system's, else playwright's own, else the tests are skipped."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    with sync_playwright() as playwright:
        if path is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("no chromium here: install it, or call playwright install chromium")
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Open a file as a reader would; what it logs, asks for or throws is an error at the end."""
    contexts, wrong = [], []

    def opened(path: Path, *, width: int = 1280, scheme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked(request.url, path))
        page.goto(path.as_uri())
        return page

    def asked(url: str, path: Path) -> None:
        if url != path.as_uri() and not url.startswith(("data:", "blob:")):
            wrong.append(f"asked for {url}")

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="session")
def analysis() -> Analysis:
    """Groups with labels, two numbers of prototypes."""
    rows, group = worlds.clusters(900, 24, 9, 0.5)
    names = [f"kind {'abcdefghi'[g]}" for g in group]
    return nt.analyze(nt.Embeddings(rows, labels=names), prototypes=(9, 5, "labels"))


@pytest.fixture(scope="session")
def report(analysis: Analysis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of `analysis`."""
    return analysis.write(tmp_path_factory.mktemp("browser") / "report")


@pytest.fixture(scope="session")
def digits_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with images: of a network that has learnt nothing, from a checkpoint."""
    from pauc_train.loop import fit

    folder = tmp_path_factory.mktemp("digits")
    torch.set_num_threads(1)
    checkpoint = fit("mocov2", "digits", epochs=1, out=folder)
    return nt.analyze(checkpoint, "digits", (10,)).write(folder / "report")
