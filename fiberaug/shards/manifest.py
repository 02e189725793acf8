"""``dataset.json``: what a folder of shards holds; written last, read alone."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from fiberaug.errors import SecurityRefused, ShardDamaged, StoreError

__all__ = [
    "FILE",
    "MARK",
    "SEEKING",
    "Manifest",
    "Row",
    "ShardEntry",
    "fingerprint",
]

FILE = "dataset.json"
MARK = ".converting.json"
"""Stands in a folder as long as its shards are being written."""
SEEKING = ".seekable"
"""Folder that stands beside shards as long as they are being made seekable in place."""
Row = tuple[object, ...]
"""(name, bytes, samples or None, digest or None) of a shard."""
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardEntry:
    """One shard as ``dataset.json`` lists it."""

    name: str
    """File name."""

    bytes: int
    """Size of the tar file."""

    samples: int
    """Number of samples."""

    sha256: str
    """SHA-256 of the tar file, hexadecimal."""

    index_crc32: str
    """CRC-32 of the side-car, 8 hexadecimal digits."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """Samples of each class, by class id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The content of ``dataset.json``."""

    schema: int = SCHEMA
    """Version of this format."""

    shards: tuple[ShardEntry, ...]
    """Shards in order."""

    classes: tuple[str, ...] = ()
    """Class names by class id."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """Samples of each class, by name, or by id where there are no names."""

    splits: Mapping[str, Any] = field(default_factory=dict)
    """Named parts of the set."""

    fields: Mapping[str, str] = field(default_factory=dict)
    """Field mapping, as ``StreamingDataset(fields=...)`` takes it."""

    about: Mapping[str, Any] = field(default_factory=dict)
    """What the source said of the whole set, such as names of keypoints."""

    producer: Mapping[str, Any] = field(default_factory=dict)
    """Program, version and arguments that wrote the set."""

    @property
    def samples(self) -> int:
        """Number of samples of the set."""
        return sum(shard.samples for shard in self.shards)

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        return (json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read ``dataset.json`` of a folder.

        Raises:
            StoreError: It cannot be read.
            ShardDamaged: It is not what :meth:`to_bytes` writes.
            SecurityRefused: A shard's name is a path.
        """
        path = folder / FILE
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
        return cls.parse(content, str(path))

    @classmethod
    def parse(cls, content: bytes, path: str) -> Self:
        """Return the manifest that a file's content is.

        Args:
            content: The file.
            path: Its path or URL, for errors.

        Raises:
            ShardDamaged: It is not what :meth:`to_bytes` writes.
            SecurityRefused: A shard's name is a path.
        """
        try:
            data = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ShardDamaged(f"{path} is not JSON: {error}") from error
        try:
            newer = data["schema"] > SCHEMA
            known = {
                name: data[name] for name in cls.__dataclass_fields__ if name in data
            }
            if not newer:
                known["shards"] = tuple(_entry(shard) for shard in data["shards"])
            known["classes"] = tuple(map(_text, data.get("classes", ())))
            known["splits"] = {
                part: list(map(_text, names))
                for part, names in data.get("splits", {}).items()
            }
        except (AttributeError, KeyError, TypeError) as error:
            raise ShardDamaged(
                f"{path} is no data set of FiberAug: {error!r}"
            ) from error
        if newer:
            raise ShardDamaged(
                f"{path} has schema {data['schema']}, this release reads 1 to {SCHEMA}"
            )
        for name in (entry.name for entry in known["shards"]):
            if not name or name != Path(name).name or name[0] == "." or "\0" in name:
                raise SecurityRefused(
                    f"{path} names the shard {name!r}, which is no plain file name"
                )
        if not known["shards"]:
            raise ShardDamaged(f"{path} lists no shard")
        return cls(**known)


def _entry(data: Any) -> ShardEntry:  # noqa: ANN401  # JSON
    entry = ShardEntry(**data)
    for name in ("name", "sha256", "index_crc32"):
        _text(getattr(entry, name))
    for name in ("bytes", "samples"):
        count = getattr(entry, name)
        if type(count) is not int or count < 0:
            raise TypeError(f"{name} of a shard must be a count, got {count!r}")
    if not isinstance(entry.counts, Mapping):
        raise TypeError(f"counts of a shard must be an object, got {entry.counts!r}")
    return entry


def _text(value: Any) -> str:  # noqa: ANN401  # JSON
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value


def fingerprint(rows: list[Row]) -> str:
    """Return the SHA-256 of a list of shards: the identity of a data set's content.

    It is the same wherever the shards lie.
    """
    return sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()
