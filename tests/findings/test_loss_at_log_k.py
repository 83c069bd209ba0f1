"""NEMD011 and the training log it reads: pinned, learning, too short, absent, foreign, damaged."""

import dataclasses
import json
from math import log
from pathlib import Path

import pytest
import torch

from nemd_toolkit.checkpoints import LoggedLoss, TrainingLog, read_checkpoint
from nemd_toolkit.checkpoints.training_log import read_log
from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.findings import Thresholds, decide
from nemd_toolkit.findings.loss_at_log_k import check
from nemd_toolkit.formulas import info_nce, proto_nce
from nemd_toolkit.measures import measure
from nemd_toolkit.pipeline import analyze
from nemd_toolkit.prototypes import fit_prototypes
from tests import worlds

LN_513 = log(513)
CONFIG = {"queue_size": 512, "negatives": 512}


def row(epoch, info, proto=None, counts=(10, 20)):
    terms = {"info_nce": info} | ({} if proto is None else {"proto_nce": proto})
    clusterings = [{"k": k} for k in counts] if proto is not None else []
    return {"epoch": epoch, "terms": terms, "clusterings": clusterings}


def judged(*values, name="info_nce", chance=LN_513, first=5):
    e = Embeddings(worlds.clusters(200, 16, 5, 0.5)[0])
    losses = [
        LoggedLoss(name=name, epoch=first + i, value=value, chance=chance)
        for i, value in enumerate(values)
    ]
    log_ = TrainingLog(losses=tuple(losses)) if losses else None
    measures = measure(e, [fit_prototypes(e, 5)], log=log_)
    return check(measures, Thresholds())


def test_equal_logits_cost_exactly_what_chance_says(tmp_path):
    q = torch.ones(4, 8) / 8**0.5
    pinned = float(info_nce(q, q, q[:1].repeat(512, 1)))
    vectors, phi = q[:1].repeat(20, 1), torch.full((20,), 0.2)
    proto = float(proto_nce(q, vectors, phi, torch.tensor([0, 3, 3, 7]), negatives=512))
    found = read_log({"config": CONFIG, "log": row(9, pinned, proto, (20,))}, tmp_path / "last.pt")
    for loss in found.losses:
        assert loss.value == pytest.approx(loss.chance, rel=1e-6)
    assert [loss.name for loss in found.losses] == ["info_nce", "proto_nce"]


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ((6.239, 6.240, 6.242), "issue"),
        ((6.26, 6.25, 6.27), "issue"),  # from above as well
        ((6.10, 6.08, 6.09), "warning"),
        ((5.5, 6.24, 6.24), "passed"),  # not over all three epochs
        ((3.6, 3.5, 3.4), "passed"),
        ((6.24,), "issue"),  # a checkpoint alone knows its last epoch
        ((), "not_applicable"),
    ],
)
def test_a_loss_is_pinned_if_it_stays_near_ln_k(values, status):
    finding = judged(*values)
    assert finding.status == status
    if values:
        assert "6.240" in finding.message


def test_the_first_epochs_of_a_run_are_no_evidence():
    assert judged(6.24, 6.24, first=0).status == "not_applicable"
    assert judged(6.24, 6.24, 6.24, first=0).status == "issue"


def test_a_pinned_prototype_loss_is_an_issue_and_decides_the_verdict():
    finding = judged(2.99, 2.98, 3.0, name="proto_nce", chance=log(20))
    assert finding.status == "issue"
    assert decide([finding]).state == "collapsed"


def write_log(folder, rows):
    text = "".join(json.dumps(r) + "\n" for r in rows)
    (folder / "log.jsonl").write_text(text, encoding="utf-8")


def test_lines_beside_the_checkpoint_are_read_up_to_its_epoch(tmp_path):
    rows = [row(e, 6.0 - e / 10) for e in range(6)]
    write_log(tmp_path, rows)
    found = read_log({"config": CONFIG, "log": rows[3]}, tmp_path / "last.pt")
    assert [loss.epoch for loss in found.losses] == [0, 1, 2, 3]


def test_the_log_of_another_run_is_left_alone(tmp_path):
    write_log(tmp_path, [row(e, 6.24) for e in range(4)])
    found = read_log({"config": CONFIG, "log": row(3, 2.0)}, tmp_path / "last.pt")
    assert [loss.value for loss in found.losses] == [2.0]


@pytest.mark.parametrize(
    "text", [b"\xff\xfe", b"{", b"[" * 100_000, b"1\n2\n", b'{"epoch": 1e999}', b"9" * 10_000, b""]
)
def test_a_damaged_log_is_left_out(tmp_path, text):
    (tmp_path / "log.jsonl").write_bytes(text)
    found = read_log({"config": CONFIG, "log": row(3, 2.0)}, tmp_path / "last.pt")
    assert [loss.epoch for loss in found.losses] == [3]


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"config": CONFIG},
        {"config": 3, "log": row(3, 2.0)},
        {"config": CONFIG, "log": [1]},
        {"config": {"queue_size": "many"}, "log": row(3, 2.0)},
        {"config": {"queue_size": -5}, "log": row(3, 2.0)},
        {"config": {"queue_size": 10**400}, "log": row(3, 2.0)},
        {"config": CONFIG, "log": row(3, float("nan"))},
        {"config": CONFIG, "log": row(3, torch.ones(3))},
        {"config": CONFIG, "log": row("x", 2.0)},
        {"config": CONFIG, "log": {"epoch": 3, "terms": [2.0]}},
    ],
)
def test_a_log_that_does_not_fit_is_no_log(tmp_path, own):
    assert read_log(own, tmp_path / "last.pt") is None


def test_sampled_negatives_have_no_fixed_number_of_classes(tmp_path):
    own = {"config": {"queue_size": 512, "negatives": 8}, "log": row(3, 2.0, 1.0)}
    found = read_log(own, tmp_path / "last.pt")
    assert [loss.name for loss in found.losses] == ["info_nce"]


def test_a_checkpoint_of_pauc_train_brings_its_log_to_the_finding(pcl_checkpoint):
    checkpoint = read_checkpoint(pcl_checkpoint)
    assert [loss.epoch for loss in checkpoint.log.losses] == [0, 1, 1]  # warm-up, then prototypes
    lines = Path(pcl_checkpoint).with_name("log.jsonl").read_text().splitlines()
    assert checkpoint.log.losses[0].value == json.loads(lines[0])["terms"]["info_nce"]
    found = analyze(checkpoint, "digits", 10)
    finding = {f.about.code: f for f in found.findings}["NEMD011"]
    assert finding.status == "not_applicable"  # two epochs
    assert "too few" in finding.message
    later = [dataclasses.replace(loss, epoch=loss.epoch + 9) for loss in checkpoint.log.losses]
    longer = dataclasses.replace(checkpoint, log=TrainingLog(losses=tuple(later)))
    found = analyze(longer, "digits", 10)
    assert {f.about.code: f for f in found.findings}["NEMD011"].measured["loss"] > 0
