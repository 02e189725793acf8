"""What a pipeline is, as plain values: its serialised form, its hash, and back."""

import copy
import json
import os
import types
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import blake2b
from typing import Any

import albumentations as A
from albumentations.augmentations.mixing.domain_adaptation import BaseDomainAdaptation

from fiberaug.augment.opaque import source_hash
from fiberaug.augment.ours import OURS, SIZED_CROPS
from fiberaug.errors import UsageError

__all__ = [
    "canonical_hash",
    "compose_spec",
    "describe",
    "foreign",
    "leaves",
    "rebuild_compose",
    "sources",
    "takes_references",
]

_HELD = ("custom_apply_fns", "read_fn", "reference_images")
"""Attributes with functions and arrays of the user, which a hash has to tell apart."""


def leaves(transform: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Yield (path, leaf) of an Albumentations pipeline in the order of definition."""
    if isinstance(transform, A.BaseCompose):
        for i, child in enumerate(transform.transforms):
            yield from leaves(child, (*path, i))
    else:
        yield ".".join(map(str, path)), transform


def compose_spec(compose: A.Compose) -> dict[str, Any] | None:
    """Return the serialised form of a pipeline, or None where it has none.

    It holds more than ``A.to_dict``, which leaves out the channels of
    ``SelectiveChannelTransform``, refuses transforms whose reference images come with
    each sample, and takes the name of a ``Lambda`` for its functions.
    """
    if any(isinstance(leaf, A.Lambda) for _, leaf in leaves(compose)):
        return None
    try:
        spec = A.to_dict(_with_references(compose))
        spec.pop("__version__", None)
        _complete(spec["transform"], compose)
        return json.loads(json.dumps(spec, default=os.fspath))  # type: ignore[no-any-return]
    except (NotImplementedError, TypeError, ValueError, AttributeError, KeyError):
        return None


def takes_references(leaf: Any) -> bool:  # noqa: ANN401
    """Return whether a transform takes reference images from a field of the sample."""
    return isinstance(leaf, BaseDomainAdaptation) and leaf.reference_images is None


def _with_references(compose: A.Compose) -> A.Compose:
    """Return a pipeline in which transforms that take references do serialise."""
    if not any(takes_references(leaf) for _, leaf in leaves(compose)):
        return compose
    compose = copy.deepcopy(compose)
    for _, leaf in leaves(compose):
        if takes_references(leaf):
            leaf.read_fn = None  # a function, for reference images of the constructor
            leaf.to_dict_private = partial(A.BasicTransform.to_dict_private, leaf)
    return compose


def _complete(spec: dict[str, Any], transform: Any) -> None:  # noqa: ANN401
    if isinstance(transform, A.SelectiveChannelTransform):
        spec["channels"] = [int(channel) for channel in transform.channels]
    for child, part in zip(
        spec.get("transforms", ()), getattr(transform, "transforms", ()), strict=False
    ):
        if isinstance(child, dict):
            _complete(child, part)


def rebuild_compose(spec: Mapping[str, Any]) -> A.Compose:
    """Return the pipeline of a serialised form.

    Raises:
        UsageError: The form names what this environment does not have.
    """
    with warnings.catch_warnings():
        # Albumentations warns of arguments that its own serialisation adds.
        warnings.simplefilter("ignore")
        try:
            form = {"__version__": A.__version__, "transform": spec["transform"]}
            made = A.from_dict(form)
            _restore(made, spec["transform"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"the pipeline cannot be rebuilt: {error!r}") from error
    return made


def _restore(transform: Any, spec: Mapping[str, Any]) -> None:  # noqa: ANN401
    """Make numbers whole again that validation made 255.0: uint8 pixels wrap at 255."""
    for name, value in spec.items():
        now = getattr(transform, name, None)
        if type(value) is int and type(now) is float and now == value:
            setattr(transform, name, value)
    for child, part in zip(
        getattr(transform, "transforms", ()), spec.get("transforms", ()), strict=False
    ):
        if isinstance(part, Mapping):
            _restore(child, part)


def foreign(compose: A.Compose) -> list[Any]:
    """Return the leaves whose code is the user's: ``Lambda`` and own classes."""
    return [
        leaf
        for _, leaf in leaves(compose)
        if isinstance(leaf, A.Lambda)
        or not (
            type(leaf) in OURS
            or type(leaf) in SIZED_CROPS
            or type(leaf).__module__.startswith("albumentations.")
        )
    ]


def sources(compose: A.Compose) -> dict[str, str]:
    """Return the hash of the source of each class that is not the library's."""
    return {
        f"{type(leaf).__module__}.{type(leaf).__qualname__}": source_hash(type(leaf))
        for leaf in foreign(compose)
        if not isinstance(leaf, A.Lambda)
    }


def describe(compose: A.Compose) -> list[list[str]]:
    """Return what can be said of a pipeline that does not serialise."""
    found = []
    for path, leaf in leaves(compose):
        values = (
            f"{name}={getattr(value, '__qualname__', value)}"
            for name, value in sorted(vars(leaf).items())
            if isinstance(value, int | float | str | tuple | types.FunctionType)
        )
        held = (f"{name}={source_hash(value)}" for name, value in _held(leaf))
        found.append([path, type(leaf).__name__, *values, *held])
    return found


def _held(leaf: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    for name in _HELD:
        value = getattr(leaf, name, None)
        if isinstance(value, Mapping):
            yield from value.items()
        elif value is not None:
            yield name, value


def canonical_hash(values: Any) -> str:  # noqa: ANN401  # JSON
    """Return 16 hexadecimal digits that name JSON values; 2.0 and 2 are the same."""
    text = json.dumps(_canonical(values), sort_keys=True).encode()
    return blake2b(text, digest_size=8).hexdigest()


def _canonical(value: Any) -> Any:  # noqa: ANN401  # JSON
    """Return JSON values with 2.0 as 2: a rebuilt pipeline mixes the two up."""
    if isinstance(value, Mapping):
        return {name: _canonical(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
