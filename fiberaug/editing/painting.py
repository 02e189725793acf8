"""One window of a photo, cut, handed to the editor, and laid back."""

from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.editing.blending import as_rgb, grown, lay_in
from fiberaug.editing.editor import Editor
from fiberaug.editing.objects import Objects, component_at
from fiberaug.editing.regions import Region
from fiberaug.tiling import Window

__all__ = ["Painted", "paint", "shape_of"]

_LEAST_SPREAD = 1.0  # levels: what a patch without contrast is divided by
_SAFE = np.uint8(255)


class Painted(NamedTuple):
    """One edit that was made."""

    region: Region
    seed: int
    strength: float
    """How much was replaced, 0 to 1."""

    notes: dict[str, Any]
    """What the editor says of it."""

    told: dict[str, Any]
    """What stands on record."""


class _Asked(NamedTuple):
    """What an editor is asked for."""

    region: Region
    shape: NDArray[np.uint8]
    """What may change, [h, w] of the window."""

    seed: int
    label: int
    told: dict[str, Any]
    """Conditions but the pixels."""


class _Edit(NamedTuple):
    """What an editor painted, and where it belongs."""

    image: NDArray[np.uint8]
    """[h, w, 3], in the editor's resolution."""

    place: Window
    """What of the photo it covers."""

    notes: dict[str, Any]
    scale: tuple[float, float]
    """Px of ``image`` for a px of the photo, along x and y."""


def shape_of(region: Region, objects: Objects, editor: Editor) -> NDArray[np.uint8]:
    """Return which pixels of a region's window may change: 0 or 1, [h, w].

    Args:
        region: Where.
        objects: What is annotated in the photo.
        editor: Its options say what is repainted.
    """
    options = editor.options
    window = region.window
    wide, high = window.x_max - window.x_min, window.y_max - window.y_min
    core = np.zeros((high, wide), np.uint8)
    x0, y0, x1, y1 = region.box
    part = (
        slice(y0 - window.y_min, y1 - window.y_min),
        slice(x0 - window.x_min, x1 - window.x_min),
    )
    whole = region.kind != "grid" and options.repainted != "object"
    core[part] = 1
    if whole:
        core[:] = 1
    elif options.repainted == "object" and region.kind == "mask":
        mask = objects.mask
        assert mask is not None  # noqa: S101  # for the type: the region is one of it
        core[part] = component_at(mask, region.label, region.box, region.at)
    elif options.repainted == "object" and region.kind == "grid":
        core &= objects.inside(window)
    shape = core if whole else grown(core, options.feather)
    if options.repainted == "background":
        shape[objects.inside(window) != 0] = 0
    return shape


def paint(
    pixels: NDArray[Any],
    changed: NDArray[np.uint8],
    region: Region,
    objects: Objects,
    editor: Editor,
    *,
    seed: int,
    caption: str | None,
) -> Painted | None:
    """Edit one region of a photo in place; None where nothing of it may change.

    Args:
        pixels: The photo [H, W, C], uint8 or uint16.
        changed: How much of each pixel was replaced so far, [H, W].
        region: Where.
        objects: What is annotated in the photo.
        editor: Changes it.
        seed: Of the edit.
        caption: Of the photo.

    Raises:
        UsageError: The editor returned something else than it must.
    """
    options = editor.options
    shape = shape_of(region, objects, editor)
    if not shape.any():
        return None
    label = region.label if editor.to is None else editor.to
    asked = _Asked(region, shape, seed, label, editor.told(label, caption))
    way = _pasted if options.mode == "paste" else _changed
    edit = way(pixels, asked, editor)
    seam = lay_in(
        pixels, changed, region.window, shape, _rows_of(edit, region.window),
        options.feather,
    )  # fmt: skip
    record: dict[str, Any] = {
        "window": list(region.window), "box": list(region.box), "seed": seed,
        "scale": [round(one, 6) for one in edit.scale], "px": int(shape.sum()),
        "seam": seam.to_dict(),
    }  # fmt: skip
    if region.label >= 0:
        record["label"] = region.label
    if region.number >= 0:
        record["object"] = region.number
    strength = editor.strength_of(edit.notes)
    return Painted(region, seed, strength, edit.notes, record)


def _changed(pixels: NDArray[Any], asked: _Asked, editor: Editor) -> _Edit:
    region, shape = asked.region, asked.shape
    x0, y0, x1, y1 = region.window
    high, wide = y1 - y0, x1 - x0
    side, most = max(high, wide, editor.options.sides[0]), editor.options.sides[1]
    if editor.native is not None:
        tall, broad = editor.native
        pads = 0, 0
    else:
        scale = min(1.0, most / side)
        tall, broad = max(1, round(high * scale)), max(1, round(wide * scale))
        whole = _up(round(side * scale), editor.multiple)
        pads = whole - tall, whole - broad
    image = _resized(as_rgb(pixels[y0:y1, x0:x1]), broad, tall)
    mask = _resized(shape * _SAFE, broad, tall)
    mask = np.where(mask > 0, _SAFE, np.uint8(0)).astype(np.uint8)
    if any(pads):
        image = np.pad(image, ((0, pads[0]), (0, pads[1]), (0, 0)), mode="symmetric")
        mask = np.pad(mask, ((0, pads[0]), (0, pads[1])))
    made, notes = editor.change(
        asked.seed, asked.label, np.array(image, order="C"), mask, asked.told
    )
    # What lies on the padding is no part of the photo.
    made = made[:tall, :broad]
    return _Edit(made, region.window, notes, (broad / wide, tall / high))


def _pasted(pixels: NDArray[Any], asked: _Asked, editor: Editor) -> _Edit:
    region, shape = asked.region, asked.shape
    left, top, wide, high = cv2.boundingRect(shape)
    x0, y0 = region.window.x_min + left, region.window.y_min + top
    place = Window(x0, y0, x0 + wide, y0 + high)
    patch, notes = editor.make(asked.seed, asked.label, asked.told)
    broad, tall = min(wide, patch.shape[1]), min(high, patch.shape[0])
    patch = _resized(patch, broad, tall)
    if editor.options.match:
        under = _resized(as_rgb(pixels[y0 : y0 + high, x0 : x0 + wide]), broad, tall)
        patch = _matched(patch, under)
    return _Edit(patch, place, notes, (broad / wide, tall / high))


def _matched(patch: NDArray[np.uint8], under: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a patch with mean and standard deviation of what it covers, by channel.

    Source: E. Reinhard et al., "Color Transfer between Images", 2001, here in RGB.
    """
    here, there = patch.astype(np.float64), under.astype(np.float64)
    spread = np.maximum(here.std(axis=(0, 1)), _LEAST_SPREAD)
    gain = there.std(axis=(0, 1)) / spread
    moved = (here - here.mean(axis=(0, 1))) * gain + there.mean(axis=(0, 1))
    levels: NDArray[np.float64] = np.clip(np.floor(moved + 0.5), 0, 255)
    return levels.astype(np.uint8)


def _rows_of(edit: _Edit, window: Window) -> Callable[[slice], NDArray[np.uint8]]:
    """Return what gives rows of a window of an edit, uint8 [h, w, 3]."""
    image, place = edit.image, edit.place
    wide, high = place.x_max - place.x_min, place.y_max - place.y_min
    left, top = place.x_min - window.x_min, place.y_min - window.y_min
    across = window.x_max - window.x_min
    exact = image.shape[:2] == (high, wide)

    def rows(wanted: slice) -> NDArray[np.uint8]:
        if exact and place == window:
            return image[wanted]
        fx, fy = edit.scale
        # Centres of pixels lie at halves: a px of the window -> one of the edit.
        move = np.array([
            [fx, 0, (0.5 - left) * fx - 0.5],
            [0, fy, (wanted.start - top + 0.5) * fy - 0.5],
        ])  # fmt: skip
        way = cv2.INTER_NEAREST if exact else cv2.INTER_LINEAR
        found = cv2.warpAffine(
            image, move, (across, wanted.stop - wanted.start),
            flags=way | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        return np.asarray(found, np.uint8)

    return rows


def _resized(pixels: NDArray[np.uint8], wide: int, high: int) -> NDArray[np.uint8]:
    """Return pixels of another size: averaged where smaller, else interpolated."""
    if pixels.shape[:2] == (high, wide):
        return pixels
    smaller = high <= pixels.shape[0] and wide <= pixels.shape[1]
    way = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (wide, high), interpolation=way), np.uint8)


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
