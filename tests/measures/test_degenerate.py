"""Degenerate input: every number is finite, or null with its reason, and no verdict is healthy."""

import json
import math
import re

import numpy as np
import pytest
import torch

import nemd_toolkit as nt
from nemd_toolkit.measures.summary import measure
from nemd_toolkit.prototypes import fit_prototypes, prototypes_from_labels, prototypes_from_vectors
from nemd_toolkit.report.document import measures_part
from tests import worlds

SINGLES = worlds.noise(20, 16)
COLLAPSED = {  # to one point
    "two equal rows": worlds.equal(2, 8),
    "all rows equal": worlds.equal(150, 8),
    "equal but for rounding": worlds.equal(150, 8, 1e-6),
    "equal in float16": worlds.equal(150, 8).half(),
    "equal, tiny": worlds.equal(150, 8) * 1e-30,
    "equal, huge": worlds.equal(150, 8) * 1e30,
}
SMALL = {  # no clustering has five prototypes of 16 rows, or one of them says so
    "one row": worlds.noise(1, 8),
    "two rows": worlds.noise(2, 8),
    "three rows": worlds.noise(3, 8),
    "N < d": worlds.noise(20, 64),
    "two points": worlds.points(2, 150, 8),
    "antipodal points": torch.tensor([[0.6, 0.8, 0.0], [-0.6, -0.8, 0.0]]).repeat(60, 1),
    "rank 1": worlds.rank(1, 150, 8),
    "one huge cluster and singletons": torch.cat([worlds.equal(180, 16, 0.01), SINGLES]),
    "one huge point and singletons": torch.cat([worlds.equal(180, 16), SINGLES]),
    "half of the rows repeated": worlds.noise(50, 8).repeat(2, 1),
}
ODD = {  # enough rows, of a law or form that is unusual
    "d = 2": worlds.noise(260, 2),
    "basis vectors": torch.eye(8).repeat(32, 1),
    "lengths of 1e-300": worlds.noise(260, 8).double() * 1e-300,
    "lengths of 1e200": worlds.noise(260, 8).double() * 1e200,
    "lengths from 1e-30 to 1e30": worlds.noise(260, 8) * torch.logspace(-30, 30, 260)[:, None],
}
FAMILY = COLLAPSED | SMALL | ODD


def columns(n):
    """Labels and groups of every degenerate kind."""
    return {
        "none": {},
        "labels all equal": {"labels": np.zeros(n, dtype=int)},
        "labels all distinct": {"labels": np.arange(n)},
        "groups of one": {"groups": np.arange(n)},
        "one group": {"labels": np.arange(n) % 2, "groups": np.zeros(n, dtype=int)},
        "pairs": {"labels": np.arange(n) % 3, "groups": np.arange(n) // 2},
    }


def unexplained(value, path="", beside=None):
    """Paths of what is null without a reason beside it, and of what is not finite."""
    if isinstance(value, dict):
        return [p for k, v in value.items() for p in unexplained(v, f"{path}.{k}", value)]
    if isinstance(value, list):
        return [p for v in value for p in unexplained(v, f"{path}[]", beside)]
    if value is None:
        key = path.rpartition(".")[2]
        reason = REASONS.get(key, "missing")
        return [] if key.endswith("missing") or (beside or {}).get(reason) else [path]
    if isinstance(value, float):
        return [] if math.isfinite(value) else [f"{path} = {value}"]
    return []


REASONS = {"nc3": "head_missing", "nc4": "head_missing", "linear_probe": "probe_missing"}


def documented(m):
    """Paths that may be null without a reason, by the docstring of `measures_part`."""
    e = m.clusterings[0].prototypes.embeddings
    shared = e.groups is not None and len(np.unique(e.groups)) < len(e)
    samples = len(e) if e.groups is None else len(np.unique(e.groups))
    found = set()
    if e.labels is None:
        found |= {".embeddings.classes", ".neural_collapse", ".quality"}
    if e.labels is None or len(np.unique(e.labels)) == 1:
        found |= {".clusterings[].labels"}
    if any(c.source == "labels" for c in m.clusterings):
        found |= {".clusterings[].labels"}
    if not shared:
        found |= {".instance.align"}
    if len(e) == 1:
        found |= {".instance.corr"}
    if samples == 1:
        found |= {".instance.koleo"}
    if any(c.usage.used == 1 for c in m.clusterings):
        found |= {".clusterings[].spread.nearest_pair"}
        found |= {f".clusterings[].prototype.{name}" for name in ("uniform", "corr", "koleo")}
    if any(c.source != "own" for c in m.clusterings):
        found |= {".clusterings[].spread.uniform_duplicates"}
    anchors = (
        "raw_uniform", "excess_spectrum", "beyond_axes", "permutation_p", "run_deviation"
    )  # fmt: skip
    return found | {f".clusterings[].nemd.{name}" for name in anchors}


def require_reasons(m):
    part = json.loads(json.dumps(measures_part(m), allow_nan=False))
    assert set(unexplained(part)) <= documented(m)


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("beside", columns(1))
def test_analysis_gives_numbers_or_reasons_and_is_not_healthy(name, beside):
    points = FAMILY[name]
    analysis = nt.analyze(nt.Embeddings(points, **columns(len(points))[beside]))
    require_reasons(analysis.measures)
    text = analysis.to_json()
    assert not re.search(r"\b(NaN|Infinity|nan|inf)\b", text)
    whole = json.loads(text)
    for finding in whole["findings"]:
        assert finding["message"]
        # then the message explains what is null
        told = finding["status"] == "not_applicable" or "no NEMD score: " in finding["message"]
        assert told or unexplained([finding["measured"], finding["threshold"]]) == []
    verdict = analysis.verdict
    assert verdict.state != "healthy"
    if name in COLLAPSED:
        assert (verdict.state, verdict.codes[0]) == ("collapsed", "NEMD001")
    if name in SMALL:
        assert "NEMD009" in verdict.codes


@pytest.mark.parametrize("name", FAMILY)
def test_every_kind_of_prototypes_gives_numbers_or_reasons(name):
    points = FAMILY[name]
    n = len(points)
    e = nt.Embeddings(points, labels=np.arange(n) % 4, groups=np.arange(n) // 2)
    more = prototypes_from_vectors(e, worlds.noise(n + 3, e.dim))  # N < K
    away = prototypes_from_vectors(e, torch.cat([e.vectors[:1], -e.vectors[:1].repeat(3, 1)]))
    kinds = [fit_prototypes(e, k) for k in {1, min(n, 5), n if n < 30 else 12}] + [more, away]
    if n > 1:
        kinds.append(prototypes_from_labels(e))
        kinds.append(prototypes_from_labels(e.with_labels(np.arange(n))))  # of one row each
    for prototypes in kinds:
        require_reasons(measure(e, [prototypes]))
    require_reasons(measure(e, kinds))


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lengths_change_nothing(scale, dtype):
    points = worlds.clusters(400, 16, 8, 0.9)[0].to(dtype)
    plain, scaled = (nt.analyze(rows) for rows in (points, points * scale))
    assert plain.verdict == scaled.verdict
    assert scaled.measures.nemd.score.value == pytest.approx(
        plain.measures.nemd.score.value, abs=1e-3
    )


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (torch.ones(20, 1), "n ≥ 1 and d ≥ 2"),
        (torch.ones(0, 8), "n ≥ 1 and d ≥ 2"),
        (torch.zeros(20, 8), "20 of 20 rows of norm 0"),
        (worlds.noise(20, 8).half() * 1e-8, "rows of norm 0"),  # below float16's least
        (torch.full((20, 8), torch.inf), "NaN or infinity in 20 of 20"),
        (np.full((20, 8), 1.7e308), "that float64 can hold"),
    ],
    ids=["d = 1", "no rows", "zeros", "tiny in float16", "infinite", "too long"],
)
def test_what_is_no_set_of_directions_is_refused_in_one_sentence(points, reason):
    with pytest.raises(nt.InputError, match=re.escape(reason)):
        nt.analyze(points)


def test_more_prototypes_than_rows_and_one_class_are_refused_in_one_sentence():
    with pytest.raises(nt.InputError, match="expected between 1 and 20"):
        nt.analyze(worlds.noise(20, 8), prototypes=21)
    with pytest.raises(nt.InputError, match="at least 2 classes"):
        nt.analyze(worlds.noise(20, 8), prototypes="labels", labels=[1] * 20)
