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
from torchvision import datasets

from ..errors import DataError, require
from ..progress import bar
from . import store

Samples = list[tuple[str, int]]


def read(folder: Path) -> tuple[list[Tensor], tuple[str, ...]]:
    """[x_train, y_train, x_test, y_test] of a folder, as `data.Images` holds them, and its classes.

    Raises DataError for a missing split, a class in one split only, images of different sizes and
    files that cannot be decoded.
    """
    folder = folder.resolve()
    try:
        train, test = (datasets.ImageFolder(str(folder / split)) for split in ("train", "test"))
    except FileNotFoundError as error:
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
    return _decoded(folder, train.samples, test.samples), tuple(train.classes)


def _decoded(folder: Path, train: Samples, test: Samples) -> list[Tensor]:
    """x_train, y_train, x_test, y_test: from the cache while no file has changed, else decoded."""
    listing = hashlib.sha256()
    for path, label in train + test:
        file = os.stat(path)
        listing.update(f"{path}|{label}|{file.st_size}|{file.st_mtime_ns}\n".encode())
    kept = store.cache_root() / "decoded" / f"{folder.name}-{listing.hexdigest()[:32]}.safetensors"
    names = ("x_train", "y_train", "x_test", "y_test")
    if kept.exists():
        try:
            tensors, _ = store.load_tensors(kept)
            return [tensors[name] for name in names]
        except store.CorruptFile as error:
            warnings.warn(f"{error} The images are decoded again now.", stacklevel=2)
    x = _decode([path for path, _ in train + test]).split([len(train), len(test)])
    y = torch.tensor([label for _, label in train + test]).split([len(train), len(test)])
    tensors = dict(zip(names, (x[0], y[0], x[1], y[1]), strict=True))
    store.save_tensors(kept, tensors)
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
            require(
                image.mode in ("1", "L", "P", "RGB"),
                f"{path} has pixels of kind {image.mode}; convert it to 8-bit grey or RGB",
                DataError,
            )
            return np.atleast_3d(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    except (OSError, SyntaxError) as error:
        raise DataError(f"{path} cannot be decoded ({error}); replace or remove it") from error
