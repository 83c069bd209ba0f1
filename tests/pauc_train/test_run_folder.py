"""Folders that a run leaves alone."""

import pytest

from nemd_toolkit.errors import InputError
from nemd_toolkit.folder_lock import alone_in
from pauc_train.loop import fit

TINY = {"arch": "resnet8-tiny", "batch_size": 50, "embedding_dim": 8, "epochs": 1}


def test_a_folder_that_another_run_is_in_is_refused(tmp_path):
    with (
        alone_in(tmp_path / "run"),
        pytest.raises(InputError, match="no other run is in, got one held by process"),
    ):
        fit("moco", "digits", out=tmp_path / "run", overrides=TINY)
    assert not (tmp_path / "run").exists()


def test_numbered_checkpoints_without_last_are_left_alone(tmp_path):
    (tmp_path / "checkpoint_0001.pth.tar").write_bytes(b"precious")
    with pytest.raises(InputError, match="checkpoint_0001"):
        fit("moco", "digits", out=tmp_path, overrides=TINY)


def test_a_log_of_someone_else_is_left_alone(tmp_path):
    (tmp_path / "log.jsonl").write_text("precious\n")
    with pytest.raises(InputError, match="log.jsonl"):
        fit("moco", "digits", out=tmp_path, overrides=TINY)
    assert (tmp_path / "log.jsonl").read_text() == "precious\n"
