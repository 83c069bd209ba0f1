"""CIFAR's two versions give the bytes that were written, and pickles are read, never executed."""

import io
import pickle
from typing import ClassVar

import numpy as np
import pytest
import torch

from nemd_toolkit.errors import InputError, UnsafeFile
from nemd_toolkit.images import open_images
from nemd_toolkit.images.plain_pickle import read_plain_pickle

NAMES = [f"class {i}".replace(" ", "_") for i in range(100)]
RNG = np.random.default_rng(0)


class Python2(pickle._Pickler):
    """Writes text and bytes as Python 2 does: BINSTRING in protocol 2."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_old(self, value):
        packed = value if isinstance(value, bytes) else value.encode("latin-1")
        if len(packed) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(packed)]) + packed)
        else:
            self.write(pickle.BINSTRING + len(packed).to_bytes(4, "little") + packed)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_old


def dumps2(value):
    file = io.BytesIO()
    Python2(file, 2).dump(value)
    return file.getvalue().replace(b"numpy._core.", b"numpy.core.")


def images_of(count, classes):
    pixels = RNG.integers(0, 256, (count, 3072), dtype=np.uint8)
    return pixels, RNG.integers(0, classes, count)


def write(root, kind, version, dump=dumps2):
    """Write a small CIFAR and give (pixels, labels) by split."""
    root.mkdir(parents=True, exist_ok=True)
    classes = 10 if kind == "cifar10" else 100
    trains = [f"data_batch_{i}" for i in range(1, 6)] if classes == 10 else ["train"]
    tests = "test_batch" if classes == 10 else "test"
    held = {}
    for name in [*trains, tests]:
        pixels, labels = images_of(3, classes)
        held.setdefault("test" if name == tests else "train", []).append((pixels, labels))
        if version == "python":
            key = "labels" if classes == 10 else "fine_labels"
            content = {"data": pixels, key: labels.tolist(), "filenames": ["a.png"] * 3}
            (root / name).write_bytes(dump(content | {"coarse_labels": [0] * 3}))
        else:
            coarse = np.zeros((3, classes // 100), np.uint8)
            rows = np.hstack([coarse, labels[:, None].astype(np.uint8), pixels])
            (root / f"{name}.bin").write_bytes(rows.tobytes())
    names = NAMES[:classes]
    if version == "python":
        key, file = ("label_names", "batches.meta") if classes == 10 else ("", "meta")
        (root / file).write_bytes(dump({key or "fine_label_names": names}))
    else:
        file = "batches.meta.txt" if classes == 10 else "fine_label_names.txt"
        (root / file).write_text("\n".join(names) + "\n")
    return held


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("version", ["binary", "python"])
@pytest.mark.parametrize("kind", ["cifar10", "cifar100"])
def test_both_versions_give_what_was_written(tmp_path, kind, version, inside):
    folder = {
        "cifar10binary": "cifar-10-batches-bin",
        "cifar10python": "cifar-10-batches-py",
        "cifar100binary": "cifar-100-binary",
        "cifar100python": "cifar-100-python",
    }[kind + version]
    held = write(tmp_path / folder, kind, version)
    place = tmp_path if inside else tmp_path / folder
    for split, files in (*held.items(), ("all", held["train"] + held["test"])):
        images = open_images(f"{kind}:{place}", split)
        pixels = np.concatenate([pixels for pixels, _ in files])
        got = images.batch(torch.arange(images.count))
        assert torch.equal((got * 255).round().flatten(1), torch.tensor(pixels).float())
        assert images.labels.tolist() == np.concatenate([labels for _, labels in files]).tolist()
        assert images.class_names == tuple(NAMES[: 10 if kind == "cifar10" else 100])
    assert open_images(f"{kind}:{place}", size=(16, 16)).batch(torch.tensor([0])).shape == (
        (1, 3, 16, 16)
    )


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_python_3_are_read_too(tmp_path, protocol):
    dump = lambda value: pickle.dumps(value, protocol)  # noqa: E731
    if protocol == 5:  # NumPy would keep its buffer apart, in a form that no CIFAR file has
        dump = lambda value: pickle.dumps(value, 4)  # noqa: E731
    write(tmp_path, "cifar10", "python", dump)
    assert len(open_images(f"cifar10:{tmp_path}")) == 15


class Runs:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"data": Runs()}, 2),
        pickle.dumps({"data": Runs()}, 4),
        pickle.dumps(np.float32, 2),
        pickle.dumps({"data": np.arange(3.0)}, 2),
        pickle.dumps({"data": np.array([None])}, 2),
        pickle.dumps(pytest.raises, 2),
        b"\x80\x02cnumpy\nload\nq\x00.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nU\x01a\x85R.",
        b"(inumpy\nndarray\n.",
        b"\x80\x02}U\x01ab.",
    ],
)
def test_pickles_that_ask_for_anything_else_are_refused_and_not_run(tmp_path, capsys, content):
    path = tmp_path / "meta"
    path.write_bytes(content)
    with pytest.raises(UnsafeFile, match="nothing was run"):
        read_plain_pickle(path)
    assert capsys.readouterr().out == ""


LOOP: list = []
LOOP.append(LOOP)
WHOLE = dumps2({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1]})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        WHOLE[:-1],
        WHOLE[: len(WHOLE) // 2],
        pickle.dumps([1], 2),
        pickle.dumps({"a": LOOP}, 2),
        pickle.dumps({"a": [[1]]}, 2),
        pickle.dumps({"a": 1.5}, 2),
        b"\x80\x02].e",
        b"\x80\x02U\x01aa.",
        b"\x80\x02h\x05.",
        b"T\xff\xff\xff\x7fa.",
        WHOLE.replace(b"M\x00\x0c", b"M\x01\x0c"),
    ],
)
def test_damaged_and_foreign_pickles_are_refused_in_a_sentence(tmp_path, content):
    path = tmp_path / "meta"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"meta: expected a pickle.*download"):
        read_plain_pickle(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data_batch_2.bin", b"", "multiple of 3,073 bytes, got 0"),
        ("data_batch_2.bin", bytes(3000), "got 3,000"),
        ("test_batch.bin", b"\x0a" + bytes(3072), "0…9, got 10"),
    ],
)
def test_damaged_binaries_are_refused(tmp_path, name, content, message):
    write(tmp_path, "cifar10", "binary")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_images(f"cifar10:{tmp_path}", "all")


@pytest.mark.parametrize(
    "change",
    [{"data": [1]}, {"data": np.zeros((2, 9), np.uint8)}, {"labels": [1]}, {"labels": [-1] * 3}],
)
def test_python_batches_of_another_kind_are_refused(tmp_path, change):
    write(tmp_path, "cifar10", "python")
    content = {"data": np.zeros((3, 3072), np.uint8), "labels": [0, 1, 2]} | change
    (tmp_path / "data_batch_1").write_bytes(dumps2(content))
    with pytest.raises(InputError, match="3,072 bytes an image and as many labels"):
        open_images(f"cifar10:{tmp_path}")


def test_missing_files_are_named_and_names_of_classes_may_be_missing(tmp_path):
    with pytest.raises(InputError, match=r"data_batch_1\.bin … test_batch\.bin or data_batch_1"):
        open_images(f"cifar10:{tmp_path}")
    write(tmp_path, "cifar100", "binary")
    (tmp_path / "fine_label_names.txt").unlink()
    assert open_images(f"cifar100:{tmp_path}").class_names is None
