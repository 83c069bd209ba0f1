"""A tiny run that every test of the trainer can afford."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nemd_toolkit.encoders import ResNet, ResNetShape
from pauc_train import loop
from pauc_train.data import open_split
from pauc_train.expectation import cluster
from pauc_train.method import Setup
from pauc_train.methods.pauc import PaucConfig

TINY = {
    "epochs": 4,
    "batch_size": 50,
    "embedding_dim": 8,
    "clusters": [4, 6],
    "queue_size": 300,
    "warmup_epochs": 1,
    "save_every": 2,
    "kmeans_restarts": 1,
    "arch": "resnet8-tiny",
}
IMAGES = 256


@pytest.fixture(scope="package", autouse=True)
def few_digits():
    """Let runs see 256 digits, on one thread: batches this small gain nothing from a second."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "open_split", open_few)
        yield
    torch.set_num_threads(threads)


def open_few(data, split, image_size):
    images = open_split(data, split, image_size)
    return replace(images, ids=images.ids[:IMAGES], labels=images.labels[:IMAGES])


@pytest.fixture
def tiny():
    return dict(TINY)


@pytest.fixture
def encoder():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ResNet(ResNetShape(blocks=(1,), width=4, stem="small", channels=1, dim=5))


@pytest.fixture
def config():
    return PaucConfig(
        arch="resnet8-tiny", head="linear", embedding_dim=5, queue_size=12, clusters=(3, 4),
        warmup_epochs=0, negatives=2, alpha=0.7, beta=0.5, gamma=0.3, uniform_log=False,
        key_momentum=0.9,
    )  # fmt: skip


@pytest.fixture
def setup(config):
    return Setup(
        config=config, count=40, channels=1, size=(8, 8), generator=torch.Generator().manual_seed(0)
    )


@pytest.fixture
def clusterings(config):
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 5))).float()
    unit = torch.nn.functional.normalize(points, dim=1)
    return cluster(unit, config, mean_phi=config.temperature)
