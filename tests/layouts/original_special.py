"""Files of CMC and AMDIM, whose networks are their authors' own."""

import torch
from torch import nn

from tests.encoders.authors import Amdim, Cmc, CmcAlexNet, CmcResNet
from tests.layouts.framework_modules import joined, under
from tests.layouts.original import DIM, FEATURES, Original, Way, filled, linear
from tests.layouts.sources import amdim_evaluator, options

CMC_CHANNELS = {"l_to_ab": slice(0, 1), "ab_to_l": slice(1, 3)}


class Pooled(nn.Module):
    """Rows of CMC's networks at one layer, side by side; of both halves, or of one."""

    def __init__(self, model, layer, names=tuple(CMC_CHANNELS)):
        super().__init__()
        self.model, self.layer, self.names = model, layer, names

    def forward(self, x):
        rows = [getattr(self.model, n)(x[:, CMC_CHANNELS[n]], self.layer) for n in self.names]
        return torch.cat(rows, 1)


def cmc():
    """Of AlexNets: the projector is three pieces behind the last pooling."""
    model = filled(Cmc(CmcAlexNet), 0)
    data = {
        "opt": options(model="alexnet", view="Lab", amp=False),
        "model": under(model.state_dict(), "encoder.module."),
        "contrast": {"memory_l": torch.ones(12, DIM), "memory_ab": torch.ones(12, DIM)},
        "epoch": 240,
    }
    ways = {"encoder": Way(network=Pooled(model, 5), side=224, layer="backbone")}
    for branch, name in (("l", "l_to_ab"), ("ab", "ab_to_l")):
        half = getattr(model, name)
        head = nn.Sequential(half.fc6, half.fc7, half.fc8)
        ways[branch] = Way(network=Pooled(model, 5, (name,)), side=224, head=head)
    return Original(data=data, ways=ways)


def cmc_pycontrast():
    """Of ResNets, one encoder and its average; the projectors are beside them."""
    states, ways = [], {}
    for seed, branch in enumerate(("query", "key")):
        model = filled(Cmc(CmcResNet), seed)
        halves = {"encoder1": model.l_to_ab, "encoder2": model.ab_to_l}
        heads = {n: nn.Sequential(linear(10 * seed + n)) for n in (1, 2)}
        state = {
            key: value
            for key, value in joined(**{k: v.state_dict() for k, v in halves.items()}).items()
            if ".fc." not in key
        } | joined(**{f"head{n}": head.state_dict() for n, head in heads.items()})
        states.append(under(state, "module."))
        ways[branch] = Way(network=Pooled(model, 6), layer="backbone")
        for name, own, n in (("y", "l_to_ab", 1), ("dbdr", "ab_to_l", 2)):
            ways[f"{branch}-{name}"] = Way(network=Pooled(model, 6, (own,)), head=heads[n])
    assert ways["key-y"].head[0].in_features == FEATURES
    data = {"opt": options(modal="CMC"), "model": states[0], "model_ema": states[1], "epoch": 240}
    return Original(data=data, ways=ways)


def amdim():
    model = filled(Amdim(128), 0)
    evaluator = amdim_evaluator()
    head = nn.Linear(64, 5)
    start = "block_glb_lin.block_forward.2."
    head.load_state_dict({k: evaluator[f"{start}{k}"] for k in ("weight", "bias")})
    data = {
        "model": joined(encoder__module=model.state_dict(), evaluator=evaluator),
        "hyperparams": {"ndf": 8, "n_rkhs": 64, "n_depth": 2, "encoder_size": 128},
        "cursor": {"info_epoch": 150},
    }
    way = Way(network=model, side=128, head=head, layer="classifier")
    return Original(data=data, ways={"encoder": way})


SPECIAL = {"cmc": cmc, "cmc/pycontrast": cmc_pycontrast, "amdim": amdim}
