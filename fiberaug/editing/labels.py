"""Which labels an edited photo keeps: decided by what was repainted, and how.

What nothing was painted over is inherited, exactly. What was painted over is judged by
this table (``labels="auto"``; an object is *edited* when a window was made for it, or
when more than a tenth of its box was repainted all the same; *asked* when the editor
was told its class):

==========================  ==========  ==========  =========  =========
what was repainted          box, class  mask        keypoints  caption
==========================  ==========  ==========  =========  =========
nothing of it               inherited   inherited   inherited  inherited
strength <= 0.3             inherited   inherited   inherited  inherited
strength <= 0.5             inherited   ignored     dropped    inherited
above, outlines steer       unchecked   inherited   inherited  unchecked
above, asked, within mask   asked       inherited   dropped    unchecked
above, asked, else          asked       ignored     dropped    unchecked
above, nothing asked        dropped     ignored     dropped    dropped
background, above 0.5       inherited   inherited   inherited  unchecked
==========================  ==========  ==========  =========  =========

*unchecked*: it stays, and a person or a classifier should look; so does an object of
which another's window repainted between a tenth and a half. *ignored*: pixels get
the class id ``ignore``. The label of a whole photo stays: inherited, or unchecked where
an object was repainted above 0.5. An object whose polygons or keypoints would be
dropped is dropped whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fiberaug.editing.options import EditOptions
from fiberaug.editing.painting import Painted

__all__ = [
    "COVERED", "LABEL_STRENGTH", "MASK_STRENGTH", "TOUCHED", "Fates", "judge",
]  # fmt: skip

LABEL_STRENGTH = 0.5
"""Up to which an object that is repainted stays what it was."""

MASK_STRENGTH = 0.3
"""Up to which its outline stays where it was."""

TOUCHED = 0.1
"""Part of a box that another's window may repaint before its object counts as
edited."""

COVERED = 0.5
"""Part of a box up to which such an object may still be there."""

_ORDER = ("inherited", "asked", "unchecked", "ignored", "dropped")


@dataclass(frozen=True, kw_only=True)
class Fates:
    """What becomes of the labels of one photo."""

    objects: dict[int, str] = field(default_factory=dict)
    """Of each edited box, by its number: ``inherited``, ``asked``, ``unchecked`` or
    ``dropped``; boxes that are not here are inherited."""

    mask: str = "inherited"
    """``inherited``, or ``ignored`` where it was repainted."""

    points: str = "inherited"
    """Keypoints where it was repainted: ``inherited`` or ``dropped``."""

    caption: str = "inherited"
    """``inherited``, ``unchecked`` or ``dropped``."""

    label: str = "inherited"
    """Of the whole photo: ``inherited`` or ``unchecked``."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as a record has it."""
        counts: dict[str, int] = {}
        for fate in self.objects.values():
            counts[fate] = counts.get(fate, 0) + 1
        told = {"mask": self.mask, "keypoints": self.points, "caption": self.caption}
        return told | {"label": self.label, "edited": dict(sorted(counts.items()))}

    @property
    def origin(self) -> str:
        """How the sample got its labels, in the word of a provenance."""
        fates = set(self.objects.values()) - {"dropped"}
        return "conditioned" if fates == {"asked"} else "inherited"


def judge(
    options: EditOptions,
    edits: Sequence[Painted],
    touched: Sequence[float],
    *,
    asked: bool,
) -> Fates:
    """Return what becomes of the labels of a photo.

    Args:
        options: How it was edited.
        edits: What was.
        touched: Part of each box that was repainted, see :meth:`Objects.touched`.
        asked: Whether the editor was told the class.
    """
    if not edits:
        return Fates()
    targets = {
        one.region.number: one.strength for one in edits if one.region.number >= 0
    }
    strongest = max(one.strength for one in edits)
    background = options.repainted == "background"
    found: dict[int, str] = {}
    for i, share in enumerate(touched):
        told = asked and i in targets and options.repainted == "object"
        if share > TOUCHED or (share > 0 and i in targets):
            fate = _object(options, targets.get(i, strongest), told=told)
            beside = i not in targets and options.repainted == "object"
            if fate == "dropped" and beside and share <= COVERED:
                fate = "unchecked" if options.labels == "auto" else fate
            found[i] = fate
    if background:
        caption = "unchecked" if strongest > LABEL_STRENGTH else "inherited"
        return Fates(objects=found, caption=_kept(options, caption))
    within = asked and options.region == "mask" and options.repainted == "object"
    outline = _outline(options, strongest, within=within)
    points = _outline(options, strongest, within=False)
    strong = strongest > LABEL_STRENGTH
    told = asked and options.repainted == "object"
    caption = "inherited"
    if strong:
        caption = "unchecked" if told or options.steered else "dropped"
    if options.labels == "drop-edited":
        caption = "dropped"
    return Fates(
        objects=found, mask=outline, caption=_kept(options, caption),
        points="dropped" if points == "ignored" else points,
        label=_kept(options, "unchecked" if strong else "inherited"),
    )  # fmt: skip


def _object(options: EditOptions, strength: float, *, told: bool) -> str:
    if options.labels == "keep":
        return "asked" if told and options.to is not None else "inherited"
    if options.labels == "drop-edited":
        return "dropped"
    if strength <= LABEL_STRENGTH and options.to is None:
        return "inherited"
    if told:
        return "asked"
    return "unchecked" if options.steered else "dropped"


def _outline(options: EditOptions, strength: float, *, within: bool) -> str:
    if options.labels == "keep":
        return "inherited"
    if options.labels == "drop-edited":
        return "ignored"
    holds = strength <= MASK_STRENGTH or options.steered or within
    return "inherited" if holds else "ignored"


def _kept(options: EditOptions, fate: str) -> str:
    return "inherited" if options.labels == "keep" else fate
