"""The folder of an analysis: page, JSON, tables, figures and card, the page last."""

from pathlib import Path

from nemd_toolkit.errors import InputError
from nemd_toolkit.figures.saving import png_bytes
from nemd_toolkit.files import replacing
from nemd_toolkit.progress import bar
from nemd_toolkit.report.analysis import Analysis
from nemd_toolkit.report.card import DPI as CARD_DPI
from nemd_toolkit.report.card import draw_card
from nemd_toolkit.report.document import to_json
from nemd_toolkit.report.gallery import gallery
from nemd_toolkit.report.page import page
from nemd_toolkit.report.tables import csv_text, pair_tables, prototype_tables
from nemd_toolkit.report.wording import storable

__all__ = ["write", "write_files"]


def write(analysis: Analysis, folder: Path) -> Path:
    """Write everything and give the path of report.html.

    All of it is made before anything is written, and each file appears whole or not at all; a page
    is there only if the files that it links to are. Raises InputError if the folder cannot be
    written to.
    """
    with bar("drawing the report", 1):
        pictures = gallery(analysis)
        files: dict[str, str | bytes] = {
            "report.json": to_json(analysis),
            "prototypes.csv": csv_text(prototype_tables(analysis)),
            "nemd_pairs.csv": csv_text(pair_tables(analysis)),
            "card.png": png_bytes(draw_card(analysis), CARD_DPI),
            **{f"figures/{picture.name}.png": png_bytes(picture.figure) for picture in pictures},
            "report.html": page(analysis, pictures),
        }
    write_files(folder, files)
    return folder / "report.html"


def write_files(folder: Path, files: dict[str, str | bytes]) -> None:
    """Write files into a folder in their order, each atomically."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            data = content if isinstance(content, bytes) else storable(content).encode()
            with replacing(folder / name) as part:
                part.write_bytes(data)
    except OSError as error:
        raise InputError(
            f"report: expected a folder that can be written to, got {str(folder)!r} "
            f"({error.strerror}); give another one with --out"
        ) from error
