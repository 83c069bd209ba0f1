"""Images: what the readers give equals what was put in, and damage ends in one sentence."""

import gzip
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from nemd_toolkit.errors import InputError, UnsafeFile
from nemd_toolkit.images import open_images, resize_and_crop
from nemd_toolkit.images.pictures import DamagedPictures, Pictures
from nemd_toolkit.images.resizing import Sizing

PARTS = {"train": 6, "t10k": 4}


def everything(images):
    return images.batch(torch.arange(images.count))


def idx(array, magic=b"\x00\x00\x08"):
    head = magic + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


def write_fashion(folder: Path, *, packed: bool = False, **replaced: bytes) -> dict:
    """Write four small IDX files; `replaced` gives other bytes for `images` or `labels`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in PARTS.items():
        images, labels = rng.integers(0, 256, (n, 28, 28)), rng.integers(0, 10, n)
        arrays[part] = images, labels
        for kind, array, rank in (("images", images, 3), ("labels", labels, 1)):
            data = replaced.get(kind, idx(array))
            path = folder / f"{part}-{kind}-idx{rank}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(data) if packed else data)
    return arrays


class TestDigits:
    def test_all_digits_equal_scikit_learns_arrays_exactly(self):
        source, images = load_digits(), open_images("digits", "all")
        assert torch.equal(everything(images)[:, 0].double() * 16, torch.tensor(source.images))
        assert np.array_equal(images.labels, source.target)

    def test_the_split_is_fixed_stratified_and_without_overlap(self):
        train, test = open_images("digits"), open_images("digits", "test")
        assert (len(train), len(test)) == (1347, 450)
        assert sorted([*train.ids, *test.ids]) == list(range(1797))
        assert np.array_equal(train.ids, open_images("digits", "train").ids)
        share = np.bincount(test.labels) / np.bincount(load_digits().target)
        assert np.all(abs(share - 0.25) < 0.01)

    def test_a_size_enlarges_and_keeps_the_range(self):
        big = everything(open_images("digits", "test", size=(16, 12)))
        assert big.shape == (450, 1, 16, 12)
        assert big.min() >= 0
        assert big.max() <= 1

    @pytest.mark.parametrize("index", [-1, 450])
    def test_an_index_outside_the_collection_is_refused(self, index):
        with pytest.raises(InputError, match="0…449"):
            open_images("digits", "test").batch(torch.tensor([index]))

    def test_no_indices_give_an_empty_batch(self):
        empty = open_images("digits").batch(torch.empty(0, dtype=torch.long))
        assert empty.shape == (0, 1, 8, 8)


class TestFashionMnist:
    @pytest.mark.parametrize("packed", [False, True])
    @pytest.mark.parametrize("layout", [".", "raw", "FashionMNIST/raw"])
    def test_every_layout_gives_the_bytes_that_were_written(self, tmp_path, packed, layout):
        arrays = write_fashion(tmp_path / layout, packed=packed)
        for split, part in (("train", "train"), ("test", "t10k")):
            images = open_images(f"fashion-mnist:{tmp_path}", split)
            assert torch.equal(everything(images)[:, 0] * 255, torch.tensor(arrays[part][0]))
            assert np.array_equal(images.labels, arrays[part][1])
        both = open_images(f"fashion-mnist:{tmp_path}", "all")
        assert len(both) == 10
        assert both.class_names[9] == "Ankle boot"

    @pytest.mark.parametrize("packed", [False, True])
    @pytest.mark.parametrize(
        ("images", "message"),
        [
            (b"", "empty file"),
            (b"\x00\x00\x08", "000008"),
            (idx(np.zeros((6, 28, 28)), magic=b"\x00\x00\x0d"), "00000d03"),
            (idx(np.zeros((6, 28, 28)))[:-1], "got 4,703"),
            (idx(np.zeros((6, 28, 28))) + b"x", "got more"),
            (idx(np.zeros((5, 28, 28))), "do not belong together"),
            (idx(np.zeros((0, 28, 28))), "at least one"),
            (idx(np.zeros((6, 56, 14))), "28 x 28, got 56 x 14"),
        ],
    )
    def test_damaged_images_are_refused(self, tmp_path, packed, images, message):
        write_fashion(tmp_path, packed=packed, images=images)
        with pytest.raises(InputError, match=message):
            open_images(f"fashion-mnist:{tmp_path}")

    def test_swapped_or_foreign_labels_are_refused(self, tmp_path):
        write_fashion(tmp_path, labels=idx(np.full(6, 10)))
        with pytest.raises(InputError, match="got 10"):
            open_images(f"fashion-mnist:{tmp_path}")

    @pytest.mark.parametrize("packed", [False, True])
    def test_a_header_claiming_more_than_4_gib_is_refused(self, tmp_path, packed):
        head = b"\x00\x00\x08\x03" + struct.pack(">3I", 2**32 - 1, 2**16, 2**16)
        write_fashion(tmp_path, packed=packed, images=head)
        with pytest.raises(UnsafeFile, match="4 GiB"):
            open_images(f"fashion-mnist:{tmp_path}")

    def test_a_huge_claim_or_expansion_costs_no_memory(self, tmp_path):
        tracemalloc = pytest.importorskip("tracemalloc")
        claims = b"\x00\x00\x08\x03" + struct.pack(">3I", 2**22, 28, 28)  # 3 GiB, none there
        write_fashion(tmp_path / "claims", packed=True, images=claims)
        expands = idx(np.zeros((6, 28, 28))) + bytes(1 << 28)  # 256 MiB of zeros in 260 kB
        write_fashion(tmp_path / "expands", packed=True, images=expands)
        del expands
        for folder in ("claims", "expands"):
            tracemalloc.start()
            with pytest.raises(InputError, match="after the header"):
                open_images(f"fashion-mnist:{tmp_path / folder}")
            assert tracemalloc.get_traced_memory()[1] < 10 << 20
            tracemalloc.stop()

    def test_a_gzip_that_unpacks_out_of_all_proportion_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr("nemd_toolkit.images.idx._UNPACKED", 1 << 20)  # not 64 MiB
        write_fashion(tmp_path, packed=True, images=idx(np.zeros((2000, 28, 28))))
        with pytest.raises(UnsafeFile, match="claims 1,568,000"):
            open_images(f"fashion-mnist:{tmp_path}")

    def test_a_broken_gzip_stream_is_refused(self, tmp_path):
        write_fashion(tmp_path, packed=True)
        path = tmp_path / "train-images-idx3-ubyte.gz"
        for broken in (path.read_bytes()[:-200], b"plain text", b"\x1f\x8b\x08" + bytes(40)):
            path.write_bytes(broken)
            with pytest.raises(InputError, match="train-images"):
                open_images(f"fashion-mnist:{tmp_path}")

    def test_missing_files_are_named(self, tmp_path):
        with pytest.raises(InputError, match="train-images-idx3-ubyte"):
            open_images(f"fashion-mnist:{tmp_path}")


def picture(path: Path, mode="RGB", size=(6, 4), value=None, seed=0):
    """Write a random picture (height, width) = size and return its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size if mode == "L" else (*size, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels, mode=None).save(path)
    return pixels


class TestFolder:
    def test_class_folders_are_labels_and_pixels_are_kept(self, tmp_path):
        dog = picture(tmp_path / "dog" / "b.png", seed=1)
        cat = picture(tmp_path / "cat" / "deep" / "a.png", seed=2)
        (tmp_path / "dog" / "notes.txt").write_text("no picture")
        images = open_images(f"folder:{tmp_path}")
        assert images.class_names == ("cat", "dog")
        assert images.labels.tolist() == [0, 1]
        assert images.ids.tolist() == ["cat/deep/a.png", "dog/b.png"]
        assert images.size == (6, 4)
        got = everything(images).permute(0, 2, 3, 1) * 255
        assert torch.allclose(got, torch.tensor(np.stack([cat, dog])).float())

    def test_grey_pictures_stay_grey_only_if_all_are(self, tmp_path):
        pixels = picture(tmp_path / "a.png", "L")
        images = open_images(f"folder:{tmp_path}")
        assert images.channels == 1
        assert images.labels is None
        assert torch.allclose(everything(images)[0, 0] * 255, torch.tensor(pixels).float())
        picture(tmp_path / "b.png", "RGB")
        mixed = open_images(f"folder:{tmp_path}")
        assert mixed.channels == 3
        assert torch.equal(everything(mixed)[0, 0], everything(mixed)[0, 2])

    def test_differing_sizes_come_as_224_and_a_given_size_wins(self, tmp_path):
        picture(tmp_path / "a.jpg", size=(40, 60))
        picture(tmp_path / "b.jpg", size=(60, 40))
        assert everything(open_images(f"folder:{tmp_path}")).shape == (2, 3, 224, 224)
        assert open_images(f"folder:{tmp_path}", size=(8, 10)).batch(torch.tensor([1])).shape == (
            (1, 3, 8, 10)
        )

    def test_wide_pictures_lose_their_sides_not_their_shape(self, tmp_path):
        pixels = np.zeros((10, 30, 3), dtype=np.uint8)
        pixels[:, 10:20] = 255
        Image.fromarray(pixels).save(tmp_path / "wide.png")
        images = open_images(f"folder:{tmp_path}", size=(10, 10))
        assert torch.equal(everything(images), torch.ones(1, 3, 10, 10))
        tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
        assert torch.equal(resize_and_crop(tensor, (10, 10)), torch.ones(1, 3, 10, 10))

    @pytest.mark.parametrize("held_out", ["test", "val"])
    def test_split_folders_are_splits_and_share_their_classes(self, tmp_path, held_out):
        picture(tmp_path / "train" / "ant" / "1.png")
        picture(tmp_path / "train" / "bee" / "1.png")
        picture(tmp_path / held_out / "bee" / "2.png")
        test = open_images(f"folder:{tmp_path}", "test")
        assert test.labels.tolist() == [1]
        assert test.class_names == ("ant", "bee")
        assert len(open_images(f"folder:{tmp_path}")) == 2
        assert len(open_images(f"folder:{tmp_path}", "all")) == 3

    def test_a_class_called_train_is_no_split(self, tmp_path):
        for name in ("bus", "car", "train"):
            picture(tmp_path / name / "1.png")
        assert open_images(f"folder:{tmp_path}").class_names == ("bus", "car", "train")

    @pytest.mark.parametrize("split", ["train", "test", "all"])
    def test_split_folders_beside_others_are_refused_and_the_others_named(self, tmp_path, split):
        picture(tmp_path / "train" / "ant" / "1.png")
        picture(tmp_path / "validation" / "ant" / "1.png")
        with pytest.raises(InputError, match="got validation beside"):
            open_images(f"folder:{tmp_path}", split)

    def test_hidden_folders_and_those_of_macos_are_no_classes(self, tmp_path):
        for name in ("train/ant", "train/.cache", "__MACOSX/train", ".git"):
            picture(tmp_path / name / "1.png")
        images = open_images(f"folder:{tmp_path}")
        assert images.ids.tolist() == ["train/ant/1.png"]

    def test_formats_that_start_other_programs_are_not_opened(self, tmp_path, monkeypatch):
        def start(*arguments, **options):
            raise AssertionError(arguments)

        monkeypatch.setattr("subprocess.Popen", start)
        Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
        with pytest.raises(InputError, match="got none"):
            open_images(f"folder:{tmp_path}")
        (tmp_path / "a.eps").rename(tmp_path / "a.png")
        with pytest.raises(InputError, match=r"1 of 1 damaged.*\(a\.png\)"):
            open_images(f"folder:{tmp_path}")

    @pytest.mark.parametrize("suffix", ["jpg", "tif", "bmp", "gif", "webp", "ppm"])
    def test_usual_formats_are_read(self, tmp_path, suffix):
        Image.new("RGB", (8, 8), "white").save(tmp_path / f"a.{suffix}")
        assert everything(open_images(f"folder:{tmp_path}")).min() == 1

    def test_an_undivided_folder_has_no_test_part(self, tmp_path):
        picture(tmp_path / "a.png")
        assert len(open_images(f"folder:{tmp_path}", "all")) == 1
        with pytest.raises(InputError, match=r"held-out part.*train/CLASS"):
            open_images(f"folder:{tmp_path}", "test")

    def test_damaged_files_are_named_and_counted(self, tmp_path):
        picture(tmp_path / "a.png")
        (tmp_path / "b.png").write_text("not a picture")
        (tmp_path / "c.jpg").write_bytes(b"")
        Image.fromarray(np.zeros((2, 2), np.int32)).save(tmp_path / "d.tif")
        for size in (None, (8, 8)):
            with pytest.raises(InputError, match=r"3 of 4 damaged.*\(b\.png, c\.jpg, d\.tif\)"):
                open_images(f"folder:{tmp_path}", size=size)

    def test_a_picture_cut_short_is_found_when_it_is_read(self, tmp_path):
        picture(tmp_path / "a.png", size=(64, 64))
        whole = (tmp_path / "a.png").read_bytes()
        (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
        images = open_images(f"folder:{tmp_path}")
        assert images.batch(torch.tensor([0])).shape == (1, 3, 64, 64)
        with pytest.raises(InputError, match=r"1 of 2 damaged.*\(b\.png\)"):
            everything(images)

    def test_sixteen_bits_are_scaled_not_clipped(self, tmp_path):
        deep = np.array([[0, 257, 65535]], dtype=np.uint16)
        Image.fromarray(deep).save(tmp_path / "a.png")
        got = everything(open_images(f"folder:{tmp_path}"))
        assert (got[0, 0] * 255).tolist() == [[0.0, 1.0, 255.0]]

    def test_palettes_with_transparency_are_read(self, tmp_path):
        image = Image.fromarray(np.zeros((2, 2), np.uint8)).convert("P")
        image.save(tmp_path / "a.png", transparency=b"\x00\x80")
        assert everything(open_images(f"folder:{tmp_path}")).shape == (1, 3, 2, 2)

    def test_folders_without_pictures_and_mixed_folders_are_refused(self, tmp_path):
        with pytest.raises(InputError, match="got none"):
            open_images(f"folder:{tmp_path}")
        with pytest.raises(InputError, match="nothing there"):
            open_images(f"folder:{tmp_path / 'missing'}")
        picture(tmp_path / "a.png")
        picture(tmp_path / "cat" / "b.png")
        with pytest.raises(InputError, match="directly in it or in class"):
            open_images(f"folder:{tmp_path}")
        with pytest.raises(InputError, match="a file"):
            open_images(f"folder:{tmp_path / 'a.png'}")

    def test_a_folder_that_may_not_be_listed_is_refused(self, tmp_path, monkeypatch):
        def refuse(folder):
            raise PermissionError(13, "Permission denied", str(folder))

        monkeypatch.setattr("pathlib.Path.iterdir", refuse)
        with pytest.raises(InputError, match="Permission denied"):
            open_images(f"folder:{tmp_path}")

    def test_a_split_that_is_missing_is_named(self, tmp_path):
        picture(tmp_path / "train" / "a.png")
        with pytest.raises(InputError, match="test/"):
            open_images(f"folder:{tmp_path}", "test")


@pytest.mark.parametrize("spec", ["", "mnist", "digits:", "folder:", "folder", "fashion-mnist"])
def test_unknown_specs_are_answered_with_the_known_ones(spec):
    with pytest.raises(InputError, match="digits, fashion-mnist:DIR, .*hf:DIR"):
        open_images(spec)


@pytest.mark.parametrize("kind", ["folder", "fashion-mnist"])
def test_the_home_of_an_unknown_user_is_refused(kind):
    with pytest.raises(InputError, match="~nobody-here/x: expected a user"):
        open_images(f"{kind}:~nobody-here/x")


def test_wrong_splits_and_sizes_are_refused():
    with pytest.raises(InputError, match="train, test, all"):
        open_images("digits", "validation")
    with pytest.raises(InputError, match="at least 1"):
        open_images("digits", size=(0, 8))


def test_headers_are_read_by_threads_and_told_in_order(tmp_path):
    Image.fromarray(np.zeros((4, 6), dtype=np.uint8)).save(tmp_path / "a.png")
    together = threading.Barrier(3)

    def source(row):
        if row in (0, 40, 80):  # of three parts, which wait for each other
            together.wait(timeout=20)
        return tmp_path / ("a.png" if row % 50 else "missing.png")

    names = [f"{row}.png" for row in range(1200)]
    pictures = Pictures(where="here", names=names, source=source)
    with pytest.raises(DamagedPictures) as found:
        pictures.inspect(None)
    assert found.value.names == tuple(f"{row}.png" for row in range(0, 1200, 50))
    pictures = Pictures(where="here", names=names, source=lambda row: tmp_path / "a.png")
    assert pictures.inspect(None) == (1, Sizing(size=(4, 6)))
