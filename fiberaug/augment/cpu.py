"""The user's Albumentations pipeline, reseeded per sample and logged leaf by leaf."""

import copy
import json
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import albumentations as A
import numpy as np
from numpy.typing import NDArray

from fiberaug.augment.normalize import NormalizeTable
from fiberaug.errors import UsageError
from fiberaug.params import pack
from fiberaug.seeding import KeyedGenerators

__all__ = [
    "TARGETS",
    "Augmented",
    "CpuEngine",
    "as_compose",
    "pipeline_hash",
    "pipeline_spec",
]

TARGETS = ("image", "mask", "masks", "bboxes", "keypoints")
"""Fields that a pipeline changes; labels of boxes travel with them."""

Operation = tuple[int, dict[str, Any]]
_UINT8 = np.dtype(np.uint8)


class Augmented(NamedTuple):
    """What came out of the pipeline."""

    fields: dict[str, Any]
    """The changed fields: arrays, image [H, W, C]."""

    operations: list[Operation]
    """(number of the leaf, packed parameters) in the order of execution."""


def as_compose(transform: object) -> A.Compose:
    """Return a Compose around what the user gave.

    Raises:
        UsageError: It is no Albumentations transform.
    """
    if isinstance(transform, A.Compose):
        return transform
    if isinstance(transform, A.BasicTransform | A.BaseCompose):
        return A.Compose([transform])
    if isinstance(transform, list | tuple) and all(
        isinstance(t, A.BasicTransform | A.BaseCompose) for t in transform
    ):
        return A.Compose(list(transform))
    raise UsageError(
        "transform must be an Albumentations transform, a Recipe or a recipe file, got"
        f" {type(transform).__name__}"
    )


def pipeline_spec(compose: A.Compose) -> dict[str, Any] | None:
    """Return the pipeline's serialised form, or None where it has none."""
    try:
        spec = A.to_dict(compose)
        spec.pop("__version__", None)
        return json.loads(json.dumps(spec))  # type: ignore[no-any-return]
    except (NotImplementedError, TypeError, ValueError, AttributeError):
        return None


def pipeline_hash(compose: A.Compose | None, extra: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that name a pipeline and what else pixels depend on.

    Args:
        compose: The pipeline. One that does not serialise is named by its repr.
        extra: Decoder and the like.
    """
    spec: Any = None
    if compose is not None:
        spec = pipeline_spec(compose) or _description(compose)
    text = json.dumps({"cpu": _canonical(spec), **extra}, sort_keys=True).encode()
    return blake2b(text, digest_size=8).hexdigest()


def _canonical(value: Any) -> Any:  # noqa: ANN401  # JSON
    """Return JSON values with 2.0 as 2: a rebuilt pipeline mixes the two up."""
    if isinstance(value, dict):
        return {name: _canonical(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _description(compose: A.Compose) -> list[list[str]]:
    """Return what can be said of a pipeline that does not serialise."""
    found = []
    for path, leaf in _leaves(compose, ()):
        values = (
            f"{name}={getattr(value, '__qualname__', value)}"
            for name, value in sorted(vars(leaf).items())
            if isinstance(value, int | float | str | tuple | types.FunctionType)
        )
        found.append([path, type(leaf).__name__, *values])
    return found


def _leaves(transform: Any, path: tuple[int, ...]) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    if isinstance(transform, A.BaseCompose):
        for i, child in enumerate(transform.transforms):
            yield from _leaves(child, (*path, i))
    else:
        yield ".".join(map(str, path)), transform


def _separate(transform: Any, seen: set[int]) -> None:  # noqa: ANN401
    """Give a transform that stands in several places an instance for each."""
    children = list(transform.transforms)
    for i, child in enumerate(children):
        if id(child) in seen:
            children[i] = copy.deepcopy(child)
        seen.add(id(children[i]))
        if isinstance(children[i], A.BaseCompose):
            _separate(children[i], seen)
    transform.transforms = children


class CpuEngine:
    """Runs a pipeline on single samples.

    The pipeline is copied: the user's object is neither changed nor reseeded. A
    trailing ``ToTensorV2`` is dropped and a trailing standard ``Normalize`` taken out,
    both are done once for a whole batch; see :attr:`normalize`.

    Args:
        compose: The pipeline.
        fields: Names of the fields that samples have.

    Raises:
        UsageError: The pipeline expects boxes in another format or labels under a name
            that the samples do not have.
    """

    def __init__(self, compose: A.Compose, fields: Sequence[str]) -> None:
        compose = copy.deepcopy(compose)
        _separate(compose, set())
        self.normalize, rest = _split_tail(compose)
        self._fields = [name for name in fields if name in _targets(compose)]
        self._only_image = self._fields == ["image"]
        self._points = {"bboxes", "keypoints"} & set(self._fields)
        self._aliases = _label_names(compose, fields)
        self._compose = _with_processors(compose, rest, fields)
        self._generators = KeyedGenerators()
        self._compose.set_random_state(self._generators.numpy, self._generators.python)
        self._operations: list[Operation] = []
        self.leaves: list[tuple[str, str]] = []
        for path, leaf in _leaves(self._compose, ()):
            self._hook(leaf, len(self.leaves))
            self.leaves.append((path, type(leaf).__name__))

    def _hook(self, leaf: Any, number: int) -> None:  # noqa: ANN401
        original: Callable[..., Any] = leaf.apply_with_params
        log = self._operations.append

        def logged(params: dict[str, Any], **data: Any) -> Any:  # noqa: ANN401
            log((number, pack(params)))
            return original(params, **data)

        leaf.apply_with_params = logged

    def __call__(self, fields: Mapping[str, Any], key: bytes) -> Augmented:
        """Return a sample's fields, augmented.

        Args:
            fields: Decoded fields, image uint8 [H, W, C].
            key: The sample's key, from which everything is drawn.
        """
        self._operations.clear()
        self._generators.jump(key)
        if self._only_image:
            out = self._compose(image=fields["image"])
            changed = {"image": out["image"]}
        else:
            changed = self._with_targets(fields)
        image = changed["image"]
        if type(image) is not np.ndarray or image.ndim == 2:
            image = changed["image"] = _as_array(image)
        if self.normalize is not None and image.dtype != _UINT8:
            changed["image"] = self.normalize.apply(image)
        return Augmented(changed, self._operations.copy())

    def _with_targets(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        data = {name: fields[name] for name in self._fields if fields[name] is not None}
        names = list(data)
        for field, alias in self._aliases.items():
            data[alias] = fields[field]
        out = self._compose(**data)
        changed = {name: out[name] for name in names}
        for field, alias in self._aliases.items():
            changed[field] = np.asarray(out[alias], np.int64)
        for name in self._points & changed.keys():
            changed[name] = _as_points(out[name], 4 if name == "bboxes" else 2)
        return changed


def _targets(compose: A.Compose) -> set[str]:
    return {*TARGETS, *compose.additional_targets}


def _as_array(image: Any) -> NDArray[Any]:  # noqa: ANN401  # array, or tensor of ToTensorV2
    if not isinstance(image, np.ndarray):
        image = image.permute(1, 2, 0).numpy()
    pixels: NDArray[Any] = image[:, :, None] if image.ndim == 2 else image
    return pixels


def _as_points(values: Any, width: int) -> NDArray[np.float32]:  # noqa: ANN401
    points = np.asarray(values, np.float32)
    return (
        points.reshape(len(points), -1)[:, :width]
        if points.size
        else points.reshape(0, width)
    )


def _split_tail(compose: A.Compose) -> tuple[NormalizeTable | None, list[Any]]:
    rest = list(compose.transforms)
    if compose.p < 1:
        return None, rest
    if rest and type(rest[-1]).__name__ == "ToTensorV2" and rest[-1].p >= 1:
        rest.pop()
    last: Any = rest[-1] if rest else None
    if type(last) is A.Normalize and last.normalization == "standard" and last.p >= 1:
        return NormalizeTable(rest.pop()), rest
    return None, rest


def _label_names(compose: A.Compose, fields: Sequence[str]) -> dict[str, str]:
    """Return {field: name in the pipeline} of the labels that follow boxes."""
    if "bboxes" not in fields:
        return {}
    processor = compose.processors.get("bboxes")
    if processor is None:
        return {"bbox_labels": "bbox_labels"} if "bbox_labels" in fields else {}
    params = processor.params
    if params.format != "pascal_voc":
        raise UsageError(
            "bbox_params.format must be 'pascal_voc': samples hold pixel boxes (x_min,"
            f" y_min, x_max, y_max), got {params.format!r}"
        )
    wanted = list(params.label_fields or ())
    names = {name: name for name in wanted if name in fields}
    unknown = [name for name in wanted if name not in fields]
    if len(unknown) == 1 and "bbox_labels" in fields and "bbox_labels" not in names:
        names["bbox_labels"] = unknown.pop()
    if unknown:
        raise UsageError(
            f"bbox_params.label_fields {unknown} are no fields of the samples:"
            f" {sorted(fields)}"
        )
    return names


def _with_processors(
    compose: A.Compose, rest: list[Any], fields: Sequence[str]
) -> A.Compose:
    """Return the pipeline over ``rest``, with processors for boxes and keypoints."""
    boxes = compose.processors.get("bboxes")
    points = compose.processors.get("keypoints")
    bbox_params = boxes.params if boxes is not None and "bboxes" in fields else None
    keypoint_params = (
        points.params if points is not None and "keypoints" in fields else None
    )
    if bbox_params is None and "bboxes" in fields:
        labels = ["bbox_labels"] if "bbox_labels" in fields else None
        bbox_params = A.BboxParams(
            format="pascal_voc",
            label_fields=labels,
            clip=True,
            filter_invalid_bboxes=True,
        )
    if keypoint_params is None and "keypoints" in fields:
        keypoint_params = A.KeypointParams(format="xy", remove_invisible=False)
    with warnings.catch_warnings():
        # A pipeline that only changes colours leaves boxes alone: nothing to warn of.
        warnings.filterwarnings("ignore", "Got processor for")
        return A.Compose(
            rest,
            bbox_params=bbox_params,
            keypoint_params=keypoint_params,
            additional_targets=dict(compose.additional_targets),
            p=compose.p,
            is_check_shapes=compose.is_check_shapes,
        )
