"""Whether a pipeline can be rebuilt from its serialised form: tried, not believed."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.augment.cpu import CpuEngine
from fiberaug.augment.pipeline import Pipeline, rebuild
from fiberaug.augment.spec import leaves
from fiberaug.errors import UsageError
from fiberaug.params import encode
from fiberaug.seeding import key

__all__ = ["draws", "why_not_replayable"]

_STAND_INS = (
    ((160, 208, 3), np.uint8),
    ((320, 416, 3), np.uint8),
    ((1024, 1280, 3), np.uint8),  # for pipelines that crop more
    ((320, 416, 1), np.uint8),
    ((320, 416, 3), np.float32),
)
"""Synthetic images on which a pipeline is tried until it runs: [H, W, C], dtype."""

Shape = tuple[int, int, int]
_VOLUMES = {"volume", "mask3d"}
_TRIES = 4
_DRAWS = 24


def why_not_replayable(pipeline: Pipeline) -> str | None:
    """Return None where the rebuilt pipeline gives the same pixels, else the reason."""
    try:
        again = rebuild(pipeline.identity())
    except UsageError as error:
        return error.message
    return _tried(partial(_compare, pipeline, again), _asked(pipeline))


def draws(pipeline: Pipeline) -> str | None:
    """Return what differs between two samples of the same pixels, or None: nothing.

    Args:
        pipeline: The pipeline; it is tried with 24 keys on a synthetic sample.
    """
    return _tried(partial(_vary, pipeline), _asked(pipeline))


def _asked(pipeline: Pipeline) -> list[str]:
    """Return which fields beside the usual ones a pipeline's transforms need."""
    found: set[str] = set()
    known = _metadata(np.zeros((1, 1, 3), np.uint8)).keys()
    for part in pipeline.parts:
        for _, leaf in leaves(part.what) if part.kind == "compose" else ():
            found |= {*leaf.targets_as_params} & known
            if "image" not in leaf.targets:
                found |= leaf.targets.keys() & _VOLUMES
    return sorted(found)


def _tried(attempt: Any, asked: Sequence[str]) -> str | None:  # noqa: ANN401  # a function
    failed: Exception | None = None
    for annotations in (("mask", "bboxes"), ()):
        for shape, dtype in _STAND_INS:
            fields = ["image", "caption", *annotations, *asked]
            try:
                return attempt(fields, shape, dtype)  # type: ignore[no-any-return]
            except Exception as caught:  # noqa: BLE001  # a crop that is too large, ...
                failed = failed or caught
    return f"the pipeline cannot be tried on a synthetic sample: {failed}"


def _sample(
    generator: np.random.Generator, shape: Shape, dtype: type[Any]
) -> dict[str, Any]:
    height, width, channels = shape
    size = height // 16, width // 16, channels
    coarse = generator.integers(0, 256, size, np.uint8)
    image = np.ascontiguousarray(coarse.repeat(16, 0).repeat(16, 1))
    if dtype is not np.uint8:
        image = image.astype(dtype) / dtype(255)
    return {
        **_metadata(image),
        "volume": np.stack([image] * 4),
        "mask3d": generator.integers(0, 3, (4, height, width), np.uint8),
        "image": image,
        "mask": generator.integers(0, 3, (height, width), np.uint8),
        "bboxes": np.array([[8, 8, width / 2, height / 2]], np.float32),
        "caption": "a synthetic sample",
    }


def _metadata(image: NDArray[Any]) -> dict[str, Any]:
    """Return what some transforms take from a sample, made of a synthetic image."""
    other = np.ascontiguousarray(image[::-1])
    return {
        "cropping_bbox": [8, 8, 48, 64],
        "fda_metadata": [other],
        "hm_metadata": [other],
        "pda_metadata": [other],
        "mosaic_metadata": [{"image": other}] * 3,
        "overlay_metadata": {"image": other[:16, :16]},
        "textimage_metadata": {"text": "abc", "bbox": (0.1, 0.1, 0.9, 0.4)},
    }


def _compare(
    pipeline: Pipeline,
    again: Pipeline,
    fields: Sequence[str],
    shape: Shape,
    dtype: type[Any],
) -> str | None:
    first, second = CpuEngine(pipeline, fields), CpuEngine(again, fields)
    generator = np.random.default_rng(0)
    for visit in range(_TRIES):
        sample = _sample(generator, shape, dtype)
        keys = partial(key, 0, 0, 0, visit, 0)
        one, other = first(sample, keys), second(sample, keys)
        if encode(one.operations) != encode(other.operations):
            return "the rebuilt pipeline draws other parameters"
        differing = _differing(one.fields, other.fields)
        if differing:
            return f"the rebuilt pipeline gives another {differing}"
    return None


def _vary(
    pipeline: Pipeline, fields: Sequence[str], shape: Shape, dtype: type[Any]
) -> str | None:
    engine = CpuEngine(pipeline, fields)
    sample = _sample(np.random.default_rng(0), shape, dtype)
    first = engine(sample, partial(key, 0, 0, 0, 0, 0))
    for visit in range(1, _DRAWS):
        other = engine(sample, partial(key, 0, 0, 0, visit, 0))
        names = [engine.leaves[number][1] for number, _ in other.operations]
        for name, (_, one), (_, two) in zip(
            names, first.operations, other.operations, strict=False
        ):
            if encode(one) != encode(two):
                return name
        if len(first.operations) != len(other.operations):
            return "the number of operations"
        differing = _differing(first.fields, other.fields)
        if differing:
            return differing
    return None


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    for name, value in one.items():
        if value is not other[name] and not np.array_equal(value, other[name]):
            return name
    return None
