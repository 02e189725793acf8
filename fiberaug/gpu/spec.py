"""What a batch operation is, as plain values: its arguments, and back.

Kornia's objects do not keep their constructor's arguments. They are found again where
each class puts them: in its flags, in its generator of parameters, or on itself.
"""

import importlib
import math
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from inspect import Parameter, signature
from typing import Any

import numpy as np
import torch
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.gpu.kornia_ops import KorniaOperation
from fiberaug.gpu.layouts import LAYOUTS, layout_of
from fiberaug.gpu.operation import Operation
from fiberaug.recipe import did_you_mean, shorten

__all__ = ["Spec", "arguments_of", "build", "check_names", "own_name", "spec_of"]

Spec = dict[str, dict[str, Any]]
"""``{"RandomAffine": {"degrees": 10.0, "p": 0.5, ...}}``: values that JSON has."""

_ELSEWHERE = {
    "LongestMaxSize.max_size": "size",
    "RandomGamma.gain": "gain_factor",
    "RandomGamma.gamma": "gamma_factor",
    "RandomPosterize.bits": "bits_factor",
    "RandomRGBShift.b_shift_limit": "b_shift",
    "RandomRGBShift.g_shift_limit": "g_shift",
    "RandomRGBShift.r_shift_limit": "r_shift",
    "RandomSaltAndPepperNoise.salt_vs_pepper": "salt_and_pepper",
    "SmallestMaxSize.max_size": "size",
    "ColorJiggle.order": "_fixed_order",
    "ColorJitter.order": "_fixed_order",
}
"""Arguments that a class keeps under another name."""

_TENSORS = {
    ("RandomFisheye", "center_x"),
    ("RandomFisheye", "center_y"),
    ("RandomFisheye", "gamma"),
    ("RandomGrayscale", "rgb_weights"),
}
"""Arguments that have to be tensors; others can be numbers and tuples of them."""


@cache
def arguments_of(name: str) -> dict[str, Any]:
    """Return the arguments of a Kornia class with their defaults, in order.

    Args:
        name: A name of :data:`layouts.LAYOUTS`.

    Returns:
        Default by argument; ``inspect.Parameter.empty`` where there is none.
    """
    parameters = signature(_class(name).__init__).parameters
    return {n: p.default for n, p in parameters.items() if n not in _NOT_OURS}


_NOT_OURS = {"self", "data_keys"}  # the loader knows the fields


def _class(name: str) -> Any:  # noqa: ANN401  # a class
    return getattr(importlib.import_module("kornia.augmentation"), name)


def spec_of(operation: nn.Module | Operation) -> Spec:
    """Return the name of an operation, and the arguments that make it again.

    Args:
        operation: A Kornia augmentation, or an operation that has ``spec()``.

    Raises:
        UsageError: It cannot be described; with the reason.
    """
    if isinstance(operation, KorniaOperation):
        operation = operation.module
    if isinstance(operation, Operation):
        own = getattr(operation, "spec", None)
        if own is None:
            raise UsageError(
                f"{type(operation).__qualname__} has no spec() that returns"
                ' {"Name": {arguments}}'
            )
        described: Spec = own()
        return {own_name(name): arguments for name, arguments in described.items()}
    layout_of(operation)
    name = type(operation).__name__
    return {
        name: {a: _plain(_argument(name, operation, a)) for a in arguments_of(name)}
    }


def own_name(name: str) -> str:
    """Return what recipes call an operation that is not Kornia's.

    >>> own_name("RandAugment"), own_name("RandomErasing")
    ('RandAugment', 'fiberaug.RandomErasing')
    """
    return f"fiberaug.{name}" if name in LAYOUTS else name


def _argument(name: str, module: Any, argument: str) -> Any:  # noqa: ANN401  # Kornia's
    """Return what the constructor got, or what means the same to it."""
    match name, argument:
        case _, "p" if name in _BATCH_WISE:
            return module.p_batch
        case "RandomPlanckianJitter", "mode" | "select_from":
            return _planckian(module)[argument]
        case "RandomThinPlateSpline", "scale":
            return 0.0 if module.dist is None else module.dist.high
        case "RandomFisheye", "center_x" | "center_y" | "gamma":
            return getattr(module._param_generator, argument)[:, 0]  # noqa: SLF001
    kept = _ELSEWHERE.get(f"{name}.{argument}", argument)
    for place in _places(module):
        for attribute in (kept, f"{kept}_factor"):
            if attribute in place:
                return place[attribute]
    raise UsageError(f"{name} does not keep its argument {argument}")


def _places(module: Any) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401  # Kornia's
    """Yield where a class can keep its arguments, in the order of trust."""
    generator = module._param_generator  # noqa: SLF001
    yield module.flags
    yield {name: given for given, name, _, _ in getattr(generator, "samplers", ())}
    for owner in (generator, module):
        if owner is not None:
            yield {**vars(owner), **owner._buffers}  # noqa: SLF001


_BATCH_WISE = {
    "CenterCrop",
    "LongestMaxSize",
    "RandomCrop",
    "RandomResizedCrop",
    "Resize",
    "SmallestMaxSize",
}
"""Classes that apply their ``p`` to whole batches."""


def _planckian(module: Any) -> dict[str, Any]:  # noqa: ANN401  # Kornia's
    """Return the arguments whose coefficients a module has."""
    kornia = importlib.import_module(type(module).__module__)
    for mode in ("blackbody", "CIED"):
        known = kornia.get_planckian_coeffs(mode)
        same = (module.pl.unsqueeze(1) == known).all(-1)
        if bool(same.any(1).all()):
            chosen = same.int().argmax(1).tolist()
            every = chosen == list(range(len(known)))
            return {"mode": mode, "select_from": None if every else chosen}
    raise UsageError(
        "RandomPlanckianJitter has coefficients that none of its modes has"
    )


def _plain(value: Any) -> Any:  # noqa: ANN401, PLR0911  # whatever Kornia keeps
    """Return a value as JSON has it; float32 numbers as short as they can be."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UsageError(f"{value} is no number that an argument can have")
        return value
    if isinstance(value, torch.Tensor):
        array = value.detach().cpu().numpy()
        if array.dtype == np.float32:
            return _short(array.tolist())
        return _plain(array.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    raise UsageError(f"{type(value).__name__} is nothing that JSON has")


def _short(value: Any) -> Any:  # noqa: ANN401  # numbers and lists of them
    """Return the shortest decimals that are the same as float32."""
    if isinstance(value, list):
        return [_short(item) for item in value]
    return _plain(float(str(np.float32(value))))


def check_names(label: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Check that arguments are known, and that those without a default are given.

    Args:
        label: Whose arguments they are, for the message.
        given: What is given.
        known: Defaults by name, see :func:`arguments_of`.

    Raises:
        UsageError: They are not.
    """
    for argument in given:
        if argument not in known:
            raise UsageError(
                f"{label} has no argument {shorten(argument)}"
                + did_you_mean(argument, known)
                + f"; it takes {', '.join(known)}"
            )
    for argument, default in known.items():
        if default is Parameter.empty and argument not in given:
            raise UsageError(f"{label} needs {argument}")


def build(spec: Mapping[str, Mapping[str, Any]]) -> nn.Module:
    """Return the Kornia augmentation of a description.

    Args:
        spec: As of :func:`spec_of`; arguments that are not there have their defaults.

    Raises:
        UsageError: There is no such class or argument, or it refuses a value.
    """
    if len(spec) != 1:
        raise UsageError(f"an operation has one name, got {shorten(list(spec))}")
    ((name, given),) = spec.items()
    if name not in LAYOUTS:
        raise UsageError(
            f"there is no augmentation {shorten(name)}" + did_you_mean(name, LAYOUTS)
        )
    check_names(name, given, arguments_of(name))
    values = {a: _given(name, a, value) for a, value in given.items()}
    try:
        made: nn.Module = _class(name)(**values)
    except Exception as error:
        line = " ".join(str(error).split())[:300]
        raise UsageError(f"{name} refuses its arguments: {line}") from error
    return made


def _given(name: str, argument: str, value: Any) -> Any:  # noqa: ANN401  # JSON
    if (name, argument) in _TENSORS and value is not None:
        return torch.tensor([float(number) for number in value])
    if argument == "select_from" and isinstance(value, list | tuple):
        return list(value)  # an index into coefficients
    return _tuples(value)


def _tuples(value: Any) -> Any:  # noqa: ANN401  # JSON
    """Return lists as the tuples that Kornia asks for."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
