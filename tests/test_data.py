"""Datasets are what their names say, the same each time, and never swapped for another."""

import os
import pickle
import struct
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError
from zlib import compress, crc32

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torch.nn.functional import pad
from torchvision import datasets

from unlearnlib.errors import DataError
from unlearnlib.lab import data, folders
from unlearnlib.lab.data import load

PUBLISHED = {"mnist": datasets.MNIST, "cifar10": datasets.CIFAR10, "svhn": datasets.SVHN}


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UNLEARNLIB_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def random_pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def write_mnist(root, n_train=6, n_test=4):
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for split, n in (("train", n_train), ("t10k", n_test)):
        images = random_pixels(n, 28, 28)
        sizes = np.array([2051, n, 28, 28], dtype=">i4").tobytes()
        (raw / f"{split}-images-idx3-ubyte").write_bytes(sizes + images.tobytes())
        labels = np.arange(n, dtype=np.uint8) % 10
        sizes = np.array([2049, n], dtype=">i4").tobytes()
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(sizes + labels.tobytes())


def write_folder(folder, suffix="png", shape=(8, 6, 3), classes=("cat", "dog"), each=2):
    for split in ("train", "test"):
        for label in classes:
            (folder / split / label).mkdir(parents=True)
            for i in range(each):
                image = Image.fromarray(random_pixels(*shape))
                image.save(folder / split / label / f"{i}.{suffix}")
    return folder


# The dataset in memory


def test_mnist5k_is_split_evenly_and_without_a_network():
    digits = load("mnist5k")
    assert digits.title == "MNIST, 5,000 digits"
    assert digits.x_train.shape == (4000, 1, 28, 28) and digits.x_test.shape == (1000, 1, 28, 28)
    assert digits.x_train.dtype == torch.uint8 and digits.y_train.dtype == torch.int64
    assert digits.shape == (1, 28, 28)
    assert torch.bincount(digits.y_train).tolist() == [400] * 10
    assert torch.bincount(digits.y_test).tolist() == [100] * 10
    used = torch.cat([digits.x_train, digits.x_test]).flatten(1)
    there = data._digits()[0].flatten(1)
    assert len(used.unique(dim=0)) == len(there.unique(dim=0))


def test_the_digest_of_mnist5k_is_the_same_on_every_machine():
    first = load("mnist5k").digest
    data._digits.cache_clear()
    assert load("mnist5k").digest == first
    assert first.startswith("37e742a068b1")


def test_the_digest_sees_every_tensor_and_every_shape():
    digits = load("mnist5k").subset(20, 10)
    for name in ("x_train", "y_train", "x_test", "y_test"):
        changed = getattr(digits, name).clone()
        changed.view(-1)[0] += 1
        assert data.replace(digits, **{name: changed}).digest != digits.digest
    turned = data.replace(digits, x_train=digits.x_train.view(20, 28, 1, 28))
    assert turned.digest != digits.digest


def test_nobody_can_change_the_next_load():
    load("mnist5k").x_train.zero_()
    assert load("mnist5k").x_train.any()


def test_loading_leaves_the_global_random_states_alone():
    torch.manual_seed(1)
    np.random.seed(1)
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()
    load("mnistm").subset(50, 50)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpys)


def test_train_and_test_are_normalised():
    digits = load("mnist5k")
    x, y = digits.train()
    assert x.dtype == torch.float32 and torch.equal(y, digits.y_train)
    assert torch.allclose(x, (digits.x_train / 255 - 0.1307) / 0.3081, atol=1e-6)
    assert x.mean().abs() < 0.05 and (x.std() - 1).abs() < 0.05
    x, y = digits.test()
    assert len(x) == len(y) == 1000


def test_subsets_keep_proportions_and_are_nested():
    digits = load("mnist5k")
    few, more = digits.subset(100, 50), digits.subset(200, 0)
    assert few.title == (
        "MNIST, 5,000 digits, 100 of 4,000 training images, 50 of 1,000 test images"
    )
    assert more.title == "MNIST, 5,000 digits, 200 of 4,000 training images"
    assert torch.bincount(few.y_train).tolist() == [10] * 10
    assert torch.bincount(few.y_test).tolist() == [5] * 10
    assert torch.equal(few.x_train, more.x_train[:100])
    assert len(more.y_test) == 1000
    assert few.digest == digits.subset(100, 50).digest
    assert digits.subset(0, 0).title == digits.title


def test_a_subset_follows_unequal_classes():
    y = torch.cat([torch.zeros(90), torch.ones(10)]).long()
    order = data._stratified(y)
    assert sorted(order.tolist()) == list(range(100))
    assert [int(y[order[:n]].sum()) for n in (10, 20, 50)] == [1, 2, 5]


@pytest.mark.parametrize(("n_train", "n_test"), [(4001, 0), (0, 4001), (-1, 0), (0.5, 0)])
def test_more_than_there_is_is_refused(n_train, n_test):
    with pytest.raises(DataError) as refusal:
        load("mnist5k").subset(n_train, n_test)
    asked, there = (n_test, 1000) if n_test else (n_train, 4000)
    assert f"{asked:,}" in str(refusal.value) and f"{there:,}" in str(refusal.value)


# MNIST-M


def photographs(monkeypatch, photo):
    monkeypatch.setattr(data, "load_sample_images", lambda: SimpleNamespace(images=[photo, photo]))


def test_mnistm_is_colour_and_says_what_it_is_made_of():
    blended = load("mnistm")
    assert blended.title == "MNIST-M built from MNIST, 5,000 digits"
    assert blended.x_train.shape == (4000, 3, 32, 32) and blended.x_test.shape == (1000, 3, 32, 32)
    assert torch.equal(blended.y_train, load("mnist5k").y_train)
    assert (blended.mean, blended.std) == (0.5, 0.5)
    assert blended.digest == load("mnistm").digest


def test_mnistm_prefers_all_of_mnist_and_says_so(root):
    write_mnist(root)
    blended = load("mnistm")
    assert blended.title == "MNIST-M built from MNIST"
    assert len(blended.y_train) == 6


@pytest.mark.parametrize("brightness", [0, 100, 255])
def test_mnistm_is_the_distance_between_patch_and_digit(monkeypatch, brightness):
    photographs(monkeypatch, np.full((427, 640, 3), brightness, dtype=np.uint8))
    digits = pad(load("mnist5k").x_test, (2, 2, 2, 2)).int()
    assert torch.equal(
        load("mnistm").x_test.int(), (brightness - digits).abs().expand(-1, 3, -1, -1)
    )


def test_mnistm_shows_no_place_of_a_photograph_in_both_splits(monkeypatch):
    photo = np.zeros((427, 640, 3), dtype=np.uint8)
    photo[..., 0], photo[..., 1] = np.arange(640) % 256, np.arange(640) // 256
    photographs(monkeypatch, photo)
    blended = load("mnistm")

    def columns(x):
        red, green = x[:, 0, 0].int(), x[:, 1, 0].int()  # the top row is padding: patch alone
        return set((red + 256 * green).flatten().tolist())

    train, test = columns(blended.x_train), columns(blended.x_test)
    assert len(train) > 200 and len(test) > 200
    assert not train & test


def test_mnistm_refuses_digits_of_another_size(root):
    write_folder(root / "mnist")
    with pytest.raises(DataError, match=r"\(3, 8, 6\).*\(1, 28, 28\)"):
        load("mnistm")


# The published datasets


def test_mnist_in_torchvision_s_layout(root):
    write_mnist(root)
    mnist = load("mnist", download=False)
    assert mnist.title == "MNIST" and (mnist.mean, mnist.std) == (0.1307, 0.3081)
    assert torch.equal(mnist.x_train[:, 0], torch.from_numpy(random_pixels(6, 28, 28)))
    assert mnist.y_test.tolist() == [0, 1, 2, 3] and mnist.classes == tuple("0123456789")


def test_root_wins_over_the_environment(root, tmp_path):
    write_mnist(root, n_train=6)
    write_mnist(tmp_path / "elsewhere", n_train=9)
    assert len(load("mnist", root=tmp_path / "elsewhere", download=False).y_train) == 9


def test_the_cache_holds_the_data_where_nothing_else_is_said(monkeypatch, tmp_path):
    monkeypatch.delenv("UNLEARNLIB_DATA")
    write_mnist(tmp_path / "cache" / "data")
    assert len(load("mnist", download=False).y_train) == 6


def test_truncated_mnist_is_refused_even_for_mnistm(root):
    write_mnist(root)
    images = root / "MNIST" / "raw" / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-1])
    for name in ("mnist", "mnistm"):
        with pytest.raises(DataError, match="cannot be read.*intact copies of MNIST/raw/train-im"):
            load(name)


def write_svhn(root):
    x = random_pixels(32, 32, 3, 4)
    y = np.array([[10], [1], [9], [10]], dtype=np.uint8)
    for split in ("train", "test"):
        savemat(root / f"{split}_32x32.mat", {"X": x, "y": y})
    return x


def test_svhn_calls_its_tenth_digit_zero(root, monkeypatch):
    x = write_svhn(root)
    for split in ("train", "test"):
        url, file, _ = datasets.SVHN.split_list[split]
        monkeypatch.setitem(datasets.SVHN.split_list, split, [url, file, None])
    svhn = load("svhn", download=False)
    assert svhn.title == "SVHN" and svhn.y_train.tolist() == [0, 1, 9, 0]
    assert torch.equal(svhn.x_test, torch.from_numpy(x.transpose(3, 2, 0, 1).copy()))


def test_svhn_with_another_checksum_is_refused(root):
    write_svhn(root)
    with pytest.raises(DataError, match="SVHN .* cannot be read .*train_32x32.mat"):
        load("svhn", download=False)


def write_cifar10(root, batch, meta):
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for file in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        (folder / file).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps(meta))


def test_cifar10_in_torchvision_s_layout(root, monkeypatch):
    pixels = random_pixels(2, 3, 32, 32)
    batch = {"data": pixels.reshape(2, -1), "labels": [3, 9]}
    write_cifar10(root, batch, {"label_names": ["airplane"]})
    for files in ("train_list", "test_list"):
        names = [[file, None] for file, _ in getattr(datasets.CIFAR10, files)]
        monkeypatch.setattr(datasets.CIFAR10, files, names)
    monkeypatch.setitem(datasets.CIFAR10.meta, "md5", None)
    cifar10 = load("cifar10", download=False)
    assert cifar10.title == "CIFAR-10" and cifar10.classes[3] == "cat"
    assert len(cifar10.y_train) == 10 and cifar10.y_test.tolist() == [3, 9]
    assert torch.equal(cifar10.x_test, torch.from_numpy(pixels))


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_that_is_not_the_original_is_never_opened(root, tmp_path):
    bomb = Bomb(str(tmp_path / "exploded"))
    write_cifar10(root, bomb, bomb)
    with pytest.raises(DataError, match="cannot be read"):
        load("cifar10", download=False)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("suffix", "title"),
    [("jpg", "CIFAR-10 (JPEG re-encoding)"), ("png", "CIFAR-10 (from image files)")],
)
def test_cifar10_from_image_files_says_so(root, suffix, title):
    classes = data.PUBLISHED["cifar10"].classes
    write_folder(root / "cifar10", suffix, (32, 32, 3), classes)
    cifar10 = load("cifar10", download=False)
    assert cifar10.title == title and cifar10.name == "cifar10"
    assert cifar10.classes == classes and cifar10.shape == (3, 32, 32)


def test_mnist_from_image_files_has_mnist_s_normalisation(root):
    write_folder(root / "mnist", shape=(28, 28), classes=tuple("0123456789"), each=1)
    mnist = load("mnist", download=False)
    assert mnist.shape == (1, 28, 28) and mnist.mean == 0.1307


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("download", [False, True])
def test_missing_data_says_what_to_put_where(name, download, root, monkeypatch):
    def no_network(self):
        assert download
        raise URLError("no route to host")

    monkeypatch.setattr(PUBLISHED[name], "download", no_network)
    with pytest.raises(DataError) as refusal:
        load(name, download=download)
    message = str(refusal.value)
    assert all(file in message for file in data.PUBLISHED[name].files)
    assert str(root) in message and "UNLEARNLIB_DATA" in message
    assert f"{name}/{{train,test}}/CLASS/*.png|jpg" in message
    assert ("no route to host" if download else "download=False") in message


def test_what_can_be_downloaded_is(root, monkeypatch):
    monkeypatch.setattr(datasets.MNIST, "download", lambda self: write_mnist(Path(self.root)))
    assert len(load("mnist").y_train) == 6


def test_an_unknown_name_lists_the_names_and_mentions_folders():
    with pytest.raises(DataError) as refusal:
        load("imagenet")
    for word in ("'imagenet'", "mnist5k, mnistm, mnist, cifar10, svhn", "folder"):
        assert word in str(refusal.value)


# Folders


def test_a_folder_of_colour_images(tmp_path):
    pets = load(write_folder(tmp_path / "pets"))
    assert (pets.name, pets.title, pets.classes) == ("pets", "pets", ("cat", "dog"))
    assert pets.x_train.shape == (4, 3, 8, 6) and pets.y_test.tolist() == [0, 0, 1, 1]
    expected = torch.from_numpy(random_pixels(8, 6, 3)).permute(2, 0, 1)
    assert all(torch.equal(image, expected) for image in pets.x_test)


def test_grey_images_have_one_channel_until_one_is_coloured(tmp_path):
    folder = write_folder(tmp_path / "pets", shape=(8, 6))
    grey = load(str(folder))
    assert grey.shape == (1, 8, 6)
    Image.fromarray(random_pixels(8, 6, 3)).save(folder / "train" / "cat" / "0.png")
    colour = load(str(folder))
    assert colour.shape == (3, 8, 6)
    assert torch.equal(colour.x_train[1:], grey.x_train[1:].expand(-1, 3, -1, -1))


def test_palettes_are_looked_up(tmp_path):
    folder = write_folder(tmp_path / "pets")
    palette = Image.new("P", (6, 8), color=1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.save(folder / "train" / "cat" / "0.png")
    assert load(folder).x_train[0, :, 0, 0].tolist() == [10, 20, 30]


def test_a_folder_is_decoded_once_until_a_file_changes(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "pets")
    first = load(folder)
    decode = folders._decode
    monkeypatch.setattr(folders, "_decode", lambda paths: pytest.fail("decoded again"))
    assert load(folder).digest == first.digest
    monkeypatch.setattr(folders, "_decode", decode)
    Image.fromarray(np.zeros((8, 6, 3), dtype=np.uint8)).save(folder / "test" / "dog" / "1.png")
    second = load(folder)
    assert second.digest != first.digest and not second.x_test[-1].any()


def test_a_corrupt_cache_is_rebuilt_with_a_warning(tmp_path):
    folder = write_folder(tmp_path / "pets")
    first = load(folder)
    (kept,) = (tmp_path / "cache" / "decoded").iterdir()
    whole = kept.read_bytes()
    for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        kept.write_bytes(damaged)
        with pytest.warns(UserWarning, match="decoded again"):
            assert load(folder).digest == first.digest
        assert list(kept.parent.iterdir()) == [kept]
        assert load(folder).digest == first.digest


def test_two_sizes_are_refused_by_name(tmp_path):
    folder = write_folder(tmp_path / "pets")
    Image.fromarray(random_pixels(8, 7, 3)).save(folder / "test" / "dog" / "1.png")
    with pytest.raises(DataError, match=r"1\.png has 7x8 .*0\.png has 6x8.*resize"):
        load(folder)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("RGBA", "png"),
        ("LA", "png"),
        ("I;16", "png"),
        ("I;16", "tif"),
        ("CMYK", "jpg"),
        ("F", "tif"),
        ("LAB", "tif"),
    ],
)
def test_pixels_that_would_lose_something_are_refused(tmp_path, mode, suffix):
    folder = write_folder(tmp_path / "pets")
    Image.new(mode, (6, 8)).save(folder / "train" / "cat" / f"0.{suffix}")
    kind = "I(;16)?" if mode == "I;16" else mode  # older versions of Pillow say I
    with pytest.raises(DataError, match=f"of kind {kind}; convert it to 8-bit grey or RGB"):
        load(folder)


def png(bits, colour, samples, *, transparent=b""):
    """A PNG of 6x8 pixels, all of these samples; colour 2 is RGB, 0 grey."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc32(name + data))

    pixel = b"".join(value.to_bytes(bits // 8, "big") for value in samples)
    header = struct.pack(">IIBBBBB", 6, 8, bits, colour, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    start += chunk(b"tRNS", transparent) if transparent else b""
    return start + chunk(b"IDAT", compress((b"\0" + 6 * pixel) * 8)) + chunk(b"IEND", b"")


def tiff(bits, samples):
    """A TIFF of 6x8 pixels without compression."""
    pixel = b"".join(value.to_bytes(bits // 8, "little") for value in samples)
    n, size = len(samples), 48 * len(pixel)
    tags = [(256, 3, 1, 6), (257, 3, 1, 8), (258, 3, n, 8 + size), (259, 3, 1, 1), (262, 3, 1, 2),
            (273, 4, 1, 8), (277, 3, 1, n), (278, 3, 1, 8), (279, 4, 1, size)]  # fmt: skip
    tags += [(338, 3, 1, 0)] if n > 3 else []
    table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = struct.pack("<2sHI", b"II", 42, 8 + size + 2 * n)
    return head + 48 * pixel + struct.pack(f"<{n}H", *[bits] * n) + table + b"\0" * 4


@pytest.mark.parametrize(
    ("name", "image", "said"),
    [
        ("0.png", png(16, 2, (0, 1000, 4095)), "16 bits a channel"),
        ("0.tif", tiff(16, (0, 1000, 4095)), "16 bits a channel"),
        ("0.tif", tiff(8, (0, 100, 200, 9)), "4 channels"),
        ("0.ppm", b"P6 6 8 4095\n" + 96 * b"\0\1\2", "12 bits a channel"),
        ("0.png", png(8, 2, (9, 9, 9), transparent=b"\0\1" * 3), "RGB with transparency"),
        ("0.png", png(8, 0, (9,), transparent=b"\0\1"), "L with transparency"),
    ],
)
def test_files_that_pillow_would_cut_down_silently_are_refused(tmp_path, name, image, said):
    folder = write_folder(tmp_path / "pets")
    (folder / "train" / "cat" / name).write_bytes(image)
    with pytest.raises(DataError, match=rf"0\.\w+ has .*{said}; convert it to 8-bit grey or RGB"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("9.png", png(8, 2, (0, 100, 200))),
        ("9.tif", tiff(8, (0, 100, 200))),
        ("9.ppm", b"P6 6 8 255\n" + 48 * bytes((0, 100, 200))),
        ("9.ppm", b"P3 6 8 255\n" + 48 * b"0 100 200 "),
    ],
)
def test_eight_bits_come_as_they_are_from_any_format(tmp_path, name, image):
    folder = write_folder(tmp_path / "pets", each=1)
    (folder / "train" / "cat" / name).write_bytes(image)
    assert load(folder).x_train[1, :, 7, 5].tolist() == [0, 100, 200]


def test_grey_from_any_format(tmp_path):
    folder = write_folder(tmp_path / "pets", shape=(8, 6), each=1)
    for name in ("1.pgm", "2.tif", "3.bmp"):
        Image.new("L", (6, 8), 77).save(folder / "train" / "cat" / name)
    Image.new("1", (6, 8), 1).save(folder / "train" / "cat" / "4.pbm", "PPM")
    Image.new("1", (6, 8), 1).save(folder / "train" / "cat" / "5.tif")
    assert load(folder).x_train[1:5, 0, 0, 0].tolist() == [77, 77, 77, 255]


def test_an_animation_is_refused(tmp_path):
    folder = write_folder(tmp_path / "pets")
    frames = [Image.new("RGB", (6, 8), (i, i, i)) for i in range(3)]
    frames[0].save(folder / "train" / "cat" / "0.png", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="3 frames; convert it"):
        load(folder)


def test_a_preview_behind_a_photograph_is_left_alone(tmp_path):
    folder = write_folder(tmp_path / "pets", each=1)
    photo, preview = (Image.new("RGB", (6, 8), (shade,) * 3) for shade in (77, 200))
    path = folder / "train" / "cat" / "1.jpg"
    photo.save(path, "MPO", save_all=True, append_images=[preview])
    assert Image.open(path).n_frames == 2
    assert load(folder).x_train[1].unique().tolist() == [77]


# Links, names and a cache that cannot be


def test_a_link_to_nothing_is_refused_by_name(tmp_path):
    folder = write_folder(tmp_path / "pets")
    (folder / "train" / "cat" / "7.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"7\.png cannot be read \(No such file.*; remove it"):
        load(folder)


@pytest.mark.parametrize("links", [1, 2])
def test_a_link_to_a_parent_is_refused_however_many_ways_it_opens(tmp_path, links):
    folder = write_folder(tmp_path / "pets")
    for i in range(links):
        (folder / "train" / "cat" / f"more {i}").symlink_to(folder / "train" / "cat")
    with pytest.raises(DataError, match=r"more \d and .*train/cat are one and the same; remove"):
        load(folder)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_file_under_two_names_is_refused(tmp_path, link):
    folder = write_folder(tmp_path / "pets")
    link(folder / "train" / "cat" / "0.png", folder / "test" / "dog" / "7.png")
    with pytest.raises(DataError, match=r"7\.png and .*0\.png are one and the same; remove"):
        load(folder)


def test_links_to_files_and_folders_elsewhere_are_followed_once(tmp_path):
    folder = write_folder(tmp_path / "pets")
    plain = load(folder)
    (folder / "train" / "cat").rename(tmp_path / "cats")
    (folder / "train" / "cat").symlink_to(tmp_path / "cats")
    (folder / "test" / "dog" / "0.png").rename(tmp_path / "dog.png")
    (folder / "test" / "dog" / "0.png").symlink_to(tmp_path / "dog.png")
    assert load(folder).digest == plain.digest


def test_a_file_name_need_not_be_utf8_and_a_class_must_be(tmp_path):
    folder = write_folder(tmp_path / "pets")
    digest = load(folder).digest
    odd = os.fsdecode(b"0\xe9.png")
    try:
        (folder / "train" / "cat" / "0.png").rename(folder / "train" / "cat" / odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    assert load(folder).digest == digest
    for split in ("train", "test"):
        (folder / split / "dog").rename(folder / split / os.fsdecode(b"d\xf6g"))
    with pytest.raises(DataError, match=r"name 'd\\udcf6g' is not UTF-8; rename it"):
        load(folder)


@pytest.mark.parametrize("name", [255 * "a", 85 * "\u20ac"])
def test_a_folder_s_name_may_be_as_long_as_any(tmp_path, monkeypatch, name):
    folder = write_folder(tmp_path / name)
    digest = load(folder).digest
    monkeypatch.setattr(folders, "_decode", lambda paths: pytest.fail("decoded again"))
    assert load(folder).digest == digest


def test_a_cache_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "pets")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(folders, "_decode", lambda paths: pytest.fail("decoded"))
    with pytest.raises(DataError, match="file cannot be written to; set UNLEARNLIB_CACHE"):
        load(folder)


def test_an_image_that_cannot_be_decoded_is_named(tmp_path):
    image = write_folder(tmp_path / "pets", shape=(40, 40, 3)) / "train" / "cat" / "0.png"
    for damaged in (image.read_bytes()[:-3000], b"not an image"):
        image.write_bytes(damaged)
        with pytest.raises(DataError, match=r"0\.png cannot be decoded .* replace or remove it"):
            load(tmp_path / "pets")


def test_a_folder_needs_both_splits_with_the_same_classes(tmp_path):
    folder = write_folder(tmp_path / "pets")
    (folder / "test" / "cat").rename(folder / "test" / "cow")
    with pytest.raises(DataError, match="cat, cow is in train or in test only"):
        load(folder)
    (folder / "test").rename(folder / "held out")
    with pytest.raises(DataError, match="train/CLASS/ and test/CLASS/"):
        load(folder)
