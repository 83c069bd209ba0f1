"""Every method's checkpoint is read as what it is: its encoder gives what the training's gives."""

import pytest
import torch

import nemd_toolkit as nt
from nemd_toolkit.images import open_images
from pauc_train.data import apply
from pauc_train.loop import fit
from pauc_train.methods import METHODS
from pauc_train.rebuild import rebuild

HALVES = {"cmc", "biased-cmc", "debiased-cmc"}  # the second network sees made-up channels
WITHOUT = {"cpc", "cpcv2", "amdim"}  # encoders of patches, which an analysis cannot build


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_checkpoint_gives_the_trainings_own_features(name, tmp_path):
    few = {"batch_size": 256, "threads": 1}
    checkpoint = fit(name, "digits", epochs=1, out=tmp_path, overrides=few)
    found = rebuild(checkpoint)
    branches = found.training.branches
    assert (not branches) == (name in WITHOUT)
    images = open_images("digits")
    own = apply(images, found.pixels, found.training.eval().features, torch.device("cpu"))
    away = []
    for branch in list(branches)[: 1 if name in HALVES else None]:
        rows = nt.embed(checkpoint, "digits", branch=branch).vectors
        # CMC's features are those of two encoders side by side
        parts = (torch.nn.functional.normalize(part, dim=1) for part in own.split(rows.shape[1], 1))
        away += [float((rows - part).abs().max()) for part in parts]
    assert not branches or min(away) < 2e-5
