"""Whether a pipeline can be rebuilt from its serialised form: tried, not believed."""

import warnings
from typing import Any

import albumentations as A
import numpy as np

from fiberaug.augment.cpu import CpuEngine, pipeline_spec
from fiberaug.errors import UsageError
from fiberaug.params import encode
from fiberaug.seeding import key

__all__ = ["rebuild", "why_not_replayable"]

_SIZES = ((320, 416), (1024, 1280))  # px; the larger one for pipelines that crop more
_TRIES = 4


def rebuild(spec: dict[str, Any]) -> A.Compose:
    """Return the pipeline of a serialised form.

    Raises:
        UsageError: The form names what this environment does not have.
    """
    with warnings.catch_warnings():
        # Albumentations warns of arguments that its own serialisation adds.
        warnings.simplefilter("ignore")
        try:
            return A.from_dict({"__version__": A.__version__, **spec})
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"the pipeline cannot be rebuilt: {error!r}") from error


def why_not_replayable(compose: A.Compose) -> str | None:
    """Return None where the rebuilt pipeline gives the same pixels, else the reason."""
    spec = pipeline_spec(compose)
    if spec is None:
        return "the pipeline does not serialise"
    try:
        again = rebuild(spec)
    except UsageError as error:
        return error.message
    fields = ["image", "mask", "bboxes"]
    failed: Exception | None = None
    for height, width in _SIZES:
        try:
            first, second = CpuEngine(compose, fields), CpuEngine(again, fields)
            return _compare(first, second, height, width)
        except Exception as caught:  # noqa: BLE001  # a crop larger than the stand-in, ...
            failed = caught
    return f"the pipeline cannot be tried on a synthetic sample: {failed}"


def _compare(
    first: CpuEngine, second: CpuEngine, height: int, width: int
) -> str | None:
    generator = np.random.default_rng(0)
    for visit in range(_TRIES):
        coarse = generator.integers(0, 256, (height // 16, width // 16, 3), np.uint8)
        sample = {
            "image": np.ascontiguousarray(coarse.repeat(16, 0).repeat(16, 1)),
            "mask": generator.integers(0, 3, (height, width), np.uint8),
            "bboxes": np.array([[8, 8, width / 2, height / 2]], np.float32),
        }
        draw = key(0, 0, 0, visit, 0, "try")
        one, other = first(sample, draw), second(sample, draw)
        if encode(one.operations) != encode(other.operations):
            return "the rebuilt pipeline draws other parameters"
        for name, value in one.fields.items():
            if not np.array_equal(value, other.fields[name]):
                return f"the rebuilt pipeline gives another {name}"
    return None
