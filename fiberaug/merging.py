"""Predictions of tiles to predictions of whole photos."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.joining import Seen, join_boxes
from fiberaug.record import Record
from fiberaug.tiling import Tile, Window

__all__ = ["Merged", "merge_tiles"]

_BOXES = ("bboxes", "boxes")
_LABELS = ("bbox_labels", "labels")


class Merged(NamedTuple):
    """What was predicted for one photo."""

    key: str
    """Of the photo in its shard."""

    url: str
    """File name of the shard."""

    bboxes: NDArray[np.float32]
    """(x_min, y_min, x_max, y_max), [N, 4], px of the upright photo."""

    labels: NDArray[np.int64]
    """Class ids, [N]; -1 where none were given."""

    scores: NDArray[np.float32]
    """[N]; 1 where none were given."""

    map: NDArray[Any] | None
    """[..., H, W], as the maps of the tiles were; None where there were none."""

    covered: float
    """Part of the photo that the tiles show, in [0, 1]."""


class _Part(NamedTuple):
    tile: Tile
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    map: NDArray[Any] | None


def merge_tiles(
    predictions: Iterable[Mapping[str, Any] | Any],
    records: Iterable[Record | Mapping[str, Any] | str],
    *,
    iou: float = 0.5,
    nms: float | None = None,
    size: tuple[int, int] | None = None,
) -> list[Merged]:
    """Return the predictions of each photo from those of its tiles.

    Boxes of one class in different tiles are one object where they agree, by ``iou``,
    in the part of the photo that both tiles show; each box has at most one partner in
    another tile. An object that borders cut is put together again, also one that is
    larger than a tile; of its sides each comes from a tile that does not cut it there,
    of several from the one that cuts it least, then from the one with the best score.
    What a border cuts and what lies in another box of its class is taken for a part of
    it. Of the truth itself, cut as tiles are with ``visibility=0``, it makes the truth,
    as long as objects of one class that are larger than ``overlap`` lie apart.

    Maps are put at their place. In overlaps numbers with a fraction are averaged; of
    class ids the one counts that lies farthest from where its tile was cut.

    Args:
        predictions: One for each tile: a mapping with ``bboxes`` or ``boxes`` [N, 4]
            (x_min, y_min, x_max, y_max; px of the tile), and where there are any
            ``bbox_labels`` or ``labels`` [N], ``scores`` [N] and ``map`` [..., h, w];
            or a map alone. Arrays or tensors.
        records: The record of each tile, as batches hold them. Tiles of several photos
            may come in any order.
        iou: Least intersection over union by which boxes agree, in (0, 1].
        nms: Intersection over union from which, of boxes of one class in one tile, only
            the one with the best score stays. None: all stay.
        size: (height, width) of the tiles that the model saw, px, where they were
            resized. None: boxes are in px of the tiles as they were cut.

    Returns:
        A photo each, in the order in which they first come.

    Raises:
        UsageError: A record is of no tile, numbers do not fit each other, or boxes lie
            outside of their tile.
    """
    if not 0 < iou <= 1 or (nms is not None and not 0 < nms <= 1):
        raise UsageError(f"iou and nms must be in (0, 1], got {iou!r} and {nms!r}")
    photos: dict[tuple[str, str], list[_Part]] = {}
    try:
        pairs = list(zip(predictions, records, strict=True))
    except ValueError:
        raise UsageError(
            "there must be one record for each prediction, got more of one than of the"
            " other"
        ) from None
    for prediction, given in pairs:
        key, url, tile = _tile_of(given)
        part = _part(prediction, tile, size, key)
        photos.setdefault((url, key), []).append(part)
    return [
        _merged(key, url, parts, iou=iou, nms=nms)
        for (url, key), parts in photos.items()
    ]


def _tile_of(given: Record | Mapping[str, Any] | str) -> tuple[str, str, Tile]:
    try:
        if isinstance(given, Record):
            key, url, decode = given.key, given.url, given.decode
        else:
            values = json.loads(given) if isinstance(given, str) else given
            key, url, decode = values["key"], values["url"], values["decode"]
        tile = decode["tile"]
        height, width = tile["photo"]
        window = Window(*tile["window"])
        return key, url, Tile(tile["number"], window, width, height)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            "a record must be of a tile, of StreamingDataset(tile=(height, width)):"
            f" {given!r:.120} has no decode.tile ({error})"
        ) from None


def _part(
    prediction: Any,  # noqa: ANN401  # a mapping or a map
    tile: Tile,
    size: tuple[int, int] | None,
    key: str,
) -> _Part:
    if not isinstance(prediction, Mapping):
        prediction = {"map": prediction}
    known = {*_BOXES, *_LABELS, "scores", "map"}
    if not prediction.keys() & known:
        raise UsageError(
            f"a prediction has none of {sorted(known)}: {list(prediction)!r:.200}"
        )
    height, width = _sides(tile.window)
    boxes = _numbers(_first(prediction, _BOXES, ()), np.float32, 4)
    count = len(boxes)
    labels = _numbers(_first(prediction, _LABELS, [-1] * count), np.int64, 0)
    scores = _numbers(prediction.get("scores", [1.0] * count), np.float32, 0)
    if not count == len(labels) == len(scores):
        raise UsageError(
            f"tile {tile.number} of {key!r} has {count} boxes, {len(labels)} labels and"
            f" {len(scores)} scores"
        )
    if size is not None:
        scale = [width / size[1], height / size[0]] * 2
        boxes = boxes * np.asarray(scale, np.float32)
    most = np.asarray([width, height] * 2, np.float32)
    # A model may reach over the border a little; boxes of another size reach far.
    if count and ((boxes < -0.1 * most) | (boxes > 1.1 * most)).any():
        raise UsageError(
            f"boxes of tile {tile.number} of {key!r} reach to {boxes.max():.0f} px, the"
            f" tile is {width}x{height} px: where it was resized give size=(height,"
            " width) of what the model saw"
        )
    x, y = tile.window[:2]
    boxes = np.clip(boxes, 0, most) + np.asarray([x, y] * 2, np.float32)
    found = prediction.get("map")
    if found is not None:
        found = _array(found)
        if found.shape[-2:] != (height, width):
            raise UsageError(
                f"the map of tile {tile.number} of {key!r} is {list(found.shape)}, the"
                f" tile [{height}, {width}]: resize the map to it"
            )
    return _Part(tile, boxes, labels, scores, found)


def _sides(window: Window) -> tuple[int, int]:
    return window.y_max - window.y_min, window.x_max - window.x_min


def _first(values: Mapping[str, Any], names: Sequence[str], default: Any) -> Any:  # noqa: ANN401
    return next((values[name] for name in names if name in values), default)


def _array(value: Any) -> NDArray[Any]:  # noqa: ANN401  # array, list or tensor
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise UsageError(f"predictions must be numbers, got {array.dtype}")
    return array


def _numbers(value: Any, kind: type[Any], width: int) -> NDArray[Any]:  # noqa: ANN401
    array = _array(value if len(value) else np.zeros((0, width) if width else 0))
    if array.ndim != (2 if width else 1) or (width and array.shape[1] != width):
        shape = f"[N, {width}]" if width else "[N]"
        raise UsageError(f"predictions must be {shape}, got {list(array.shape)}")
    return array.astype(kind)


def _merged(
    key: str, url: str, parts: Sequence[_Part], *, iou: float, nms: float | None
) -> Merged:
    sizes = {(part.tile.width, part.tile.height) for part in parts}
    if len(sizes) > 1:
        raise UsageError(f"{key!r} of {url} has the sizes {sorted(sizes)}: two photos")
    seen = [
        Seen(part.tile.window, part.boxes, part.labels, part.scores) for part in parts
    ]
    width, height = sizes.pop()
    boxes, labels, scores = join_boxes(seen, (width, height), iou=iou, nms=nms)
    shown = np.zeros((height, width), bool)
    for part in parts:
        shown[_slices(part.tile.window)] = True
    maps = [part for part in parts if part.map is not None]
    merged = None
    if maps:
        if len(maps) < len(parts):
            raise UsageError(
                f"{len(maps)} of {len(parts)} tiles of {key!r} have a map: all or none"
            )
        merged = _map(maps, width, height, key)
    return Merged(key, url, boxes, labels, scores, merged, float(shown.mean()))


def _slices(window: Window) -> tuple[slice, slice]:
    return slice(window.y_min, window.y_max), slice(window.x_min, window.x_max)


def _map(parts: Sequence[_Part], width: int, height: int, key: str) -> NDArray[Any]:
    maps = [part.map for part in parts if part.map is not None]
    kinds = {(one.shape[:-2], one.dtype.kind) for one in maps}
    if len(kinds) > 1:
        raise UsageError(f"the maps of {key!r} have several forms: {sorted(kinds)}")
    leading, kind = kinds.pop()
    if kind == "f":
        total = np.zeros((*leading, height, width), np.float64)
        times = np.zeros((height, width), np.int64)
        for part, one in zip(parts, maps, strict=True):
            where = _slices(part.tile.window)
            total[(..., *where)] += one
            times[where] += 1
        return (total / np.maximum(times, 1)).astype(maps[0].dtype)
    merged = np.zeros((*leading, height, width), maps[0].dtype)
    best = np.full((height, width), -1, np.int64)
    for part, one in zip(parts, maps, strict=True):
        where = _slices(part.tile.window)
        depth = _depth(part.tile)
        deeper = depth > best[where]
        best[where] = np.where(deeper, depth, best[where])
        merged[(..., *where)] = np.where(deeper, one, merged[(..., *where)])
    return merged


def _depth(tile: Tile) -> NDArray[np.int64]:
    """Return how far each pixel of a tile is from where the tile was cut, px."""
    window, far = tile.window, tile.width + tile.height
    height, width = _sides(window)
    left = np.arange(width) if window.x_min else np.full(width, far)
    right = np.arange(width)[::-1] if window.x_max < tile.width else left * 0 + far
    top = np.arange(height) if window.y_min else np.full(height, far)
    low = np.arange(height)[::-1] if window.y_max < tile.height else top * 0 + far
    across, down = np.minimum(left, right), np.minimum(top, low)
    depth: NDArray[np.int64] = np.minimum(across[None, :], down[:, None])
    return depth
