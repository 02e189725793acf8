"""One sample of a shard edited: its members, and where they come from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.fields import FieldSpec
from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image
from fiberaug.decode.options import DecodeOptions
from fiberaug.decode.sample import SampleDecoder
from fiberaug.decode.text import parse_json
from fiberaug.editing.editor import Editor
from fiberaug.editing.labels import Fates, judge
from fiberaug.editing.objects import Objects, component_at
from fiberaug.editing.options import EditOptions
from fiberaug.editing.photo import PhotoEdit, edit_photo
from fiberaug.editing.relabelling import Relabelling, stored_plane
from fiberaug.editing.stating import state
from fiberaug.editing.storing import encode_plane, store
from fiberaug.errors import DataRefused, ReplayMismatch, SampleBroken, UsageError
from fiberaug.synthetic.provenance import FIELD, Parent, Provenance
from fiberaug.synthetic.truth import pixels_sha256

__all__ = ["EDIT", "EditedSample", "Reading", "edit_sample", "edited_key", "remake"]

EDIT = "edit.png"
"""Member that says how much of each pixel was replaced, in the photo's stored frame."""

_MOST_PARENTS = 64


class EditedSample(NamedTuple):
    """A sample that was edited."""

    members: dict[str, bytes]
    """By extension: those of the parent, with another image and what follows it."""

    image: str
    """Extension of the photo."""

    provenance: Provenance
    size: tuple[int, int, int]
    """Height, width and channels of the upright photo."""

    fates: Fates
    """What became of its labels."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the samples of a set are read."""

    specs: Sequence[FieldSpec]
    """The field mapping."""

    classes: tuple[str, ...] = ()
    """Class names by id."""

    @property
    def decoder(self) -> SampleDecoder:
        """What decodes them: colours and bits as they are."""
        return SampleDecoder(
            specs=self.specs,
            classes={name: i for i, name in enumerate(self.classes)},
            options=DecodeOptions(color="keep", depth="keep"),
        )

    def image_of(self, members: Mapping[str, Any]) -> str:
        """Return the extension of a sample's image.

        Raises:
            SampleBroken: It has none.
        """
        spec = next(spec for spec in self.specs if spec.name == "image")
        names = [source.extension for source in spec.sources]
        found = next((name for name in names if name in members), None)
        if found is None:
            raise SampleBroken(
                f"field 'image' <- {spec} is missing; the sample has {sorted(members)}",
                stage="decode",
            )
        return found


def edited_key(key: str, copy: int) -> str:
    """Return the key of an edited sample.

    >>> edited_key("cat/007", 3)
    'cat/007-e003'
    """
    return f"{key}-e{copy:03d}"


def edit_sample(
    members: Mapping[str, bytes],
    editor: Editor,
    reading: Reading,
    *,
    parent: Parent,
    copy: int = 0,
) -> EditedSample | None:
    """Return a sample with its photo edited; None where nothing of it was to change.

    Args:
        members: Of the parent, by extension.
        editor: Changes windows, as its options say.
        reading: How the sample is read.
        parent: Its key, shard and part; the hash is filled in.
        copy: Number of this version of it, from 0.

    Raises:
        SampleBroken: The sample cannot be read, or a label cannot follow the edit.
        LimitExceeded: It is too large.
        UsageError: The editor returned something else than it must.
    """
    options = editor.options
    extension = reading.image_of(members)
    fields, header = reading.decoder(members)
    given = np.asarray(fields.pop("image"))
    pixels = given if given.flags.writeable else given.copy()
    caption = fields.get("caption")
    done = edit_photo(
        pixels, fields, editor, name=f"{parent.key} {copy}",
        caption=caption if isinstance(caption, str) else None,
    )  # fmt: skip
    if not done.edits:
        return None
    objects = Objects.of(fields, pixels.shape[1], pixels.shape[0])
    fates = judge(
        options, done.edits, objects.touched(done.changed),
        asked=editor.tells_class,
    )  # fmt: skip
    image = bytes(members[extension])
    others = {one: bytes(data) for one, data in members.items() if one != extension}
    labels = Relabelling(others, reading.specs, header)
    filled = _filled(done, objects, editor)
    labels.apply(
        fates, objects, done.changed, ignore=options.ignore, to=_new_label(editor),
        filled=filled, to_id=editor.to,
    )  # fmt: skip
    kind, data = store(pixels, image, header, options.encode)
    outside, exact = _stored_as(data, kind, pixels, done.changed)
    name = ".".join([*extension.split(".")[:-1], kind])
    for new in (name, EDIT):
        if new in labels.members:
            raise SampleBroken(
                f"it has a member .{new} already, which the edited photo would"
                " replace; choose another encode",
                stage="edit",
            )
    notes = _notes(labels.members)
    parents = _parents(parent, image, notes)
    label = fields.get("label")
    stated = state(
        editor, done, parents=parents, key=edited_key(parent.key, copy), copy=copy,
        pixels=exact, data=data, fates=fates, outside=outside,
        label=label if isinstance(label, int | float) else None,
    )  # fmt: skip
    notes |= {FIELD: stated.to_dict(), "group": notes.get("group") or parent.key}
    made = labels.members | {
        name: data,
        EDIT: encode_plane(stored_plane(done.changed, header.orientation)),
        "json": json.dumps(notes, ensure_ascii=False, allow_nan=False).encode(),
    }
    height, width, channels = pixels.shape
    return EditedSample(made, name, stated, (height, width, channels), fates)


def remake(
    members: Mapping[str, bytes],
    provenance: Provenance,
    editor: Editor,
    reading: Reading,
) -> EditedSample:
    """Return an edited sample made again from its parent and its provenance.

    Args:
        members: Of the parent.
        provenance: Of the edited sample.
        editor: With the generator that edited it; its options are taken from the
            provenance.
        reading: How the parent is read.

    Raises:
        UsageError: The provenance is of no edit.
        ReplayMismatch: The parent or the generator is another one, or what came out
            has other pixels.
    """
    others = provenance.params.others
    told = others.get("options")
    if not isinstance(told, Mapping) or not provenance.parents:
        raise UsageError("the provenance is of no edit: it states no options")
    parent, image = provenance.parents[0], members[reading.image_of(members)]
    if parent.sha256 != sha256(image).hexdigest():
        raise ReplayMismatch(
            f"the photo is not the one that was edited: its hash is not"
            f" {parent.sha256}",
            key=parent.key,
        )
    again = Editor(editor.generator, EditOptions.from_dict(told), editor.names)
    known = provenance.generator.sha256
    if known is not None and again.described.get("sha256") != known:
        raise ReplayMismatch(
            f"the generator is not the one that edited it: it has the hash"
            f" {again.described.get('sha256')}, not {known}",
            key=parent.key,
        )
    made = edit_sample(
        members, again, reading, parent=parent, copy=int(others.get("copy", 0))
    )
    found = None if made is None else made.provenance.pixels_sha256
    if made is None or found != provenance.pixels_sha256:
        raise ReplayMismatch(
            f"the edit has other pixels: {found}, not {provenance.pixels_sha256};"
            " another machine, device or release may round otherwise",
            key=parent.key,
        )
    return made


def _stored_as(
    data: bytes,
    kind: str,
    pixels: NDArray[Any],
    changed: NDArray[np.uint8],
) -> tuple[dict[str, int], str]:
    """Return what the file changed where no edit was, and the hash of its pixels."""
    if kind != "jpg":
        return {"differing": 0, "most": 0}, pixels_sha256(pixels)
    found, _ = decode_image(data, limits=ImageLimits(), color="keep", depth="keep")
    away = abs(found.astype(np.int16) - pixels.astype(np.int16)).max(axis=2)
    away = away[changed == 0]
    told = {
        "differing": int(np.count_nonzero(away)), "most": int(away.max(initial=0)),
    }  # fmt: skip
    return told, pixels_sha256(found)


def _new_label(editor: Editor) -> str | int | None:
    if editor.to is None:
        return None
    return editor.names[editor.to] if editor.names else editor.to


def _filled(
    done: PhotoEdit, objects: Objects, editor: Editor
) -> NDArray[np.bool_] | None:
    """Return where components of the mask became objects of another class."""
    if editor.to is None or editor.options.region != "mask" or objects.mask is None:
        return None
    filled = np.zeros(objects.mask.shape, np.bool_)
    for one in done.edits:
        x0, y0, x1, y1 = one.region.box
        filled[y0:y1, x0:x1] |= (
            component_at(objects.mask, one.region.label, one.region.box, one.region.at)
            != 0
        )
    return filled


def _notes(members: Mapping[str, bytes]) -> dict[str, Any]:
    notes = parse_json(members["json"]) if "json" in members else {}
    if not isinstance(notes, Mapping):
        raise SampleBroken(
            "its JSON is no object that could hold where it comes from", stage="edit"
        )
    return dict(notes)


def _parents(
    parent: Parent, image: bytes, notes: Mapping[str, Any]
) -> tuple[Parent, ...]:
    """Return the parent, and those of which it was made itself."""
    own = Parent(
        key=parent.key, shard=parent.shard, sha256=sha256(image).hexdigest(),
        split=parent.split,
    )  # fmt: skip
    said = notes.get(FIELD)
    if said is None:
        return (own,)
    try:
        older = Provenance.from_dict(said).parents
    except (UsageError, DataRefused) as error:
        raise SampleBroken(
            f"what it says of where it comes from is not sound: {error}", stage="edit"
        ) from error
    return (own, *older)[:_MOST_PARENTS]
