"""Generators for tests of online generators, good ones and bad ones."""

import contextlib
import ctypes
import hashlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image
from fiberaug.synthetic.generator import call
from fiberaug.synthetic.seeds import sample_seed

__all__ = [
    "CLASSES", "Broken", "Licensed", "Paint", "Renamed", "Slow", "Uneven",
    "make", "no_generator", "no_weights", "pixels_in", "pixels_of", "processes",
    "right",
]  # fmt: skip

CLASSES = ("disc", "square", "bar")


class Paint:
    """Squares of colours that no other seed and label has."""

    classes = CLASSES

    def __init__(self, side: int = 16) -> None:
        self.side = side

    def describe(self) -> dict[str, Any]:
        return {"kind": "procedural", "sha256": hashlib.sha256(b"paint").hexdigest()}

    def generate(
        self, seeds: Sequence[int], labels: Sequence[int], **_: Any
    ) -> np.ndarray:
        side = self.side
        images = np.empty((len(seeds), side, side, 3), np.uint8)
        for image, seed, label in zip(images, seeds, labels, strict=True):
            rng = np.random.default_rng([seed, label])
            squares = rng.integers(0, 256, (side // 4, side // 4, 3), np.uint8)
            image[:] = squares.repeat(4, 0).repeat(4, 1)
        return images


def make() -> Paint:
    return Paint()


def pixels_of(label: int, index: int, *, seed: int = 0) -> np.ndarray:
    """What the generator paints for a sample, asked for alone."""
    return call(Paint(), [sample_seed(seed, CLASSES[label], index)], [label])[0]


class Broken(Paint):
    """Does something bad at some call.

    Args:
        how: What.
        calls: Good calls before.
        marker: A file that is there once it was done; then it is not done again.
    """

    def __init__(self, how: str, calls: int = 0, marker: Path | None = None) -> None:
        super().__init__()
        self.how, self.calls, self.marker = how, calls, marker

    def generate(self, seeds: Sequence[int], labels: Sequence[int], **_: Any) -> Any:
        self.calls -= 1
        if self.calls >= 0 or (self.marker and self.marker.exists()):
            return super().generate(seeds, labels)
        if self.marker:
            self.marker.touch()
        return getattr(self, f"_{self.how}")(seeds, labels)

    def _raises(self, *_: Any) -> None:
        raise ValueError("the colours have run out")

    def _exits(self, *_: Any) -> None:
        os._exit(7)

    def _ends_as_refused(self, *_: Any) -> None:
        os._exit(3)

    def _killed(self, *_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _sleeps(self, *_: Any) -> None:
        time.sleep(1000)

    def _holds_the_interpreter(self, *_: Any) -> None:
        ctypes.PyDLL(None).sleep(1000)  # no other thread of Python runs meanwhile

    def _few(self, seeds: Sequence[int], labels: Sequence[int]) -> np.ndarray:
        return super().generate(seeds, labels)[1:]

    def _nan(self, seeds: Sequence[int], labels: Sequence[int]) -> np.ndarray:
        return super().generate(seeds, labels) * np.float32("nan")

    def _sizes(self, seeds: Sequence[int], labels: Sequence[int]) -> np.ndarray:
        return super().generate(seeds, labels)[:, :8]

    def _memory(self, seeds: Sequence[int], labels: Sequence[int]) -> np.ndarray:
        if len(seeds) > 2:
            raise MemoryError(f"no room for {len(seeds)}")
        return super().generate(seeds, labels)


class Uneven(Paint):
    """Some of its images take three times the bytes of others.

    Args:
        log: Gets a byte for each sample that is made.
        marker: A file; when it is there all images are large, else a fifth of them.
    """

    def __init__(self, log: Path, marker: Path | None = None) -> None:
        super().__init__(32)
        self.log, self.marker = log, marker

    def generate(
        self, seeds: Sequence[int], labels: Sequence[int], **_: Any
    ) -> np.ndarray:
        with self.log.open("ab") as file:
            file.write(bytes(len(seeds)))
        images = np.zeros((len(seeds), 32, 32, 3), np.uint8)
        for image, seed in zip(images, seeds, strict=True):
            if seed % 5 == 0 if self.marker is None else self.marker.exists():
                image[:] = np.random.default_rng(seed).integers(0, 256, image.shape)
        return images


class Licensed(Paint):
    """The same images by another generator."""

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"licence": "MIT"}


class Renamed(Paint):
    """Of other classes."""

    classes = ("disc", "bar", "square")


def no_generator() -> object:
    return object()


def no_weights() -> Paint:
    raise FileNotFoundError("weights.safetensors")


class Slow(Paint):
    """Takes a millisecond a sample."""

    def generate(
        self, seeds: Sequence[int], labels: Sequence[int], **_: Any
    ) -> np.ndarray:
        time.sleep(0.001 * len(seeds))
        return super().generate(seeds, labels)


def pixels_in(members: Mapping[str, bytes]) -> np.ndarray:
    """The pixels of a sample that was taken."""
    return decode_image(members["png"], limits=ImageLimits())[0]


def right(members: Mapping[str, bytes] | None, label: int, index: int) -> bool:
    """Whether a sample that was taken is the one that was asked for, whole."""
    if members is None:
        return False
    said = json.loads(members["json"])["provenance"]
    return (
        members["cls"] == str(label).encode()
        and said["params"]["index"] == index
        and said["bytes_sha256"] == hashlib.sha256(members["png"]).hexdigest()
        and np.array_equal(pixels_in(members), pixels_of(label, index))
    )


def processes(root: int | None = None) -> list[psutil.Process]:
    """The generator's processes below a process."""
    found = []
    for child in psutil.Process(root).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            lives = child.status() != psutil.STATUS_ZOMBIE
            if lives and "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found
