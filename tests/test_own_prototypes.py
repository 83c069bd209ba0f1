"""Own prototypes are those of the branch that is analysed."""

import pytest
import torch

from nemd_toolkit import Embeddings, analyze, prototypes_from_checkpoint
from nemd_toolkit.checkpoints import read_checkpoint
from nemd_toolkit.errors import InputError
from tests.layouts.framework_modules import dino_head, effective, joined, lightning, linear, vit
from tests.test_checkpoints import encoder, ours, save


@pytest.fixture
def dino(tmp_path):
    """solo-learn's DINO: prototypes of the student and of its average."""
    own = {name: dino_head(seed, 24) for seed, name in enumerate(("online", "momentum"))}
    state = joined(
        backbone=vit(0),
        classifier=linear(3, 24, 10),
        head=own["online"].state_dict(),
        momentum_backbone=vit(4),
        momentum_head=own["momentum"].state_dict(),
    )
    path = save(lightning(state), tmp_path / "a.ckpt")
    return read_checkpoint(path), {name: effective(head.last_layer) for name, head in own.items()}


@pytest.mark.parametrize("branch", [None, "online", "momentum"])
def test_rows_go_to_the_branchs_own_highest_logit(dino, branch):
    checkpoint, weights = dino
    rows = torch.nn.functional.normalize(torch.randn(200, 16), dim=1)
    (found,) = prototypes_from_checkpoint(checkpoint, Embeddings(rows), branch)
    expected = (rows @ weights[branch or "online"].T).argmax(1)
    assert torch.equal(found.assignment, expected)
    other = (rows @ weights["online" if branch == "momentum" else "momentum"].T).argmax(1)
    assert not torch.equal(found.assignment, other)


def test_queries_and_keys_share_the_centroids_of_training(tmp_path):
    found = read_checkpoint(save(ours(), tmp_path / "last.pt"))
    assert found.default_branch == "key"
    assert found.branch("query").prototypes == found.branch("key").prototypes == found.prototypes
    assert torch.equal(found.prototypes[0].vectors, torch.eye(3, 6))


def test_a_branch_without_prototypes_names_one_that_has_them(tmp_path):
    state = joined(
        backbone=encoder(0, head="none"),
        momentum_backbone=encoder(1, head="none"),
        projector=linear(0, 128, 6),
        classifier=linear(1, 128, 3),
        prototypes=linear(2, 6, 5, bias=False),
    )
    found = read_checkpoint(save(lightning(state), tmp_path / "a.ckpt"))
    rows = Embeddings(torch.eye(6))
    (own,) = prototypes_from_checkpoint(found, rows, "online")
    assert own.k == 5
    with pytest.raises(InputError, match="none in its branch momentum; take the branch online, or"):
        prototypes_from_checkpoint(found, rows, "momentum")
    with pytest.raises(InputError, match="expected one of the branches online, momentum"):
        prototypes_from_checkpoint(found, rows, "teacher")


def test_a_checkpoint_without_prototypes_says_so(tmp_path):
    found = read_checkpoint(save(encoder(0), tmp_path / "a.pt"))
    with pytest.raises(InputError, match="got none in it; give numbers for k-means"):
        prototypes_from_checkpoint(found, Embeddings(torch.eye(6)))


def test_without_images_the_error_points_to_what_vectors_alone_show(tmp_path):
    with_prototypes = save(ours(), tmp_path / "last.pt")
    with pytest.raises(InputError, match=r"--data folder:DIR; without images, nemd inspect .*last"):
        analyze(with_prototypes)
    with pytest.raises(InputError, match=r"--data folder:DIR$"):
        analyze(save(encoder(0), tmp_path / "a.pt"))
