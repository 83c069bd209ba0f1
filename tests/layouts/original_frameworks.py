"""Files of DINO, of libraries and of networks alone, one for each layout."""

import argparse

import torch

from nemd_toolkit.checkpoints import STATE_DICT, layout_names
from tests.layouts.framework_modules import effective, joined, lightning, under
from tests.layouts.original import (
    DIM,
    FEATURES,
    K,
    Original,
    Way,
    gelu_mlp,
    last_layer,
    linear,
    mlp,
    resnet,
    transformers_resnet,
    vit,
)
from tests.layouts.original_special import SPECIAL
from tests.layouts.original_systems import SYSTEMS, pair, state_of
from tests.layouts.test_folders import folder_state
from tests.layouts.test_lightly_vissl import TORCHVISION, children, classy

WIDTH = 192  # of ViTs
REGISTERS = (("mask_token", (1, WIDTH)), ("register_tokens", (1, 4, WIDTH)))


def prototypes_of(own):
    """By branch, of weight-normed layers."""
    return {name: [effective(layer)] for name, layer in own.items()}


def vit_pair(names, **body):
    return {
        name: Way(body=vit(seed, **body), head=gelu_mlp(seed, WIDTH), kind="vit")
        for seed, name in enumerate(names)
    }


def dino_parts(ways, own):
    """DINOHead's names: mlp and last_layer."""
    return {
        name: joined(backbone=way.body)
        | state_of(**{"head.mlp": way.head, "head.last_layer": own[name]})
        for name, way in ways.items()
    }


def dino():
    ways = vit_pair(("teacher", "student"))
    own = {name: last_layer(seed) for seed, name in enumerate(ways)}
    parts = dino_parts(ways, own)
    data = {
        "student": under(parts["student"], "module."),
        "teacher": parts["teacher"],
        "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []},
        "epoch": 300,
        "args": argparse.Namespace(
            arch="vit_small", patch_size=16, out_dim=K, momentum_teacher=0.996, warmup_epochs=10,
            teacher_temp=0.07, weight_decay=0.04, weight_decay_end=0.4, batch_size_per_gpu=64,
            epochs=300, lr=0.0005, min_lr=1e-6, optimizer="adamw", seed=0, use_fp16=True,
            data_path="/imagenet/train", output_dir=".", saveckp_freq=20, num_workers=10,
        ),
        "dino_loss": {"center": torch.zeros(1, K)},
        "fp16_scaler": {"scale": 65536.0},
    }  # fmt: skip
    return Original(data=data, ways=ways, prototypes=prototypes_of(own))


def dinov2():
    """The teacher's evaluation checkpoint: its head for patches is none of the class token's."""
    body = vit(0, patch=14, scale=True, extra=REGISTERS)
    way = Way(body=body, head=gelu_mlp(1, WIDTH), kind="vit")
    own, patches = last_layer(2), (gelu_mlp(3, WIDTH), last_layer(4))
    state = joined(backbone=body) | state_of(
        **{
            "dino_head.mlp": way.head,
            "dino_head.last_layer": own,
            "ibot_head.mlp": patches[0],
            "ibot_head.last_layer": patches[1],
        }
    )
    prototypes = prototypes_of({"teacher": own})
    return Original(data={"teacher": state}, ways={"teacher": way}, prototypes=prototypes)


def vissl():
    """SwAV's trunk and head below ClassyVision's state."""
    way = Way(body=resnet(0), head=mlp(1, FEATURES, 32, DIM))
    own = [linear(seed, DIM, K + seed, bias=False) for seed in range(2)]
    heads = state_of(
        **{
            "0.projection_head": way.head,
            "0.prototypes0": own[0],
            "0.prototypes1": own[1],
        }
    )
    data = classy(under(way.body, "_feature_blocks."), heads)
    vectors = [layer.weight.detach() for layer in own]
    return Original(data=data, ways={"online": way}, prototypes={"online": vectors})


SOLO = {
    "method": "byol", "max_epochs": 400, "name": "byol-imagenet100", "precision": 16,
    "num_classes": 10,
}  # fmt: skip


def solo_learn():
    ways = pair(lambda seed: mlp(seed, FEATURES, 32, DIM), ("online", "momentum"))
    state = {}
    for start, way in zip(("", "momentum_"), ways.values(), strict=True):
        state |= joined(**{f"{start}backbone": way.body})
        state |= state_of(**{f"{start}projector": way.head})
        state |= state_of(**{f"{start}classifier": linear(6, FEATURES, 10)})
    state |= state_of(predictor=mlp(4, DIM, 32, DIM))
    return Original(data=lightning(state, hyper_parameters=SOLO), ways=ways)


def solo_prototypes():
    """SwAV on CIFAR: weight-normed prototypes, a 3x3 stem."""
    way = Way(body=resnet(0, stem="small"), head=mlp(1, FEATURES, 32, DIM), kind="small")
    own = {"online": last_layer(2)}
    state = joined(backbone=way.body) | {"queue": torch.zeros(2, 8, DIM)}
    state |= state_of(projector=way.head, prototypes=own["online"])
    state |= state_of(classifier=linear(3, FEATURES, 10))
    return Original(data=lightning(state), ways={"online": way}, prototypes=prototypes_of(own))


def solo_dino():
    ways = vit_pair(("online", "momentum"))
    own = {name: last_layer(seed) for seed, name in enumerate(ways)}
    state = state_of(classifier=linear(3, WIDTH, 10))
    state["dino_loss_func.center"] = torch.zeros(1, K)
    for start, part in zip(("", "momentum_"), dino_parts(ways, own).values(), strict=True):
        state |= under(part, start)
    return Original(data=lightning(state), ways=ways, prototypes=prototypes_of(own))


def lightly():
    ways = pair(lambda seed: mlp(seed, FEATURES, 32, DIM), ("online", "momentum"))
    state = state_of(**{"prediction_head.layers": mlp(4, DIM, 32, DIM)})
    for end, way in zip(("", "_momentum"), ways.values(), strict=True):
        state |= under(children(way.body, TORCHVISION), f"backbone{end}.")
        state |= state_of(**{f"projection_head{end}.layers": way.head})
    return Original(data=lightning(state), ways=ways)


def lightly_swav():
    way = Way(body=resnet(0), head=mlp(1, FEATURES, 32, DIM))
    own = [linear(seed, DIM, K + seed) for seed in range(2)]  # with a bias
    heads = {f"prototypes.heads.{number}": layer for number, layer in enumerate(own)}
    state = joined(backbone=way.body) | state_of(**{"projection_head.layers": way.head, **heads})
    state |= state_of(**{"online_classifier.classification_head": linear(5, FEATURES, 10)})
    vectors = [layer.weight.detach() for layer in own]
    return Original(data=lightning(state), ways={"online": way}, prototypes={"online": vectors})


def lightly_dino():
    """examples/pytorch_lightning/dinov2.py: a ViT of timm inside MaskedVisionTransformer."""
    ways = vit_pair(("teacher", "student"))
    own = {name: last_layer(seed) for seed, name in enumerate(ways)}
    state = {}
    for name, way in ways.items():
        state |= under(way.body, f"{name}_backbone.vit.")
        head = {"layers": way.head, "last_layer": own[name]}
        state |= state_of(**{f"{name}_head.dino_head.{part}": m for part, m in head.items()})
    return Original(data=lightning(state), ways=ways, prototypes=prototypes_of(own))


def stable_dino():
    """The projector's last linear layer, behind a normalisation, holds the prototypes."""
    ways = vit_pair(("student", "teacher"))
    own = {name: linear(seed, DIM, K, bias=False) for seed, name in enumerate(ways)}
    state = {"backbone.ema_coefficient": torch.ones(())}
    for name, way in ways.items():
        state |= joined(**{f"backbone__{name}": way.body})
        state |= state_of(**{f"projector.{name}": way.head, f"projector.{name}.6": own[name]})
    vectors = {name: [layer.weight.detach()] for name, layer in own.items()}
    return Original(data=lightning(state), ways=ways, prototypes=vectors)


def stable():
    ways = pair(lambda seed: mlp(seed, FEATURES, 32, DIM), ("student", "teacher"))
    state = state_of(predictor=mlp(4, DIM, 32, DIM))
    for name, way in ways.items():
        state |= joined(**{f"backbone__{name}": way.body})
        state |= state_of(**{f"projector.{name}": way.head})
    return Original(data=lightning(state), ways=ways)


def stable_swav():
    way = Way(body=resnet(0), head=mlp(1, FEATURES, 32, DIM))
    own = linear(2, DIM, K, bias=False)
    state = joined(backbone=way.body) | state_of(projector=way.head, prototypes=own)
    prototypes = {"online": [own.weight.detach()]}
    return Original(data=lightning(state), ways={"online": way}, prototypes=prototypes)


def network(body, kind, **files):
    """A network alone, with a classifier if it is no teacher's."""
    head = linear(1, body["norm.weight"].numel() if kind == "vit" else FEATURES, 10)
    name = "head" if kind == "vit" else "fc"
    way = Way(body=body, head=head, layer="classifier", kind=kind)
    return Original(data=body | state_of(**{name: head}), ways={"encoder": way}, **files)


def dinov2_hub():
    body = vit(0, patch=14, scale=True, extra=REGISTERS[:1])
    return Original(data=body, ways={"encoder": Way(body=body, layer="backbone", kind="vit")})


def transformers(family):
    """save_pretrained: model.safetensors and config.json, weights below the model's name or not."""
    config = {"model_type": family, "architectures": ["Model"], "image_size": 64}
    head = linear(1, FEATURES, 10)
    if family == "resnet":
        body = transformers_resnet(resnet(0))
        state = under(body, "resnet.") | state_of(**{"classifier.1": head})
        config |= {"embedding_size": 8, "hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 1, 1]}
        config |= {"layer_type": "basic", "num_channels": 3}
    else:
        patch = 16 if family == "vit" else 14
        body = folder_state(family, dim=FEATURES, side=64 // patch * patch, patch=patch)
        config |= {"hidden_size": FEATURES, "num_attention_heads": 4, "num_hidden_layers": 1}
        config |= {"layer_norm_eps": 1e-12 if family == "vit" else 1e-6}  # their defaults
        config |= {"intermediate_size": 4 * FEATURES, "patch_size": patch, "mlp_ratio": 4}
        config |= {"image_size": 64 // patch * patch}
        state = under(body, "vit.") | state_of(classifier=head) if family == "vit" else body
    classified = family in ("vit", "resnet")
    way = Way(
        body=body,
        kind="transformers",
        **({"head": head, "layer": "classifier"} if classified else {"layer": "backbone"}),
    )
    return Original(data=state, ways={"encoder": way}, files={"config": config})


FRAMEWORKS = {
    "transformers/vit": lambda: transformers("vit"),
    "transformers/dinov2_with_registers": lambda: transformers("dinov2_with_registers"),
    "transformers/dinov2": lambda: transformers("dinov2"),
    "transformers/resnet": lambda: transformers("resnet"),
    "dinov2": dinov2,
    "dino": dino,
    "vissl": vissl,
    "solo-learn/prototypes": solo_prototypes,
    "solo-learn/dino": solo_dino,
    "solo-learn": solo_learn,
    "lightly/dino": lightly_dino,
    "lightly/swav": lightly_swav,
    "lightly": lightly,
    "stable-pretraining/dino": stable_dino,
    "stable-pretraining": stable,
    "stable-pretraining/swav": stable_swav,
    "dinov2/hub": dinov2_hub,
    "vit": lambda: network(vit(0), "vit"),
    "resnet": lambda: network(resnet(0), "resnet"),
}
ORIGINALS = SYSTEMS | SPECIAL | FRAMEWORKS  # by layout
RECOGNISED = [name for name in layout_names() if name != STATE_DICT.name]  # that one is asked for
