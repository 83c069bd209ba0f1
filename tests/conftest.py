"""Settings shared by all tests."""

import pytest
import torch
from hypothesis import settings

settings.register_profile("nemd", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("nemd")
torch.set_num_threads(1)  # beside other test runs, spinning threads cost five-fold


@pytest.fixture(scope="session")
def pcl_checkpoint(tmp_path_factory):
    """A PCL checkpoint trained for two epochs on digits, prototypes included."""
    from pauc_train.loop import fit

    settings = {"warmup_epochs": 1, "clusters": [20, 10]}
    out = tmp_path_factory.mktemp("pcl")
    return fit("pcl", "digits", epochs=2, out=out, overrides=settings)
