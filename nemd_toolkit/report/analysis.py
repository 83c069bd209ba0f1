"""One finished analysis: what was measured, what was found, the verdict, and where it came from."""

from dataclasses import dataclass
from pathlib import Path

from nemd_toolkit.findings import Baseline, Finding, Verdict
from nemd_toolkit.measures import Measures
from nemd_toolkit.report.exemplars import Exemplars
from nemd_toolkit.report.neighbour_map import NeighbourMap

__all__ = ["Analysis", "Provenance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What was analysed, and with what; enough to repeat it."""

    source: str  # the name as given
    sha256: str | None  # of the file; None for arrays in memory
    layout: str  # of the checkpoint, or the format of the embeddings
    layer: str | None  # of the encoder; None for embeddings
    data: str | None  # the images that were embedded
    seed: int
    command: str  # that repeats the analysis
    versions: dict[str, str]
    device: str
    seconds: float
    notes: tuple[str, ...]  # what was done to the input, such as normalising rows
    branch: str | None = None  # of the checkpoint's encoders; None for embeddings
    default_branch: bool = True  # that its layout takes by itself
    encoder: str | None = None  # that the user gave in place of the checkpoint's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """One finished analysis."""

    measures: Measures
    findings: tuple[Finding, ...]
    verdict: Verdict
    provenance: Provenance
    baseline: Baseline | None = None  # that the findings were judged against
    exemplars: tuple[
        Exemplars, ...
    ] = ()  # where images are at hand; of the clustering that figures show

    neighbour_map: NeighbourMap | None = None  # where one was asked for

    def to_json(self) -> str:
        """Give the document of schema nemd-report/1 as text."""
        from nemd_toolkit.report.document import to_json

        return to_json(self)

    def write(self, folder: Path | str) -> Path:
        """Write report.html, report.json, tables and figures; returns the path of the page."""
        from nemd_toolkit.report.folder import write

        return write(self, Path(folder))
