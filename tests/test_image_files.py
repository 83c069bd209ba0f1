"""Arrays, tar shards and Arrow folders give the pixels and labels that were put in."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from nemd_toolkit.errors import InputError, UnsafeFile
from nemd_toolkit.images import open_images

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 6, 4), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (5, 6, 4, 3), dtype=np.uint8)


def everything(images):
    return images.batch(torch.arange(images.count))


def bytes_of(images):
    """Pixels as they were: (n, c, h, w) of 0…255."""
    return (everything(images) * 255).round().to(torch.uint8).numpy()


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class TestArrays:
    @pytest.mark.parametrize(
        ("array", "wanted"),
        [
            (GREY, GREY[:, None]),
            (GREY[..., None], GREY[:, None]),
            (GREY[:, None], GREY[:, None]),
            (COLOUR, COLOUR.transpose(0, 3, 1, 2)),
            (COLOUR.transpose(0, 3, 1, 2), COLOUR.transpose(0, 3, 1, 2)),
            (COLOUR / 255, COLOUR.transpose(0, 3, 1, 2)),
            ((COLOUR / 255).astype(">f4"), COLOUR.transpose(0, 3, 1, 2)),
        ],
    )
    @pytest.mark.parametrize("suffix", ["npy", "npz"])
    def test_every_shape_and_type_gives_the_pixels_that_were_saved(
        self, tmp_path, array, wanted, suffix
    ):
        path = tmp_path / f"a.{suffix}"
        np.save(path, array) if suffix == "npy" else np.savez_compressed(path, images=array)
        images = open_images(f"arrays:{path}")
        assert np.array_equal(bytes_of(images), wanted)
        assert images.labels is None
        assert np.array_equal(bytes_of(images)[[3, 1]], wanted[[3, 1]])
        assert open_images(f"arrays:{path}", "all", size=(3, 3)).batch(torch.tensor([4])).shape == (
            1,
            wanted.shape[1],
            3,
            3,
        )

    @pytest.mark.parametrize(("train", "test"), [("{}_images", "{}_labels"), ("x_{}", "y_{}")])
    def test_splits_in_one_file_are_splits(self, tmp_path, train, test):
        arrays = {train.format("train"): GREY, test.format("train"): [[3]] * 5}
        arrays |= {train.format("test"): GREY[:2], test.format("test"): [7, 8]}
        np.savez(tmp_path / "a.npz", **arrays)
        images = open_images(f"arrays:{tmp_path / 'a.npz'}", "all")
        assert np.array_equal(bytes_of(images)[:, 0], np.concatenate([GREY, GREY[:2]]))
        assert images.labels.tolist() == [3, 3, 3, 3, 3, 7, 8]
        assert len(open_images(f"arrays:{tmp_path / 'a.npz'}", "test")) == 2

    def test_text_labels_are_numbered_in_sorted_order(self, tmp_path):
        np.savez(tmp_path / "a.npz", images=GREY, labels=np.array([b"b", b"a", b"b", b"b", b"a"]))
        images = open_images(f"arrays:{tmp_path / 'a.npz'}")
        assert (images.class_names, images.labels.tolist()) == (("a", "b"), [1, 0, 1, 1, 0])

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"images": GREY.astype(int)}, "uint8, or floating point"),
            ({"images": GREY[0]}, r"got \(6, 4\)"),
            ({"images": np.zeros((2, 3, 5, 3))}, "both could be channels"),
            ({"images": np.zeros((2, 4, 5, 4))}, "neither has 1 or 3"),
            ({"images": GREY[:0]}, "got .0, 6, 4"),
            ({"images": GREY, "labels": [1, 2]}, "each of 5 images"),
            ({"images": GREY, "labels": np.zeros(5)}, "float64"),
            ({"pictures": GREY}, "images, or train_images, got pictures"),
            ({"images": np.array([None])}, "pickled Python objects"),
            ({"train_images": GREY, "test_images": COLOUR}, "one shape and type"),
        ],
    )
    def test_other_arrays_are_refused(self, tmp_path, arrays, message):
        np.savez(tmp_path / "a.npz", **arrays)
        with pytest.raises(InputError, match=message):
            open_images(f"arrays:{tmp_path / 'a.npz'}", "all")

    @pytest.mark.parametrize("worst", [1.5, -0.1, np.nan])
    def test_pixels_outside_the_unit_interval_are_refused_when_they_are_read(self, tmp_path, worst):
        array = np.zeros((3, 4, 4))
        array[2, 0, 0] = worst
        np.save(tmp_path / "a.npy", array)
        images = open_images(f"arrays:{tmp_path / 'a.npy'}")
        assert images.batch(torch.tensor([0, 1])).max() == 0
        with pytest.raises(InputError, match=r"in \[0, 1\], got"):
            everything(images)

    def test_files_that_are_missing_foreign_or_damaged_are_refused(self, tmp_path):
        path = tmp_path / "a.npy"
        with pytest.raises(InputError, match="got no file"):
            open_images(f"arrays:{path}")
        np.save(path, GREY)
        with pytest.raises(InputError, match="undivided"):
            open_images(f"arrays:{path}", "test")
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(InputError, match="expected 120 bytes"):
            open_images(f"arrays:{path}")
        path.write_bytes(b"text")
        with pytest.raises(InputError, match="damaged or foreign"):
            open_images(f"arrays:{path}")
        np.save(path, np.array([None]), allow_pickle=True)
        with pytest.raises(UnsafeFile, match="nothing was run"):
            open_images(f"arrays:{path}")


def shard(path: Path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


class TestShards:
    def test_shards_are_read_in_order_with_their_labels(self, tmp_path):
        for s, rows in enumerate([(0, 1), (2,), (3, 4)]):
            members = [
                pair
                for r in rows
                for pair in ((f"d/{r}.png", png(COLOUR[r])), (f"d/{r}.cls", b"%d\n" % (r % 3)))
            ]
            shard(tmp_path / f"s-{s + 8:02}.tar", members)
        images = open_images(f"webdataset:{tmp_path}/s-{{08..10}}.tar")
        assert np.array_equal(bytes_of(images), COLOUR.transpose(0, 3, 1, 2))
        assert images.labels.tolist() == [0, 1, 2, 0, 1]
        assert images.ids.tolist() == [f"d/{r}" for r in range(5)]

    def test_labels_may_stand_in_json_and_be_text(self, tmp_path):
        about = [json.dumps({"label": name}).encode() for name in ("dog", "cat")]
        members = [("0.json", about[0]), ("0.jpg", png(GREY[0])), ("1.jpg", png(GREY[1]))]
        path = shard(tmp_path / "a.tar", [*members, ("1.json", about[1]), ("notes", b"")])
        images = open_images(f"webdataset:{path}", "all")
        assert (images.class_names, images.labels.tolist()) == (("cat", "dog"), [1, 0])
        assert images.channels == 1

    @pytest.mark.parametrize(
        ("members", "message"),
        [
            ([], "got no samples"),
            ([("0.cls", b"1")], r"1 without one \(0\)"),
            ([("0.png", png(GREY[0])), ("0.jpg", png(GREY[0]))], "got several for 0"),
            ([("0.png", png(GREY[0])), ("0.cls", b"\xff")], r"UTF-8 text or JSON in 0\.cls"),
            ([("0.png", png(GREY[0])), ("0.json", b"{")], r"UTF-8 text or JSON in 0\.json"),
            ([("0.png", png(GREY[0])), ("0.json", b'{"cls": [1]}')], "got list"),
            ([("0.png", b"x"), ("1.png", png(GREY[0]))], r"1 of 2 damaged.*\(0\)"),
            (
                [("0.png", png(GREY[0])), ("1.png", png(GREY[0])), ("1.cls", b"1")],
                "1 without one among 2",
            ),
            (
                [
                    *[("0.png", png(GREY[0])), ("0.cls", b"a")],
                    *[("1.png", png(GREY[0])), ("1.cls", b"1")],
                ],
                "got int, str",
            ),
        ],
    )
    def test_samples_that_are_not_whole_are_refused(self, tmp_path, members, message):
        path = shard(tmp_path / "a.tar", members)
        with pytest.raises(InputError, match=message):
            open_images(f"webdataset:{path}")

    def test_damaged_packed_and_missing_shards_are_refused(self, tmp_path):
        whole = shard(tmp_path / "a.tar", [("0.png", png(COLOUR[0])), ("1.png", bytes(5000))])
        (tmp_path / "b.tar").write_bytes(whole.read_bytes()[:3000])
        with pytest.raises(InputError, match="cut short|damaged"):
            open_images(f"webdataset:{tmp_path / 'b.tar'}")
        (tmp_path / "c.tar").write_bytes(b"no tar")
        with pytest.raises(InputError, match="damaged or foreign"):
            open_images(f"webdataset:{tmp_path / 'c.tar'}")
        with tarfile.open(tmp_path / "d.tar.gz", "w:gz"):
            pass
        with pytest.raises(InputError, match="unpack a"):
            open_images(f"webdataset:{tmp_path / 'd.tar.gz'}")
        shard(tmp_path / "e0.tar", [])
        with pytest.raises(InputError, match="2 of 3 missing"):
            open_images(f"webdataset:{tmp_path}/e{{0..2}}.tar")
        with pytest.raises(InputError, match="a range that rises"):
            open_images(f"webdataset:{tmp_path}/e{{5..2}}.tar")
        with pytest.raises(InputError, match="held-out part"):
            open_images(f"webdataset:{whole}", "test")

    def test_a_name_in_two_shards_is_refused(self, tmp_path):
        for name in ("a0", "a1"):
            shard(tmp_path / f"{name}.tar", [("0.png", png(GREY[0]))])
        with pytest.raises(InputError, match="got 0 again"):
            open_images(f"webdataset:{tmp_path}/a{{0..1}}.tar")


def arrow(folder: Path, rows, *, shards=1, labels=None, features=None):
    """Write what save_to_disk writes."""
    folder.mkdir(parents=True)
    files = [f"data-{i:05}-of-{shards:05}.arrow" for i in range(shards)]
    packed = [{"bytes": png(row) if row is not None else None, "path": None} for row in rows]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"image": pa.array(packed, kind), "label": pa.array(labels or [0] * len(rows))}
    table = pa.table(columns)
    for i, file in enumerate(files):
        part = table.slice(i * len(rows) // shards, -(-len(rows) // shards))
        with (
            pa.OSFile(str(folder / file), "wb") as sink,
            pa.ipc.new_stream(sink, table.schema) as w,
        ):
            w.write_table(part)
    usual = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["a", "b"]}}
    (folder / "dataset_info.json").write_text(json.dumps({"features": features or usual}))
    state = {"_data_files": [{"filename": file} for file in files]}
    (folder / "state.json").write_text(json.dumps(state))


class TestArrowFolders:
    def test_a_data_set_is_read_in_order_with_its_labels(self, tmp_path):
        arrow(tmp_path / "d", COLOUR[:4], shards=2, labels=[0, 1, 1, 0])
        images = open_images(f"hf:{tmp_path / 'd'}")
        assert np.array_equal(bytes_of(images), COLOUR[:4].transpose(0, 3, 1, 2))
        assert (images.class_names, images.labels.tolist()) == (("a", "b"), [0, 1, 1, 0])
        with pytest.raises(InputError, match="DatasetDict"):
            open_images(f"hf:{tmp_path / 'd'}", "test")

    def test_splits_are_splits_and_unknown_classes_none(self, tmp_path):
        arrow(tmp_path / "train", GREY[:3], labels=[0, 1, 1])
        arrow(tmp_path / "validation", GREY[3:], labels=[-1, -1])
        (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
        images = open_images(f"hf:{tmp_path}", "test")
        assert np.array_equal(bytes_of(images)[:, 0], GREY[3:])
        assert images.labels is None
        assert len(open_images(f"hf:{tmp_path}")) == 3
        with pytest.raises(InputError, match="2 without one among 5"):
            open_images(f"hf:{tmp_path}", "all")

    def test_what_is_no_such_folder_is_refused(self, tmp_path):
        with pytest.raises(InputError, match=r"no readable dataset_dict\.json"):
            open_images(f"hf:{tmp_path}")
        arrow(tmp_path / "none", [None, GREY[0]])
        with pytest.raises(InputError, match="got 1 without among 2"):
            open_images(f"hf:{tmp_path / 'none'}")
        arrow(tmp_path / "other", GREY, features={"label": {"_type": "Value"}})
        with pytest.raises(InputError, match="a column of images, got label"):
            open_images(f"hf:{tmp_path / 'other'}")
        two = {"one": {"_type": "Image"}, "two": {"_type": "Image"}}
        arrow(tmp_path / "two", GREY, features=two)
        with pytest.raises(InputError, match=r"got several \(one, two\)"):
            open_images(f"hf:{tmp_path / 'two'}")
        arrow(tmp_path / "far", GREY)
        (tmp_path / "far" / "state.json").write_text('{"_data_files": [{"filename": "../x"}]}')
        with pytest.raises(InputError, match="names of Arrow files"):
            open_images(f"hf:{tmp_path / 'far'}")
        arrow(tmp_path / "bad", GREY)
        (tmp_path / "bad" / "data-00000-of-00001.arrow").write_bytes(b"\xff" * 64)
        with pytest.raises(InputError, match="damaged or foreign"):
            open_images(f"hf:{tmp_path / 'bad'}")

    def test_what_datasets_itself_writes_is_read(self, tmp_path):
        datasets = pytest.importorskip("datasets")
        features = datasets.Features(
            {"img": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee"])}
        )
        rows = {"img": [Image.fromarray(p) for p in COLOUR], "label": [0, 1, 0, 1, 1]}
        datasets.Dataset.from_dict(rows, features).save_to_disk(tmp_path / "d", num_shards=2)
        images = open_images(f"hf:{tmp_path / 'd'}")
        assert np.array_equal(bytes_of(images), COLOUR.transpose(0, 3, 1, 2))
        assert (images.class_names, images.labels.tolist()) == (("ant", "bee"), [0, 1, 0, 1, 1])
