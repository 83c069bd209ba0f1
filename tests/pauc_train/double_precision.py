"""Run pauc-train in float64, where the order of sums does not decide a cluster."""

import torch

from pauc_train.__main__ import main

if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    main()
