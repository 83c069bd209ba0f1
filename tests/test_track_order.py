"""Where in training a checkpoint stands, and from where on a finding persists."""

import torch

from nemd_toolkit.tracking import track
from nemd_toolkit.tracking.branches import trained_branch
from nemd_toolkit.tracking.course import persists_from
from nemd_toolkit.tracking.positions import Position, order_of, stored_position
from nemd_toolkit.tracking.sentences import branch_sentence


def test_order_is_by_stored_epochs_or_steps_else_by_the_numbers_in_names():
    def order(names, *positions):
        found = order_of(names, [p and Position(epoch=p[0], step=p[1]) for p in positions])
        return [names[place] for place in found.places], list(found.labels)

    assert order(["z", "b", "a"], (1, None), (3, None), (2, None)) == (
        ["z", "a", "b"],
        ["epoch 1", "epoch 2", "epoch 3"],
    )
    assert order(["b", "a"], (0, 500), (0, 1000))[1] == ["step 500", "step 1000"]
    assert order(["best.pt", "last.pt"], (1, None), (1, None))[1] == ["best.pt", "last.pt"]
    twice, labels = order(["c.pt", "b.pt", "a.pt"], (2, None), (1, None), (2, None))
    assert twice == ["b.pt", "a.pt", "c.pt"]
    assert labels[1] == "epoch 2 (a.pt)"
    names = ["run2-epoch=10-step=5.ckpt", "run2-epoch=9-step=5.ckpt"]
    assert order(names, None, None) == (names[::-1], ["epoch 9", "epoch 10"])
    assert order(["checkpoint-500", "checkpoint-1000"], None, (3, None))[1][0] == "checkpoint 500"


def test_positions_are_read_from_checkpoints(tmp_path):
    for content, expected in (
        ({"epoch": 3, "global_step": 40, "state_dict": {}}, Position(epoch=3, step=40)),
        ({"meta": {"epoch": 2, "iter": 7}, "state_dict": {}}, Position(epoch=2, step=7)),
        ({"iteration": torch.tensor(9), "model": {}}, Position(epoch=None, step=9)),
        ({"epoch": "ten", "model": {}}, None),
        ({"epoch": -1, "model": {}}, None),
        (torch.zeros(3, 2), None),
    ):
        torch.save(content, tmp_path / "a.pt")
        assert stored_position(tmp_path / "a.pt") == expected
    (tmp_path / "a.pt").write_bytes(b"damaged")
    assert stored_position(tmp_path / "a.pt") is None


def test_persistence_of_findings():
    f, p, u = "fired", "passed", "unclear"
    assert persists_from([p, f, p, f, u, f]) == 3
    assert persists_from([f, f]) == 0
    assert persists_from([u, u]) is None
    assert persists_from([p, f, u, u]) == 1  # it could not be told any more
    assert persists_from([]) is None


def test_the_trained_encoder_is_read_unless_another_is_named(tmp_path):
    from pauc_train.loop import fit

    fit("mocov2", "digits", epochs=1, out=tmp_path / "run")
    checkpoint = tmp_path / "run" / "last.pt"
    assert trained_branch(checkpoint) == "query"
    assert trained_branch(tmp_path / "absent.pt") is None
    options = {"prototypes": 10, "records": tmp_path / "records"}
    found = track(checkpoint, "digits", **options)
    assert found.course.stops[0].point.branch == "query"
    assert "the encoder that is trained" in branch_sentence(found.course)
    slow = track(checkpoint, "digits", branch="key", **options)
    assert slow.course.stops[0].point.branch == "key"
    assert "a slow mean" in branch_sentence(slow.course)
    assert slow.course.numbers("score") != found.course.numbers("score")
