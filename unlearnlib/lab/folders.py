"""Images from a folder, FOLDER/{train,test}/CLASS/*: decoded once, then kept in the cache."""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import DataError, require
from ..progress import bar
from . import files

Samples = list[tuple[str, int]]


def read(folder: Path) -> tuple[list[Tensor], tuple[str, ...]]:
    """[x_train, y_train, x_test, y_test] of a folder, as `data.Images` holds them, and its classes.

    Raises DataError for a missing split, a class in one split only, images of different sizes,
    files that cannot be decoded, and links by which one would be read twice.
    """
    from torchvision import datasets  # takes seconds, and embedded images need none

    folder = folder.resolve()
    _refuse_folders_read_twice(folder)
    try:
        train, test = (datasets.ImageFolder(str(folder / split)) for split in ("train", "test"))
    except OSError as error:
        raise DataError(
            f"{folder} is not a folder of images ({error}); put them in train/CLASS/ and "
            "test/CLASS/, at least one of each class in both"
        ) from error
    unpaired = ", ".join(sorted(set(train.classes) ^ set(test.classes)))
    require(
        not unpaired,
        f"{folder}: {unpaired} is in train or in test only; give each class a folder in both",
        DataError,
    )
    for name in (folder.name, *train.classes):
        require(
            name.isascii() or name == os.fsencode(name).decode(errors="replace"),
            f"{folder}: the folder's name {name!r} is not UTF-8; rename it",
            DataError,
        )
    return _decoded(folder, train.samples, test.samples), tuple(train.classes)


def names(folder: Path) -> tuple[str, ...]:
    """What the training images of a folder are called, in the order of `read`: CLASS/file."""
    from torchvision import datasets

    train = folder.resolve() / "train"
    samples = datasets.ImageFolder(str(train)).samples
    return tuple(Path(path).relative_to(train).as_posix() for path, _ in samples)


def _refuse_folders_read_twice(folder: Path) -> None:
    """Refuse a folder in which links lead to the same folder twice.

    A link to a parent folder would be followed until the system stops, at forty copies of an image.
    """
    seen: dict[tuple[int, int], str] = {}
    for split in ("train", "test"):
        for path, _, _ in os.walk(folder / split, followlinks=True):
            _refuse_twice(path, os.stat(path), seen)


def _refuse_twice(path: str, at: os.stat_result, seen: dict[tuple[int, int], str]) -> None:
    """Refuse a file or folder that was seen before under another path.

    Otherwise an image could be forgotten under one path and stay under the other.
    """
    first = seen.setdefault((at.st_dev, at.st_ino), path)
    require(
        first == path,
        f"{path} and {first} are one and the same; remove the one that is a link",
        DataError,
    )


def _listing(samples: Samples) -> str:
    """Digest of paths, labels, sizes and times, to notice a changed image without reading it."""
    digest, seen = hashlib.sha256(), {}
    for path, label in samples:
        try:
            file = os.stat(path)
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}); remove it") from error
        _refuse_twice(path, file, seen)
        digest.update(os.fsencode(path))  # as it is on the disk, UTF-8 or not
        digest.update(f"|{label}|{file.st_size}|{file.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def _decoded(folder: Path, train: Samples, test: Samples) -> list[Tensor]:
    """x_train, y_train, x_test, y_test: from the cache while no file has changed, else decoded."""
    # 40 letters are enough to recognise it: a name may have 255 bytes, and a letter up to four
    name = f"{folder.name[:40]}-{_listing(train + test)}.safetensors"
    kept = files.cache_root() / "decoded" / name
    names = ("x_train", "y_train", "x_test", "y_test")
    if kept.exists():
        try:
            tensors, _ = files.load_tensors(kept)
            return [tensors[name] for name in names]
        except files.CorruptFile as error:
            warnings.warn(f"{error} The images are decoded again now.", stacklevel=2)
    files.require_writable(kept.parent, files.CACHE)
    x = _decode([path for path, _ in train + test]).split([len(train), len(test)])
    labels = torch.tensor([label for _, label in train + test], device="cpu")
    y = labels.split([len(train), len(test)])
    tensors = dict(zip(names, (x[0], y[0], x[1], y[1]), strict=True))
    files.save_tensors(kept, tensors)
    return list(tensors.values())


def _decode(paths: list[str]) -> Tensor:
    """uint8 (n, channels, height, width), with one channel when all images are grey, else three."""
    frames: list[np.ndarray] = []
    for path in bar(paths, "decoding images"):
        frames.append(_pixels(path))
        (height, width), (first_height, first_width) = frames[-1].shape[:2], frames[0].shape[:2]
        require(
            (height, width) == (first_height, first_width),
            f"{path} has {width}x{height} pixels and {paths[0]} has {first_width}x{first_height}; "
            "resize the images to one size",
            DataError,
        )
    shape = (*frames[0].shape[:2], max(frame.shape[2] for frame in frames))
    x = np.stack([np.broadcast_to(frame, shape) for frame in frames])
    return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()


def _pixels(path: str) -> np.ndarray:
    """uint8 (height, width, channels), with one channel for a grey image and three for another."""
    try:
        with Image.open(path) as image:
            odd = _more_than_fits(image, path)
            pixels = None if odd else image.convert("L" if image.mode in ("1", "L") else "RGB")
    except Exception as error:  # the decoder of each format raises errors of its own
        raise DataError(f"{path} cannot be decoded ({error}); replace or remove it") from error
    require(not odd, f"{path} has {odd}; convert it to 8-bit grey or RGB", DataError)
    return np.atleast_3d(pixels)


def _more_than_fits(image: Image.Image, path: str) -> str:
    """Say what an opened image would lose as 8-bit grey or RGB; an empty text if nothing."""
    if image.mode not in ("1", "L", "P", "RGB"):
        return f"pixels of kind {image.mode}"
    if "transparency" in image.info:
        return f"pixels of kind {image.mode} with transparency"
    # a camera's MPO is a JPEG with a preview behind the picture
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        return f"{image.n_frames} frames"
    if image.format == "TIFF" and (channels := image.tag_v2.get(277, 1)) > 3:
        return f"{channels} channels"
    return f"{bits} bits a channel" if (bits := _bits(image, path)) > 8 else ""


def _bits(image: Image.Image, path: str) -> int:
    """Bits per channel in the file; Pillow also calls 16 bits RGB, and drops the low byte."""
    if image.format == "PNG":
        with open(path, "rb") as file:
            return file.read(25)[24]  # of the header, which comes first
    if image.format == "TIFF":
        return max(image.tag_v2.get(258, (8,)))
    if image.format == "PPM" and isinstance(decoder := image.tile[0][3], tuple):
        return int(decoder[1]).bit_length()  # of ("RGB", 65535): its largest value
    return 8
