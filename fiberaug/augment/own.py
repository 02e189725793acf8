"""Stages of the user's own: processors and callables, keyed and recorded."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fiberaug.augment.opaque import callable_name, keyed_globals, source_hash
from fiberaug.augment.processor import Processor
from fiberaug.augment.targets import as_array
from fiberaug.errors import UsageError
from fiberaug.params import pack
from fiberaug.sample import EditableSample, Sample
from fiberaug.seeding import KeyedGenerators

__all__ = ["CallableStage", "Log", "ProcessorStage"]

Log = Callable[[str, str, dict[str, Any]], None]
_IMAGE_NAMES = ("image", "img")


class ProcessorStage:
    """Runs a processor on single samples.

    Args:
        processor: The user's object; it lends its ``rng`` for the time of a call.
    """

    def __init__(self, processor: Processor) -> None:
        self._processor = processor
        self._generators = KeyedGenerators()
        self.name = type(processor).__name__

    def __call__(self, sample: Sample, key: bytes) -> tuple[Sample, dict[str, Any]]:
        """Return the processed sample, and what the processor says it drew."""
        processor = self._processor
        self._generators.jump(key)
        with keyed_globals(key):
            processor.rng = self._generators.numpy
            try:
                made = processor._process_sample(sample)  # noqa: SLF001  # the user's hook
                info = processor._process_info()  # noqa: SLF001
            finally:
                processor.rng = None  # back to "no sample"
        if not isinstance(info, Mapping):
            raise UsageError(
                f"{self.name}._process_info must return a dict, got {info!r:.200}"
            )
        return as_sample(made, sample, self.name), pack(info)


class CallableStage:
    """Runs a callable of which nothing is known.

    A function whose first parameter is called ``image`` or ``img`` gets the image, any
    other the sample.

    Args:
        function: ``sample -> sample`` or ``image -> image``.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._takes_image = _first_parameter(function) in _IMAGE_NAMES
        self.name = callable_name(function)
        self._params = {"source": source_hash(function)}

    def __call__(self, sample: Sample, key: bytes) -> tuple[Sample, dict[str, Any]]:
        """Return the processed sample, and the hash of the callable's source."""
        with keyed_globals(key):
            if self._takes_image:
                made = {"image": self._function(sample["image"])}
            else:
                made = self._function(
                    EditableSample(sample, key=sample.key, url=sample.url)
                )
        if self._takes_image:
            return as_sample({**sample, **made}, sample, self.name), self._params
        return as_sample(made, sample, self.name), self._params


def _first_parameter(function: Callable[..., Any]) -> str | None:
    try:
        return next(iter(inspect.signature(function).parameters), None)
    except (TypeError, ValueError):  # built in
        return None


def as_sample(made: Any, before: Sample, name: str) -> Sample:  # noqa: ANN401  # the user's
    """Return what a user's operation returned, as a sample with an image [H, W, C].

    Raises:
        UsageError: It returned no mapping, or no image.
    """
    if not isinstance(made, Mapping):
        raise UsageError(
            f"{name} must return the sample (a mapping with 'image'), got"
            f" {type(made).__name__}"
        )
    fields = {k: v for k, v in made.items() if not k.startswith("__")}
    image: Any = fields.get("image")
    if hasattr(image, "permute") and getattr(image, "ndim", 0) in {2, 3}:
        image = image if image.ndim == 3 else image[None]
        fields["image"] = np.ascontiguousarray(as_array(image.detach().cpu()))
    elif isinstance(image, np.ndarray) and image.ndim in {2, 3}:
        fields["image"] = as_array(image)
    else:
        raise UsageError(
            f"{name} must return an image: an array [H, W, C] or a tensor [C, H, W],"
            f" got {type(image).__name__} {getattr(image, 'shape', '')}"
        )
    return Sample(fields, key=before.key, url=before.url)
