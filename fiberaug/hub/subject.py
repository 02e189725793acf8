"""What a folder holds: a model, a LoRA adapter, a pool, a data set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fiberaug.errors import DataRefused, StoreError, UsageError
from fiberaug.files import read_json_object
from fiberaug.jobs.journal import NOTES
from fiberaug.shards.manifest import FILE as SET
from fiberaug.shards.manifest import MARK, SEEKING
from fiberaug.synthetic.adapter_folders import KIND as ADAPTED
from fiberaug.synthetic.loading import FILE as GENERATOR
from fiberaug.synthetic.poolfile import FILE as POOL

__all__ = ["ADAPTER", "Subject", "find_subject", "read_json"]

ADAPTER = "pytorch_lora_weights.safetensors"
"""Weights of a LoRA adapter, as diffusers calls them."""

_MOST_BYTES = 64 * 2**20
_STATE, _PLACES = "state", ("best", "generator")


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What is to be sent."""

    kind: str
    """``model``, ``lora`` (also a learned word), ``pool`` or ``dataset``."""

    folder: Path
    """Where its files are: they stand at the repository's root."""

    said: Mapping[str, Any] = field(default_factory=dict)
    """What its JSON file says: ``generator.json``, ``pool.json``, ``dataset.json``."""

    training: Path | None = None
    """The folder of the training that it came from, where that was named."""


def find_subject(folder: str | Path) -> Subject:
    """Return what a folder holds.

    The folder of a training stands for its best generator, or else its last.

    Raises:
        UsageError: There is no such folder, or nothing of this package in it.
        DataRefused: It is being written, or holds several things.
        StoreError: It cannot be read.
    """
    place = Path(folder)
    if not place.is_dir():
        raise UsageError(f"{place} is no folder")
    for mark in (MARK, NOTES, SEEKING):
        if (place / mark).exists():
            raise DataRefused(
                f"{place} is unfinished: the same command that began it goes on; then"
                " push it"
            )
    found = [name for name in (GENERATOR, ADAPTER, SET) if (place / name).is_file()]
    if SET in found and len(found) > 1:
        raise DataRefused(f"{place} holds {' and '.join(found)}: push them apart")
    if SET in found:
        if (place / POOL).is_file():
            return Subject(kind="pool", folder=place, said=read_json(place / POOL))
        return Subject(kind="dataset", folder=place, said=read_json(place / SET))
    if found:
        said = read_json(place / GENERATOR) if GENERATOR in found else {}
        thin = ADAPTER in found or said.get("kind") == ADAPTED
        kind = "lora" if thin else "model"
        return Subject(kind=kind, folder=place, said=said)
    if (place / _STATE).is_dir():
        return _of_training(place)
    raise UsageError(
        f"{place} holds nothing to push: no {GENERATOR} (a model), {ADAPTER} (a LoRA"
        f" adapter), {POOL} (a pool) or {SET} (converted shards)"
    )


def _of_training(place: Path) -> Subject:
    for name in _PLACES:
        inner = place / name
        if (inner / GENERATOR).is_file() or (inner / ADAPTER).is_file():
            found = find_subject(inner)
            return Subject(
                kind=found.kind, folder=inner, said=found.said, training=place
            )
    raise DataRefused(
        f"{place} is a training without a generator yet: the same command that began"
        " it goes on"
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        DataRefused: It is none.
        LimitExceeded: It is larger than 64 MiB.
        StoreError: It cannot be read.
    """
    try:
        return read_json_object(path, _MOST_BYTES)
    except FileNotFoundError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
