"""The callbacks under the real Lightning and the real Trainer of Hugging Face."""

import builtins
import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from nemd_toolkit.errors import InputError
from nemd_toolkit.monitor import Monitor, lightning, transformers

ROWS = 640


class Net(nn.Module):
    """The loss draws all rows to one point, or keeps them as they are."""

    def __init__(self, collapses):
        super().__init__()
        self.projector, self.collapses = nn.Linear(16, 16), collapses

    def forward(self, x):
        y = nn.functional.normalize(self.projector(x), dim=1)
        away = y - y[:1].detach() if self.collapses else 0 * y
        return {"loss": away.square().sum(1).mean() + 1e-6, "rows": y}


def net(collapses):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net(collapses)


def inputs():
    g = torch.Generator().manual_seed(0)
    return torch.randn(ROWS, 16, generator=g) + 1  # a common part to draw to


def monitor(said):
    return Monitor(
        every=10, on_finding="stop", log=None, say=said.append, window=320, k=8, warmup=0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def pl(peers):
    """Lightning reads torchmetrics, which reads torchvision: see `peers`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightning.pytorch
    return lightning.pytorch


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("collapses", [True, False])
def test_lightning_stops_a_training_that_collapses_and_no_other(pl, collapses, tmp_path):
    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net(collapses)

        def training_step(self, batch, _):
            return self.net(batch[0])["loss"]

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=3.0)

    said = []
    watch = monitor(said)
    trainer = pl.Trainer(
        max_epochs=8, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
        callbacks=[lightning.MonitorCallback(watch, layer="net.projector", classes=9)],
    )  # fmt: skip
    trainer.fit(Module(), DataLoader(TensorDataset(inputs()), batch_size=32))
    assert watch.should_stop is collapses
    assert (trainer.global_step < 160) is collapses
    assert bool(said) is collapses
    assert watch.last.loss.mean > 0
    assert watch.steps == trainer.global_step


class Rows(Dataset):
    def __len__(self):
        return ROWS

    def __getitem__(self, index):
        return {"x": inputs()[index]}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("collapses", [True, False])
def test_the_trainer_of_hugging_face_stops_likewise(peers, collapses, tmp_path):
    from transformers import Trainer, TrainingArguments

    said = []
    watch = monitor(said)
    trainer = Trainer(
        model=net(collapses),
        args=TrainingArguments(
            output_dir=str(tmp_path), max_steps=120, per_device_train_batch_size=32, use_cpu=True,
            learning_rate=3.0, optim="sgd", report_to=[], save_strategy="no", logging_steps=5,
            disable_tqdm=True, max_grad_norm=0,
        ),
        train_dataset=Rows(),
        callbacks=[transformers.MonitorCallback(watch, layer="projector")],
    )  # fmt: skip
    trainer.train()
    assert watch.should_stop is collapses
    assert (trainer.state.global_step < 120) is collapses
    assert bool(said) is collapses
    assert watch.last.loss.mean > 0
    assert watch.steps == trainer.state.global_step


@pytest.mark.parametrize(("module", "extra"), [(lightning, "lightning"), (transformers, "trainer")])
def test_a_missing_extra_is_one_sentence(module, extra, monkeypatch):
    plain = builtins.__import__

    def without(name, *rest):
        if name.startswith(("lightning", "transformers")):
            raise ImportError(name)
        return plain(name, *rest)

    module._made.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=rf"pip install 'nemd-toolkit\[{extra}\]'"):
        _ = module.MonitorCallback
    with pytest.raises(AttributeError, match="has no attribute 'Other'"):
        _ = module.Other
