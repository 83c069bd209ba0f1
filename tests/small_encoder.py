"""A checkpoint with an encoder that is small, and not trained."""

import torch

from nemd_toolkit.encoders import build_resnet


def save(path, seed):
    """Write it; gives the path."""
    torch.manual_seed(seed)
    net = build_resnet("resnet8-tiny", channels=1, dim=6)
    net.train()
    net(torch.rand(32, 1, 8, 8))
    state = {f"module.encoder_q.{k}": v for k, v in net.state_dict().items()}
    entry = {"channels": 1, "size": [8, 8], "mean": [0.3], "std": [0.4]}
    nemd = {"format": "pauc-train/1", "method": "moco", "image": entry, "prototypes": []}
    torch.save({"state_dict": state, "arch": "resnet8-tiny", "nemd": nemd}, path)
    return path
