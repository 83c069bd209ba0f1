"""The libraries whose encoders ours are compared with."""

import warnings
from types import SimpleNamespace

import pytest
import torch


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
