"""Which member fills which field of a data set, found out in one place."""

from collections.abc import Mapping
from contextlib import suppress

from fiberaug.decode.fields import FieldSpec, parse_fields, resolve_auto
from fiberaug.decode.text import parse_metadata
from fiberaug.errors import DataRefused, StoreError, UsageError
from fiberaug.shards.opening import open_shard
from fiberaug.shards.reader import ShardFile
from fiberaug.shards.resolve import ShardSet

__all__ = ["resolve_fields"]

_LOOKED_AT = 16  # samples, to find one that can be read
_SHARDS = 256  # likewise, where damaged ones are skipped


def resolve_fields(
    found: ShardSet, fields: Mapping[str, str] | str, *, skip: bool = False
) -> tuple[tuple[str, ...], tuple[FieldSpec, ...]]:
    """Return the extensions of the first sample, and the field mapping.

    Args:
        found: The shards.
        fields: A preset, a mapping, or ``auto``: what convert wrote, else what the
            first sample that can be read has.
        skip: Look at the first shard that can be opened; else at the first.

    Raises:
        UsageError: The mapping is not understood, or no field looks like an image.
        DataRefused: None of the first samples can be read.
        StoreError: The shard cannot be read.
    """
    first = _first(found, _SHARDS if skip else 1)
    extensions = tuple(field.extension for field in first.index.fields(0))
    if fields == "auto" and found.manifest is not None and found.manifest.fields:
        fields = found.manifest.fields
    if fields != "auto":
        return extensions, parse_fields(fields)
    refused: DataRefused | None = None
    for i in range(min(_LOOKED_AT, len(first.index))):
        try:
            members = first.read(i)
        except DataRefused as error:  # a broken sample is no reason to stop here
            refused = error
        else:
            return tuple(members), resolve_auto(members, parse_metadata(members))
    raise refused or UsageError("the first shard has no sample")


def _first(found: ShardSet, most: int) -> ShardFile:
    for ref in found.refs[: most - 1]:
        with suppress(DataRefused, StoreError):
            return open_shard(ref, found.cache)
    return open_shard(found.refs[:most][-1], found.cache)
