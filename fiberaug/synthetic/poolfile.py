"""``pool.json``: how the samples of a pool were made, and what became of each."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from fiberaug.errors import DataRefused, LimitExceeded, StoreError

__all__ = ["FILE", "VERSION", "PoolFile", "differences", "read_pool_file"]

FILE = "pool.json"
VERSION = 1
_MOST_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFile:
    """The content of ``pool.json``; all but ``cost`` is the same in every run."""

    v: int = VERSION
    """Version of this format."""

    state: str = "complete"
    """``complete``, or ``short``: a class has fewer samples than were asked for."""

    generator: Mapping[str, Any]
    """What the generator said of itself."""

    source_type: str
    """IPTC's digital source type of the images."""

    asked: Mapping[str, Any]
    """All that the samples depend on: another call with the same is the same pool."""

    licence: str | None = None
    """Of the samples."""

    counts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By class: ``asked``, ``made``, ``accepted``, and ``rejected`` by reason."""

    size: Mapping[str, int] = field(default_factory=dict)
    """Native ``height``, ``width`` (px) and ``channels``."""

    data: Mapping[str, Any] | None = None
    """The training data that was compared with: ``fingerprint``, ``samples``."""

    parents: Mapping[str, Any] = field(default_factory=dict)
    """``samples`` that have any, and how many parents are of which part: ``splits``."""

    checks: Mapping[str, Any] = field(default_factory=dict)
    """What was looked at: ``batch``, ``duplicates``, ``near_copies``, ``filter``."""

    cost: Mapping[str, Any] = field(default_factory=dict)
    """What it took, over all runs: ``generate_s``, ``work_s``, ``calls``, ``made``,
    ``peak_mib``, ``device``."""

    producer: Mapping[str, Any] = field(default_factory=dict)
    """Program and version."""

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        return (json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def parse(cls, content: bytes, path: str) -> Self:
        """Return what a file's content says.

        Args:
            content: The file.
            path: Its path, for errors.

        Raises:
            DataRefused: It is not what :meth:`to_bytes` writes, or of a newer release.
        """
        try:
            data = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise DataRefused(f"{path} is not JSON: {error}") from error
        version = data.get("v") if isinstance(data, dict) else None
        if type(version) is not int or version < 1:
            raise DataRefused(f'{path} is no pool.json: "v" must be 1, got {version!r}')
        if version > VERSION:
            raise DataRefused(
                f"{path} has version {version}, this release reads 1 to {VERSION}:"
                " a newer FiberAug reads it"
            )
        known = {n: data[n] for n in cls.__dataclass_fields__ if n in data}
        try:
            found = cls(**known)
        except TypeError as error:
            raise DataRefused(f"{path} is no pool.json: {error}") from None
        found._check(path)
        return found

    def _check(self, path: str) -> None:
        """Refuse values of other types: they come from a file."""
        kinds: dict[str, tuple[type, ...]] = {
            "state": (str,), "source_type": (str,), "licence": (str, type(None)),
            "data": (Mapping, type(None)),
        }  # fmt: skip
        for name in self.__dataclass_fields__:
            kind = (int,) if name == "v" else kinds.get(name, (Mapping,))
            if not isinstance(getattr(self, name), kind):
                raise DataRefused(
                    f"{path} is no pool.json: {name} is {getattr(self, name)!r:.80}"
                )
        for name, told in self.counts.items():
            numbers: Any = told if isinstance(told, dict) else {}
            for what in ("asked", "made", "accepted"):
                number = numbers.get(what)
                if type(number) is not int or number < 0:
                    raise DataRefused(
                        f"{path}: counts of {name!r:.40} have {what} {number!r:.40}"
                    )
            if not isinstance(numbers.get("rejected", {}), dict):
                raise DataRefused(f"{path}: rejected of {name!r:.40} is no object")
        for what in ("height", "width", "channels"):
            if type(self.size.get(what)) is not int:
                raise DataRefused(f"{path}: size has no {what}")


def read_pool_file(folder: str | Path) -> PoolFile | None:
    """Return what ``pool.json`` of a folder says; None where there is none.

    Args:
        folder: Of a data set.

    Raises:
        DataRefused: It is broken, or of a newer release.
        StoreError: It cannot be read.
    """
    path = Path(folder) / FILE
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise LimitExceeded(f"{path} is larger than {_MOST_BYTES} bytes")
    return PoolFile.parse(content, str(path))


def differences(there: Any, here: Any, name: str = "") -> list[str]:  # noqa: ANN401  # of JSON
    """Return in words where two values of JSON differ, deepest names first.

    Args:
        there: What a pool was begun with.
        here: What is asked for.
        name: Of both, for the words.
    """
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        found = []
        for key in sorted({*there, *here}):
            dotted = f"{name}.{key}" if name else str(key)
            found += differences(there.get(key), here.get(key), dotted)
        return found
    if there == here:
        return []
    return [f"{name} is {there!r:.100} there and {here!r:.100} here"]
