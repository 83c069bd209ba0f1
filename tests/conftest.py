"""Settings shared by all tests."""

import torch
from hypothesis import settings

settings.register_profile("nemd", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("nemd")
torch.set_num_threads(1)  # beside other test runs, spinning threads cost five-fold
