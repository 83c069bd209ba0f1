"""A plain ResNet's classifier: NC3 and NC4 from a checkpoint file, on what it was trained on."""

import math

import numpy as np
import pytest
import torch

import nemd_toolkit as nt
from nemd_toolkit.encoders import build_resnet
from nemd_toolkit.images import open_images
from nemd_toolkit.report.label_rows import label_numbers


def network(classes=10):
    """A small grey ResNet whose batch statistics are not those of a fresh one."""
    torch.manual_seed(0)
    net = build_resnet("resnet8-small", channels=1, dim=classes)
    net.train()
    net(torch.rand(64, 1, 8, 8))
    return net.eval()


def saved(net, path):
    torch.save({"state_dict": net.state_dict(), "arch": "resnet8-small"}, path)
    return path


@pytest.fixture(scope="module")
def net():
    """Its classifier answers with the nearest class mean: ‖x − μ‖² = ‖x‖² − 2(x·μ − ‖μ‖²/2)."""
    net = network()
    rows, labels = raw_features(net)
    means = torch.from_numpy(np.stack([rows[labels == c].mean(0) for c in range(10)]))
    with torch.no_grad():
        net.fc.weight.copy_(means)
        net.fc.bias.copy_(-means.square().sum(1) / 2)
    return net


@pytest.fixture(scope="module")
def analysis(net, tmp_path_factory):
    path = saved(net, tmp_path_factory.mktemp("head") / "classifier.pt")
    return nt.analyze(path, "digits", 5, split="test")


def raw_features(net):
    """Backbone outputs by hand, with the mean and std of an unknown grey ResNet."""
    images = open_images("digits", "test")
    mean, std = np.mean([0.485, 0.456, 0.406]), np.mean([0.229, 0.224, 0.225])
    with torch.no_grad():
        seen = (images.batch(torch.arange(images.count)) - mean) / std
        return net.features(seen.float()).double().numpy(), np.asarray(images.labels)


def test_both_are_those_of_the_papers_on_raw_features(analysis, net):
    rows, labels = raw_features(net)
    w, b = (p.detach().double().numpy() for p in (net.fc.weight, net.fc.bias))
    means = np.stack([rows[labels == c].mean(0) for c in range(10)])
    m = means - means.mean(0)
    gap = np.square(w / np.linalg.norm(w) - m / np.linalg.norm(m)).sum()
    found = analysis.measures.neural_collapse
    assert found.nc3 == pytest.approx(gap, rel=1e-5)  # the encoder's pass is float32
    assert found.nc4 == pytest.approx(1.0, abs=1 / len(rows))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    told = (unit @ w.T + b).argmax(1)
    assert np.mean(told == (rows @ w.T + b).argmax(1)) < 0.9  # the trap: a bias and unit rows


def test_the_report_shows_them_and_says_what_is_assumed(analysis):
    shown = {row.name: row for row in label_numbers(analysis.measures)}
    assert "sorted order" in shown["NC3"].meaning
    assert shown["NC4"].values[0].endswith("%")
    assert sum("labels in sorted order" in note for note in analysis.provenance.notes) == 1
    assert analysis.measures.neural_collapse.head_missing is None


def without_head(path, **options):
    analysis = nt.analyze(path, "digits", 5, **{"split": "test"} | options)
    found = analysis.measures.neural_collapse
    assert found.nc3 is found.nc4 is None
    assert "no linear classifier" in found.head_missing
    assert not any("NC3" in note for note in analysis.provenance.notes)
    assert "NC3" not in {row.name for row in label_numbers(analysis.measures)}


def test_another_layer_or_other_labels_have_no_classifier(net, tmp_path):
    path = saved(net, tmp_path / "a.pt")
    without_head(path, layer="classifier")
    count = open_images("digits", "test").count
    without_head(path, labels=np.arange(count) % 7)


@pytest.mark.parametrize("classes", [1, 9, 64])
def test_a_head_of_another_size_is_no_classifier_of_these_labels(classes, tmp_path):
    without_head(saved(network(classes), tmp_path / "a.pt"))


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_an_untrained_or_broken_classifier_does_not_stop_the_analysis(value, tmp_path):
    net = network()
    torch.nn.init.constant_(net.fc.weight, value)
    without_head(saved(net, tmp_path / "a.pt"))


def test_a_contrastive_head_is_no_classifier(net, tmp_path):
    state = {f"module.encoder_q.{k}": v for k, v in net.state_dict().items()}
    torch.save({"state_dict": state, "arch": "resnet8-small"}, tmp_path / "moco.pt")
    without_head(tmp_path / "moco.pt", layer="backbone")
