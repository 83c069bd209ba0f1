"""Logs for other programs: TensorBoard's own reader finds what was written."""

import builtins

import pytest

from nemd_toolkit.errors import InputError
from pauc_train.loggers import to_tensorboard, to_wandb

ROW = {
    "epoch": 3,
    "loss": 1.5,
    "terms": {"info_nce": 1.25, "proto_nce": 0.25},
    "learning_rate": 0.01,
    "clusterings": [{"k": 10, "objective": 0.5, "used": 9}],
    "seconds": 2.0,
}


def test_tensorboard_reads_every_number_back(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    write = to_tensorboard(tmp_path)
    write(ROW | {"epoch": 2, "loss": 2.0})
    write(ROW)
    found = reader.EventAccumulator(str(tmp_path))
    found.Reload()
    assert set(found.Tags()["scalars"]) == {
        "loss", "learning_rate", "seconds", "terms/info_nce", "terms/proto_nce",
        "k-means/objective at 10", "k-means/used of 10",
    }  # fmt: skip
    assert [(e.step, e.value) for e in found.Scalars("loss")] == [(2, 2.0), (3, 1.5)]


@pytest.mark.parametrize(
    ("make", "extra"),
    [(to_tensorboard, "tensorboard"), (lambda _: to_wandb("p", {}), "wandb")],
)
def test_a_missing_extra_is_one_sentence(tmp_path, monkeypatch, make, extra):
    plain = builtins.__import__

    def without(name, *rest):
        if name in ("wandb", "torch.utils.tensorboard"):
            raise ImportError(name)
        return plain(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=rf"nemd-toolkit\[{extra}\]"):
        make(tmp_path)
