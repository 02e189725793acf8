"""How far the writing of a pool is, and what is noted beside each finished shard."""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fiberaug.jobs.copies import Fingerprint
from fiberaug.shards.manifest import ShardEntry
from fiberaug.synthetic.asking import Round

__all__ = ["Note", "State", "looks_of"]

_LOOKS_BYTES = 8 + 256


@dataclass
class State:
    """How far the writing is: after a number of samples that were judged."""

    made: dict[int, int] = field(default_factory=dict)
    """Samples of each label."""

    accepted: dict[int, int] = field(default_factory=dict)
    rejected: dict[int, dict[str, int]] = field(default_factory=dict)
    """By label and reason."""

    round: Round = field(default_factory=lambda: Round({}, {}))
    offset: int = 0
    """Samples of the round that were judged."""

    size: tuple[int, int, int] | None = None
    """Height, width and channels of the images."""

    with_parents: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    """Parents of each part of the data; empty text: nobody says."""

    generate_s: float = 0.0
    calls: int = 0
    peak_mib: int = 0

    def to_plain(self) -> dict[str, Any]:
        """Return it as what JSON has."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Return what :meth:`to_plain` gave."""
        told = dict(plain)
        for name in ("made", "accepted", "rejected"):
            told[name] = _by_label(told[name])
        told["round"] = Round(*(_by_label(one) for one in told["round"].values()))
        told["size"] = None if told["size"] is None else tuple(told["size"])
        return cls(**told)


def _by_label(told: Mapping[str, Any]) -> dict[int, Any]:
    return {int(label): value for label, value in told.items()}


@dataclass
class Note:
    """What a finished shard added to the pool, and the state behind it."""

    state: State
    entry: ShardEntry | None = None
    """The shard; None: it is being written."""

    taken: list[tuple[str, str]] = field(default_factory=list)
    """Key and hash of the pixels of each sample."""

    refused: list[str] = field(default_factory=list)
    """Lines of what was refused."""

    looks: bytearray = field(default_factory=bytearray)
    """Fingerprints of the samples."""

    def add(self, key: str, pixels: str, looks: Fingerprint) -> None:
        """Note a sample that was taken."""
        self.taken.append((key, pixels))
        self.looks += looks.hash.to_bytes(8, "little") + looks.thumbnail.tobytes()

    def to_bytes(self) -> bytes:
        """Return the note as a file."""
        told = {
            "state": self.state.to_plain(),
            "entry": None if self.entry is None else asdict(self.entry),
            "taken": self.taken, "refused": self.refused,
            "looks": b64encode(self.looks).decode(),
        }  # fmt: skip
        return json.dumps(told).encode()

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Return what :meth:`to_bytes` gave.

        Raises:
            ValueError: It is anything else.
        """
        try:
            told = json.loads(content)
            return cls(
                state=State.from_plain(told["state"]),
                entry=ShardEntry(**told["entry"]),
                taken=[(key, pixels) for key, pixels in told["taken"]],
                refused=list(told["refused"]),
                looks=bytearray(b64decode(told["looks"])),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no note: {error!r}") from error


def looks_of(notes: Iterable[Note]) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Return hashes [N] and thumbnails [N, 16, 16] of the samples of some notes."""
    data = np.frombuffer(b"".join(bytes(note.looks) for note in notes), np.uint8)
    rows = data.reshape(-1, _LOOKS_BYTES)
    hashes = np.ascontiguousarray(rows[:, :8]).view("<u8").reshape(-1)
    return hashes.astype(np.uint64), rows[:, 8:].reshape(-1, 16, 16)
