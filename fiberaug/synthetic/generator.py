"""What makes images: the protocol, and a call whose result is checked."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.params import encode

__all__ = [
    "ImageGenerator",
    "call",
    "class_names",
    "describe",
    "name_of",
    "sample_notes",
    "source_type",
]

_SHOWN = 8  # seeds and labels that an error names
_CHANNELS = (1, 3, 4)
_TRAINED = "trainedAlgorithmicMedia"


@runtime_checkable
class ImageGenerator(Protocol):
    """Makes images from seeds: the same image from the same seed, in any batch.

    Only :meth:`generate` is needed. What else a generator may have:

    - ``classes``: class names by label, a tuple of str. Without it labels are numbers,
      or mean nothing where none are asked for.
    - ``describe()``: a mapping of plain values such as ``kind``, ``sha256`` (of its
      weights), ``licence``, ``trained_on``, ``device``, ``params``.
    - ``source_type``: IPTC's word for what it makes, ``trainedAlgorithmicMedia``
      where it says nothing.
    - ``sample_notes(seeds, labels, **conditions)``: a mapping for each sample, of what
      it was made from, such as ``parents`` or ``params``.
    """

    def generate(
        self,
        seeds: Sequence[int],
        labels: Sequence[int],
        **conditions: Any,  # noqa: ANN401  # the generator's own
    ) -> NDArray[np.uint8]:
        """Return uint8 [N, H, W, C], one image for each seed, C 1, 3 or 4.

        Args:
            seeds: One for each sample, in [0, 2**63).
            labels: Class of each sample.
            conditions: What else the generator understands, such as ``guidance``.
        """
        ...


def name_of(generator: object) -> str:
    """Return the name of a generator's class, with its module."""
    kind = type(generator)
    return f"{kind.__module__}.{kind.__qualname__}"


def class_names(generator: object) -> tuple[str, ...]:
    """Return the class names of a generator by label; empty where it has none.

    Raises:
        UsageError: Its ``classes`` are no different texts.
    """
    names = getattr(generator, "classes", ())
    names = () if names is None else names
    if (
        isinstance(names, str)
        or not isinstance(names, Sequence)
        or not all(isinstance(name, str) and name for name in names)
        or len(set(names)) != len(names)
    ):
        raise UsageError(
            f"classes of {name_of(generator)} must be different texts, got {names!r}"
        )
    return tuple(names)


def describe(generator: object) -> dict[str, Any]:
    """Return what a generator says of itself, as plain values.

    ``class`` is always there. Where it gives no ``sha256``, ``source`` is a hash of its
    class's source; its attributes are its own to describe.

    Raises:
        UsageError: ``describe()`` returns no mapping.
    """
    method = getattr(generator, "describe", None)
    said = method() if callable(method) else {}
    if not isinstance(said, Mapping):
        raise UsageError(
            f"describe() of {name_of(generator)} must return a mapping, got"
            f" {type(said).__name__}"
        )
    found: dict[str, Any] = {"kind": "code", "class": name_of(generator)}
    found |= encode(said)
    if "sha256" not in found:
        from fiberaug.augment.opaque import source_hash  # noqa: PLC0415  # torch: 1 s

        found["source"] = source_hash(type(generator))
    return found


def source_type(generator: object) -> str:
    """Return IPTC's digital source type of what a generator makes.

    Raises:
        UsageError: Its ``source_type`` is no text.
    """
    found = getattr(generator, "source_type", None) or _TRAINED
    if not isinstance(found, str):
        raise UsageError(
            f"source_type of {name_of(generator)} must be text, got {found!r}"
        )
    return found


def call(
    generator: ImageGenerator,
    seeds: Sequence[int],
    labels: Sequence[int],
    /,
    **conditions: Any,  # noqa: ANN401  # the generator's own
) -> NDArray[np.uint8]:
    """Return the images of some samples, checked.

    Args:
        generator: It makes them.
        seeds: One for each sample, in [0, 2**63).
        labels: Class of each sample.
        conditions: Passed on.

    Returns:
        Images, uint8 [N, H, W, C], of its own memory.

    Raises:
        UsageError: It returned something else. What it raises itself gets a note that
            names the generator, the seeds and the labels.
    """
    seeds, labels = [int(seed) for seed in seeds], [int(label) for label in labels]
    if len(seeds) != len(labels):
        raise UsageError(
            f"each seed needs a label: got {len(seeds)} seeds, {len(labels)} labels"
        )
    asked = _asked(generator, seeds, labels)
    try:
        made: Any = generator.generate(seeds, labels, **conditions)
        pixels = np.asarray(made)
    except SystemExit as error:
        raise UsageError(
            f"a generator returns images or raises an error, and this one ended the"
            f" program with exit code {error.code!r}: {asked}",
            stage="generate",
        ) from error
    except Exception as error:
        error.add_note(f"raised by {asked}")
        raise
    _check(pixels, len(seeds), asked)
    return np.array(pixels, order="C")


def sample_notes(
    generator: object,
    seeds: Sequence[int],
    labels: Sequence[int],
    /,
    **conditions: Any,  # noqa: ANN401  # the generator's own
) -> list[dict[str, Any]]:
    """Return what a generator says of each sample; empty where it says nothing.

    Raises:
        UsageError: ``sample_notes`` does not return a mapping for each sample.
    """
    method = getattr(generator, "sample_notes", None)
    if not callable(method):
        return [{} for _ in seeds]
    found = list(method(seeds, labels, **conditions))
    if len(found) != len(seeds) or not all(isinstance(one, Mapping) for one in found):
        raise UsageError(
            f"sample_notes must return {len(seeds)} mappings, one for each sample, got"
            f" {len(found)}: {_asked(generator, seeds, labels)}"
        )
    return [encode(dict(one)) for one in found]


def _asked(generator: object, seeds: Sequence[int], labels: Sequence[int]) -> str:
    more = ", ..." if len(seeds) > _SHOWN else ""
    told = [", ".join(map(str, values[:_SHOWN])) + more for values in (seeds, labels)]
    return f"{name_of(generator)}.generate(seeds=[{told[0]}], labels=[{told[1]}])"


def _check(pixels: NDArray[Any], count: int, asked: str) -> None:
    def refuse(what: str) -> NoReturn:
        raise UsageError(
            f"a generator returns uint8 [{count}, H, W, C], {what}: {asked}",
            stage="generate",
        )

    shape = list(pixels.shape)
    if np.issubdtype(pixels.dtype, np.floating):
        if not np.isfinite(pixels).all():
            broken = int((~np.isfinite(pixels)).sum())
            refuse(f"got {pixels.dtype} {shape} with {broken} values NaN or infinite")
        refuse(
            f"got {pixels.dtype} {shape}; scale to 0..255 with"
            " (x * 255).round().clip(0, 255).astype('uint8')"
        )
    if pixels.dtype != np.uint8:
        refuse(f"got {pixels.dtype} {shape}")
    if pixels.ndim != 4:
        refuse(f"got {shape}")
    if len(pixels) != count:
        refuse(f"got {len(pixels)} images for {count} seeds")
    if pixels.shape[3] not in _CHANNELS:
        why = "; put the channels last" if pixels.shape[1] in _CHANNELS else ""
        refuse(f"C 1, 3 or 4, got {shape}{why}")
    if not pixels.size:
        refuse(f"got {shape}, which has no pixel")
