"""Randomness that belongs to the sample: one key for each, generators made from it.

``key(seed, epoch, uid, visit, view, stage)`` is 128 bits of BLAKE2b over the five
integers and the stage's name. Every draw comes from it and from nothing else, so what
a sample looks like does not depend on the worker, the rank, the batch or the place
where a run was resumed.

Source: BLAKE2, RFC 7693. PCG64: M. E. O'Neill, "PCG: A Family of Simple Fast
Space-Efficient Statistically Good Algorithms for Random Number Generation", 2014.
"""

import random
from hashlib import blake2b
from struct import Struct
from typing import Any

import numpy as np

from fiberaug.errors import UsageError

__all__ = [
    "KeyUids",
    "KeyedGenerators",
    "ShardUids",
    "check_seed",
    "key",
    "torch_seed",
    "uid",
    "unit_key",
]

_WORDS = Struct("<5Q")
_WORD = Struct("<Q")
_BOUND = 2**64


def check_seed(seed: int) -> int:
    """Return ``seed`` when it fits in 64 bits.

    Raises:
        UsageError: ``seed`` is not an integer in [0, 2**64).
    """
    if type(seed) is not int or not 0 <= seed < _BOUND:  # True is no seed
        raise UsageError(f"seed must be an integer in [0, 2**64), got {seed!r}")
    return seed


def key(seed: int, epoch: int, uid: int, visit: int, view: int, stage: str) -> bytes:
    """Return the 16 bytes from which everything about one sample is drawn.

    Args:
        seed: Seed of the run, in [0, 2**64).
        epoch: Epoch, from 0.
        uid: Identity of the sample, see :func:`uid`.
        visit: How often the plan has dealt this sample in this epoch, from 0.
        view: Number of the view when one sample is augmented several times, from 0.
        stage: ``cpu``, ``gpu``, ``batch``, ...: stages draw independently.
    """
    words = _WORDS.pack(seed, epoch, uid, visit, view)
    return blake2b(words + stage.encode(), digest_size=16).digest()


def unit_key(seed: int, epoch: int, unit: int, stage: str) -> bytes:
    """Return the 16 bytes from which what a unit of positions shares is drawn.

    Args:
        seed: Seed of the run, in [0, 2**64).
        epoch: Epoch, from 0.
        unit: Number of the unit in the epoch, from 0: position // b0.
        stage: Name of the stage; ``unit/`` is put before it, so that no sample's key
            is ever a unit's.
    """
    return key(seed, epoch, unit, 0, 0, f"unit/{stage}")


def _uid_hash(source: str, shard: str) -> "blake2b":
    return blake2b(f"{source}\0{shard}\0".encode(), digest_size=8)


def uid(source: str, shard: str, index: int) -> int:
    """Return the 64-bit identity of a sample: the same on every machine.

    Args:
        source: Name of the source: ``real`` for the data set itself.
        shard: File name of the shard, without its folder.
        index: Number of the sample in the shard, from 0.
    """
    digest = _uid_hash(source, shard)
    digest.update(_WORD.pack(index))
    return int.from_bytes(digest.digest(), "little")


class ShardUids:
    """A function ``index -> uid`` for one shard, a quarter cheaper than :func:`uid`."""

    def __init__(self, source: str, shard: str) -> None:
        self._start = _uid_hash(source, shard)

    def __call__(self, index: int) -> int:
        """Return the identity of sample ``index``."""
        digest = self._start.copy()
        digest.update(_WORD.pack(index))
        return int.from_bytes(digest.digest(), "little")


class KeyUids:
    """A function ``key -> uid`` for the samples of a source that is mixed in.

    They go by their keys, so a pool that was written anew is the same pool: BLAKE2b-64
    of the source's name, two NULs and the key.
    """

    def __init__(self, source: str) -> None:
        self._start = blake2b(f"{source}\0\0".encode(), digest_size=8)

    def __call__(self, key: str) -> int:
        """Return the identity of the sample with a key."""
        digest = self._start.copy()
        digest.update(key.encode())
        return int.from_bytes(digest.digest(), "little")


def torch_seed(key: bytes) -> int:
    """Return the seed in [0, 2**63) for ``torch.Generator.manual_seed``."""
    return int.from_bytes(key[:8], "little") >> 1


class KeyedGenerators:
    """One numpy and one ``random`` generator that jump to any key in about 5 us.

    Attributes:
        numpy: ``np.random.Generator`` over PCG64.
        python: ``random.Random``.
    """

    # PCG's published default increment: keys choose the state, not the stream.
    _INCREMENT = 0x5851F42D4C957F2D14057B7EF767814F

    def __init__(self) -> None:
        self._bits = np.random.PCG64(0)
        self.numpy = np.random.Generator(self._bits)
        self.python = random.Random(0)  # noqa: S311  # drawing pixels, not secrets
        # What Random.seed does with an integer, without its checks of other types.
        self._seed_python = super(random.Random, self.python).seed
        self._words = {"state": 0, "inc": self._INCREMENT}
        self._state: Any = {
            "bit_generator": "PCG64",
            "state": self._words,
            "has_uint32": 0,
            "uinteger": 0,
        }

    def jump(self, key: bytes) -> None:
        """Put both generators into the state that ``key`` (16 bytes) names."""
        number = self._words["state"] = int.from_bytes(key, "little")
        self._bits.state = self._state
        self._seed_python(number)
        # The half of a pair that ``gauss`` keeps for its next call.
        self.python.gauss_next = None  # type: ignore[attr-defined]
