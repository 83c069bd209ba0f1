"""Files of the poster's methods, one for each layout, as their own code saves them."""

import torch
from torch import nn

from tests.layouts.framework_modules import joined, under
from tests.layouts.original import (
    DIM,
    FEATURES,
    K,
    NormedLinear,
    Original,
    Way,
    filled,
    linear,
    mlp,
    resnet,
    vit,
)
from tests.layouts.sources import (
    OPTIMIZER,
    LinearAverage,
    NCEAverage,
    options,
    sequential,
)

MEMORY = {"memory": torch.ones(12, DIM), "params": torch.tensor([4.0, 0.07, -1, 0.5])}
PAIR = ("query", "key")


def state_of(**modules):
    return joined(**{name: module.state_dict() for name, module in modules.items()})


def two_layers(seed):
    return mlp(seed, FEATURES, FEATURES, DIM, norm=False)


def moco_state(ways, parts=None):
    """encoder_q and encoder_k, and the queue."""
    state = {}
    for way, name in zip(ways.values(), "qk", strict=True):
        head = parts(way) if parts else state_of(fc=way.head)
        state |= under(way.body | head, f"module.encoder_{name}.")
    queue = {"module.queue": torch.ones(DIM, 8), "module.queue_ptr": torch.zeros(1).long()}
    return state | queue


def pair(head, names=PAIR, **body):
    return {
        name: Way(body=resnet(seed, **body), head=head(seed)) for seed, name in enumerate(names)
    }


def moco(arch="resnet50", **entries):
    ways = pair(two_layers)
    data = {"epoch": 200, "arch": arch, "state_dict": moco_state(ways), "optimizer": OPTIMIZER}
    return Original(data=data | entries, ways=ways)


def align_uniform():
    found = moco()
    found.data["state_dict"]["module.scalar_label"] = torch.zeros(()).long()
    return found


def adco():
    bank = {"module.W": torch.ones(DIM, 9), "module.v": torch.zeros(DIM, 9)}
    return moco(best_acc=0.7, Memory_Bank=bank)


def pauc_train():
    ways = pair(two_layers, channels=1)
    centroids = torch.nn.functional.normalize(linear(7, DIM, K).weight.detach(), dim=1)
    own = {
        "k": K,
        "centroids": centroids,
        "assignment": torch.arange(40) % K,
        "phi": torch.full((K,), 0.2),
    }
    nemd = {
        "format": "pauc-train/1",
        "method": "pauc",
        "config": {"epochs": 8},
        "data": "digits",
        "image": {"channels": 1, "size": [8, 8], "mean": [0.3], "std": [0.4]},
        "prototypes": [own],
    }
    data = {
        "epoch": 8,
        "arch": "resnet18",
        "state_dict": moco_state(ways),
        "optimizer": OPTIMIZER,
        "nemd": nemd,
    }
    return Original(data=data, ways=ways, prototypes={name: [centroids] for name in PAIR})


def cld():
    def head(seed):
        shared = nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.ReLU())
        return filled(nn.Sequential(shared, NormedLinear()), seed)

    ways = pair(head)
    state = moco_state(
        ways,
        lambda way: state_of(fc=way.head[0], instDis=way.head[1], groupDis=NormedLinear()),
    )
    data = {
        "epoch": 200,
        "arch": "resnet50",
        "state_dict": state,
        "optimizer": torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.03),  # the object
        "args": options(arch="resnet50", moco_dim=DIM, normlinear=True, amp_opt_level="O1"),
        "amp": {"loss_scaler0": {"loss_scale": 65536.0}},
    }
    return Original(data=data, ways=ways)


def kuangliu(way):
    """ResNet of lemniscate.pytorch models/resnet_cifar.py: shortcut for downsample, linear."""
    named = {key.replace(".downsample.", ".shortcut."): value for key, value in way.body.items()}
    return named | state_of(linear=way.head)


def small_pair(names=PAIR):
    return {
        name: Way(body=resnet(seed, stem="small"), head=linear(seed), kind="small")
        for seed, name in enumerate(names)
    }


def cld_cifar():
    ways = small_pair()
    states = [
        under(kuangliu(way) | state_of(groupDis=nn.Sequential(linear(8))), "module.")
        for way in ways.values()
    ]
    data = {
        "opt": options(dataset="cifar10", nce_t=0.07),
        "model": states[0],
        "model_ema": states[1],
        "contrast": {"memory": torch.ones(8, DIM), "params": torch.tensor([-1])},
        "optimizer": OPTIMIZER,
        "epoch": 4,
    }
    return Original(data=data, ways=ways)


def moco_v3():
    """A ViT-S: width 384, twelve heads, fixed positions whose class row is zero."""
    ways, state = {}, {}
    for seed, name in enumerate(("base", "momentum")):
        body = vit(seed, width=384)
        body["pos_embed"][:, 0] = 0
        head = mlp(seed, 384, 32, 32, DIM, bias=False, last_bias=False, last_norm=True)
        ways[name] = Way(body=body, head=head, kind="vit", heads=12)
        state |= under(body | state_of(head=head), f"module.{name}_encoder.")
    predictor = mlp(9, DIM, 32, DIM, bias=False, last_bias=False, last_norm=True)
    state |= under(predictor.state_dict(), "module.predictor.")
    data = {"epoch": 300, "arch": "vit_small", "state_dict": state, "optimizer": OPTIMIZER}
    return Original(data=data | {"scaler": {"scale": 65536.0}}, ways=ways)


def npid():
    way = Way(body=resnet(0), head=linear(0))
    data = {
        "epoch": 200,
        "arch": "resnet50",
        "state_dict": under(way.body | state_of(fc=way.head), "module."),
        "lemniscate": LinearAverage(),
        "best_prec1": torch.tensor(54.0),
        "optimizer": OPTIMIZER,
    }
    return Original(data=data, ways={"encoder": way})


def npid_cifar():
    ways = small_pair(("encoder",))
    net = under(kuangliu(ways["encoder"]), "module.")
    data = {"net": net, "lemniscate": NCEAverage(), "acc": 80.2, "epoch": 9}
    return Original(data=data, ways=ways)


def infomin_cld():
    shared, last = two_layers(0)[:2], filled(NormedLinear(), 1)
    way = Way(body=resnet(0), head=nn.Sequential(shared, last))
    last_ones = {"proj1": nn.Sequential(last), "proj2": nn.Sequential(NormedLinear())}
    state = joined(encoder=way.body) | state_of(head=shared, **last_ones)
    data = {"model": under(state, "module."), "contrast": MEMORY, "epoch": 200}
    return Original(data=data, ways={"query": way})


def pycontrast():
    ways = pair(two_layers)
    models = [
        under(joined(encoder=way.body) | state_of(head=way.head), "module.")
        for way in ways.values()
    ]
    data = {"opt": options(method="MoCov2"), "model": models[0], "model_ema": models[1]}
    return Original(data=data | {"contrast": MEMORY, "epoch": 200}, ways=ways)


def insdis_moco():
    ways = pair(linear)
    models = [under(way.body | state_of(fc=way.head), "encoder.module.") for way in ways.values()]
    data = {"opt": options(), "model": models[0], "model_ema": models[1], "contrast": MEMORY}
    return Original(data=data | {"epoch": 240}, ways=ways)


def pic(*starts, deep=True, **extra):
    def head(seed):
        return two_layers(seed) if deep else linear(seed)

    ways = pair(head, PAIR[: len(starts)])
    state = dict(extra)
    for way, start in zip(ways.values(), starts, strict=True):
        layers = {"fc1": way.head[0], "fc2": way.head[2]} if deep else {"fc": way.head}
        state |= under(way.body | state_of(**layers), f"{start}.")
    data = {
        "opt": options(arch="resnet50", feature_dim=DIM, mlp_head=deep),
        "model": under(state, "module."),
        "optimizer": OPTIMIZER,
        "epoch": 200,
    }
    return Original(data=data, ways=ways)


def swav(several=False):
    way = Way(body=resnet(0), head=mlp(1, FEATURES, 32, DIM))
    own = [linear(2 + n, DIM, K + n, bias=False) for n in range(3 if several else 1)]
    names = [f"prototypes.prototypes{n}" for n in range(3)] if several else ["prototypes"]
    state = way.body | state_of(projection_head=way.head)
    state |= state_of(**dict(zip(names, own, strict=True)))
    data = {"epoch": 800, "state_dict": under(state, "module."), "optimizer": OPTIMIZER}
    vectors = [layer.weight.detach() for layer in own]
    return Original(data=data, ways={"encoder": way}, prototypes={"encoder": vectors})


def simsiam():
    """Its sixth layer keeps a bias that is fixed to zero."""
    head = mlp(1, FEATURES, FEATURES, FEATURES, DIM, bias=False, last_norm=True)
    way = Way(body=resnet(0), head=head)
    state = joined(encoder=way.body | state_of(fc=head))
    state |= state_of(predictor=mlp(2, DIM, 8, DIM, bias=False))
    data = {"epoch": 100, "arch": "resnet50", "state_dict": under(state, "module.")}
    return Original(data=data | {"optimizer": OPTIMIZER}, ways={"encoder": way})


def lucidrains():
    ways = pair(lambda seed: mlp(seed, FEATURES, 32, DIM), ("online", "target"))
    nets = [way.body | state_of(fc=linear(5, FEATURES, 7)) for way in ways.values()]
    state = joined(net=nets[0]) | state_of(online_predictor=mlp(3, DIM, 32, DIM))
    for way, net, (name, start) in zip(
        ways.values(), nets, (("online", "online_encoder"), ("target", "target_encoder")),
        strict=True,
    ):  # fmt: skip
        assert ways[name] is way
        state |= under(joined(net=net) | state_of(projector=way.head), f"{start}.")
    return Original(data=state, ways=ways)


def yaox12():
    children = ["conv1", "bn1", "relu", "maxpool", *(f"layer{n}" for n in range(1, 5))]

    def named(head):
        return state_of(l1=head[0], bn1=head[1], l2=head[3])

    ways = pair(lambda seed: mlp(seed, FEATURES, 32, DIM), ("online", "target"))
    state = under(named(mlp(9, DIM, 32, DIM)), "predictor.predictor.")
    for name, way in ways.items():
        parts = joined(encoder=sequential(way.body, children), projetion=named(way.head))
        state |= under(parts, f"{name}_network.")
    data = {"config": {"model": {"base_momentum": 0.996}}, "epoch": 100, "steps": 500400}
    return Original(data=data | {"model": under(state, "module."), "amp": {}}, ways=ways)


def twins(*, barlow):
    head = mlp(1, FEATURES, 32, 32, DIM, bias=not barlow, last_bias=False)
    way = Way(body=resnet(0), head=head)
    state = joined(backbone=way.body) | state_of(projector=head)
    if barlow:
        state |= state_of(bn=nn.BatchNorm1d(DIM, affine=False))
    data = {"epoch": 1000, "model": under(state, "module."), "optimizer": OPTIMIZER}
    return Original(data=data, ways={"encoder": way})


def sthalles():
    way = Way(body=resnet(0), head=two_layers(1))
    state = under(way.body | state_of(fc=way.head), "backbone.")
    data = {"epoch": 100, "arch": "resnet18", "state_dict": state, "optimizer": OPTIMIZER}
    return Original(data=data, ways={"encoder": way})


def dcl():
    children = ["conv1", "bn1", "relu", "layer1", "layer2", "layer3", "layer4", "avgpool"]
    head = mlp(1, FEATURES, 32, DIM, bias=False)
    way = Way(body=resnet(0, stem="small"), head=head, kind="small")
    state = joined(f=sequential(way.body, children)) | state_of(g=head)
    return Original(data=under(state, "module."), ways={"encoder": way})


def simclr_converted():
    body = resnet(0, block="bottleneck")
    blocks = sorted({key[:8] for key in body if key.startswith("layer")})
    order = [key for key in body if not key.startswith("layer")]
    for block in blocks:
        inside = [key for key in body if key.startswith(block)]
        order += sorted(inside, key=lambda key: ".downsample." not in key)
    head = linear(1, 4 * FEATURES, 10)
    data = {"state_dict": {key: body[key] for key in order} | state_of(fc=head)}
    return Original(data=data, ways={"encoder": Way(body=body, head=head, layer="classifier")})


SYSTEMS = {
    "pauc-train/1": pauc_train,
    "pcl/moco": moco,
    "moco/align-uniform": align_uniform,
    "adco": adco,
    "cld": cld,
    "cld/cifar": cld_cifar,
    "moco-v3": moco_v3,
    "npid": npid,
    "npid/cifar": npid_cifar,
    "infomin/cld": infomin_cld,
    "pycontrast": pycontrast,
    "cmc/insdis-moco": insdis_moco,
    "bl0/pic": lambda: pic("encoder", sim_matrix=torch.rand(12, DIM)),
    "bl0/insdis": lambda: pic("encoder", deep=False, memory=torch.rand(12, DIM)),
    "bl0/moco": lambda: pic("encoder", "encoder_k", queue=torch.rand(DIM, 8)),
    "bl0/simclr": lambda: pic("encoder"),
    "swav": swav,
    "deepcluster-v2": lambda: swav(several=True),
    "simsiam": simsiam,
    "byol/lucidrains": lucidrains,
    "byol/yaox12": yaox12,
    "barlow-twins": lambda: twins(barlow=True),
    "vicreg": lambda: twins(barlow=False),
    "simclr/sthalles": sthalles,
    "dcl": dcl,
    "simclr/converted": simclr_converted,
}
