"""Settings shared by all tests."""

import sys
import warnings
from types import SimpleNamespace

import pytest
import torch
from hypothesis import settings

from nemd_toolkit import __main__ as entry

settings.register_profile("nemd", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("nemd")
torch.set_num_threads(1)  # beside other test runs, spinning threads cost five-fold


@pytest.fixture(scope="session")
def pcl_checkpoint(tmp_path_factory):
    """A PCL checkpoint trained for two epochs on digits, prototypes included."""
    from pauc_train.loop import fit

    settings = {"warmup_epochs": 1, "clusters": [20, 10]}
    out = tmp_path_factory.mktemp("pcl")
    return fit("pclv2", "digits", epochs=2, out=out, overrides=settings)


@pytest.fixture
def nemd(monkeypatch, capsys, tmp_path):
    """Run `nemd` with words in an empty folder; gives its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["nemd", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            entry.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


@pytest.fixture(scope="session")
def peers():
    """Give torchvision, timm and transformers.

    torchvision has no build beside torch's for processors alone: two operators that its import asks
    for are declared first (never called here).
    """
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import timm
        import torchvision
        import transformers
    yield SimpleNamespace(timm=timm, torchvision=torchvision, transformers=transformers)
    del library
