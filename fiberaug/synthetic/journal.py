"""Samples that were made and are in no finished shard yet: lost by no kill.

A file of frames, each with its length and checksum. What a kill tore is cut off.
"""

import json
import os
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Any, Self

import numpy as np

from fiberaug.errors import StoreError
from fiberaug.jobs.copies import Fingerprint
from fiberaug.synthetic.made import MadeSample

__all__ = ["Journal"]

_HEAD = Struct("<QII")  # bytes of the image, bytes of the facts, CRC-32 of both


class Journal:
    """One file of samples.

    Args:
        path: The file; what it holds is kept.

    Raises:
        StoreError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise self._cannot(error) from error

    def read(self) -> Iterator[tuple[MadeSample, float]]:
        """Yield what the file holds, and the seconds each took; cut off what is torn.

        Raises:
            StoreError: The file cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                sound = 0
                while _read_frame(file) is not None:
                    sound = file.tell()
                self._file.truncate(sound)
                file.seek(0)  # the file may be removed from here on
                while (found := _read_frame(file)) is not None:
                    yield found
        except OSError as error:
            raise self._cannot(error) from error

    def write(self, made: MadeSample, seconds: float) -> None:
        """Append a sample, and the seconds that it took.

        Raises:
            StoreError: The disk is full or gone.
        """
        view = memoryview(_frame(made, seconds))
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise self._cannot(error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        """Return the journal."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def _cannot(self, error: OSError) -> StoreError:
        return StoreError(
            f"cannot write {self._path}: {error.strerror or error}; the same call goes"
            " on when there is room",
            stage="write",
        )


def _frame(made: MadeSample, seconds: float) -> bytes:
    facts = made._asdict() | {
        "image": None,
        "looks": [
            f"{made.looks.hash:016x}",
            b64encode(made.looks.thumbnail.tobytes()).decode(),
        ],
        "seconds": seconds,
    }
    text = json.dumps(facts).encode()
    crc = zlib.crc32(text, zlib.crc32(made.image))
    return _HEAD.pack(len(made.image), len(text), crc) + made.image + text


def _read_frame(file: Any) -> tuple[MadeSample, float] | None:  # noqa: ANN401  # binary
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    size, more, crc = _HEAD.unpack(head)
    left = os.fstat(file.fileno()).st_size - file.tell()
    if size + more > left:
        return None
    image, text = file.read(size), file.read(more)
    if zlib.crc32(text, zlib.crc32(image)) != crc:
        return None
    try:
        return _sample(image, json.loads(text))
    except (ValueError, TypeError, KeyError):  # of another release, or a stranger
        return None


def _sample(image: bytes, facts: dict[str, Any]) -> tuple[MadeSample, float]:
    seconds, (code, thumbnail) = facts.pop("seconds"), facts.pop("looks")
    cells = np.frombuffer(b64decode(thumbnail), np.uint8).reshape(16, 16)
    facts |= {
        "image": image, "shape": tuple(facts["shape"]), "parts": tuple(facts["parts"]),
        "looks": Fingerprint(int(code, 16), cells),
    }  # fmt: skip
    return MadeSample(**facts), float(seconds)
