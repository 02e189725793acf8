"""Where an edited photo comes from, as its JSON member states it."""

from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from typing import Any

from fiberaug.editing.editor import Editor
from fiberaug.editing.labels import Fates
from fiberaug.editing.painting import Painted
from fiberaug.editing.photo import PhotoEdit
from fiberaug.errors import UsageError
from fiberaug.marking import COMPOSITE
from fiberaug.params import encode
from fiberaug.synthetic.provenance import (
    Checks,
    Generated,
    Parameters,
    Parent,
    Provenance,
)

__all__ = ["state"]

_PARAMETERS = frozenset(Parameters.__dataclass_fields__) - {
    "seed", "index", "others", "more",
}  # fmt: skip


def state(
    editor: Editor,
    done: PhotoEdit,
    *,
    parents: tuple[Parent, ...],
    key: str,
    copy: int,
    pixels: str,
    data: bytes,
    fates: Fates,
    outside: Mapping[str, int],
    label: float | None,
) -> Provenance:
    """Return the provenance of an edited photo.

    Its ``params.others`` has ``options`` (all that was asked for), ``region``,
    ``what``, ``feather``, ``windows``, for each window ``edits`` (where, its seed, how
    much it was scaled, the seam, and parameters that are not those of the first), what
    became of ``labels``, and in how many pixels ``outside`` of the edits the file
    differs from the parent.

    Args:
        editor: It edited.
        done: What it did.
        parents: The photo first.
        key: Of the edited sample.
        copy: Number of this version, from 0.
        pixels: Hash of what the file decodes to.
        data: The file.
        fates: What became of the labels.
        outside: See above.
        label: Of the whole photo.

    Raises:
        UsageError: What the editor says is not what a provenance holds.
    """
    options = editor.options
    first = done.edits[0]
    known = _params(first)
    others = {
        "options": options.to_dict(), "copy": copy, "region": options.region,
        "what": options.repainted, "feather": options.feather,
        "windows": [list(one.region.window) for one in done.edits],
        "edits": [_told(one, known) for one in done.edits],
        "labels": fates.to_dict(), "outside": dict(outside),
    } | known.pop("others", {})  # fmt: skip
    if options.steered:
        known.setdefault("control", "given by the window")
    checked = {str(one.notes.get("safety", "not_run")) for one in done.edits}
    try:
        return Provenance(
            digital_source_type=COMPOSITE, id=key, pixels_sha256=pixels,
            generator=_generated(editor.described),
            params=Parameters(seed=options.seed, index=copy, others=others, **known),
            bytes_sha256=sha256(data).hexdigest(), label=label,
            label_name=_name(editor, label), label_origin=fates.origin,
            parents=parents, checks=Checks(safety=_safety(checked), accepted=True),
            versions=_versions(),
        )  # fmt: skip
    except (UsageError, TypeError) as error:
        reason = error.message if isinstance(error, UsageError) else str(error)
        raise UsageError(
            f"what the editor says of an edit is no provenance: {reason}", key=key
        ) from error


def _params(edit: Painted) -> dict[str, Any]:
    """Return what the editor says that it was told, and the rest as ``others``."""
    told = dict(encode(dict(edit.notes.get("params") or {})))
    known = {name: told.pop(name) for name in _PARAMETERS & told.keys()}
    told.pop("seed", None)
    return known | ({"others": {"editor": told}} if told else {})


def _told(edit: Painted, first: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stands on record of a window."""
    own = {k: v for k, v in _params(edit).items() if first.get(k) != v}
    return edit.told | ({"params": own} if own else {})


def _generated(described: Mapping[str, Any]) -> Generated:
    trained = described.get("trained_on")
    if isinstance(trained, Mapping):
        trained = trained.get("fingerprint")
    return Generated(
        kind=described["kind"], class_name=described["class"],
        sha256=described.get("sha256"), name=described.get("name"),
        licence=described.get("licence"), trained_on=trained,
        lora=tuple(described.get("lora") or ()),
    )  # fmt: skip


def _name(editor: Editor, label: float | None) -> str | None:
    number = int(label) if label is not None and float(label).is_integer() else -1
    return editor.names[number] if 0 <= number < len(editor.names) else None


def _safety(checked: set[str]) -> str:
    return checked.pop() if len(checked) == 1 else "not_run"


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    return {"fiberaug": version("fiberaug")}
