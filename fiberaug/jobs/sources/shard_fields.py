"""Which member of shards is which field, where they are cut anew."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from fiberaug.decode.fields import parse_fields, resolve_auto
from fiberaug.decode.text import parse_metadata
from fiberaug.shards.manifest import Manifest
from fiberaug.shards.reader import ShardFile, ShardRef

__all__ = ["shard_fields"]

_WRITTEN = ("jpg", "png", "webp")  # what an image can become


def shard_fields(
    ref: ShardRef,
    kinds: AbstractSet[frozenset[str]],
    manifest: Manifest | None,
    columns: Mapping[str, str],
) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Return the field mapping, and the extensions of the image.

    Args:
        ref: The first shard.
        kinds: Sets of extensions that samples have.
        manifest: Content of ``dataset.json``.
        columns: Fields as the user maps them, such as ``{"image": "rgb.png"}``.

    Raises:
        UsageError: Nothing looks like an image, or a mapping is not understood.
    """
    if manifest is not None and manifest.fields:
        specs = parse_fields({**manifest.fields, **columns})
    elif "image" in columns:
        specs = parse_fields(columns)
    else:
        first = ShardFile(ref, verify=False).read(0)
        metadata, everything = parse_metadata(first), frozenset().union(*kinds)
        image, *_ = resolve_auto(first, metadata)
        _, *others = resolve_auto(everything, metadata)
        specs = parse_fields(
            {
                **{
                    spec.name + "?" * spec.optional: str(spec)
                    for spec in (image, *others)
                },
                **columns,
            }
        )
    image = next(spec for spec in specs if spec.name == "image")
    own = tuple(source.extension for source in image.sources)
    fields = {"image": ";".join((*own, *_more(own, kinds)))}
    for spec in specs:
        if spec.name != "image":
            has = {source.extension for source in spec.sources}
            lacking = spec.optional or any(not has & kind for kind in kinds)
            fields[spec.name + "?" * lacking] = str(spec)
    return fields, own


def _more(own: Sequence[str], kinds: AbstractSet[frozenset[str]]) -> list[str]:
    """Return the extensions that an image gets when it is encoded anew."""
    stems = dict.fromkeys(name.rpartition(".")[0] for name in own)
    more = [f"{stem}.{end}".lstrip(".") for stem in stems for end in _WRITTEN]
    return [n for n in more if n not in own and not any(n in kind for kind in kinds)]
