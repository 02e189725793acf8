"""Operations that workers and batches both have, and how to say one as the other.

A closed table. An operation has a twin only where its arguments can be said in the
other library's words, such that the same drawn numbers give nearly the same pixels;
otherwise the reason why not is given.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, NamedTuple

from fiberaug.augment.build import arguments_of as of_worker
from fiberaug.augment.build import build_operations, known_operations
from fiberaug.benching.twin_arguments import TRANSLATORS, Arguments, NoTwin, Translate
from fiberaug.errors import UsageError
from fiberaug.gpu.building import build_gpu, own_operations
from fiberaug.gpu.layouts import LAYOUTS
from fiberaug.gpu.spec import arguments_of as of_kornia

__all__ = ["TWINS", "Operation", "Twin", "Twinned", "in_worker", "on_batch"]

Operation = Mapping[str, Any]
"""As recipes have it: ``{"HorizontalFlip": {"p": 0.5}}``."""


@dataclass(frozen=True, kw_only=True)
class Twin:
    """One operation in workers, and one on batches."""

    worker: str
    batch: str
    how: str = "all"
    """Which of :data:`twin_arguments.TRANSLATORS` says the arguments otherwise."""

    of_worker: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that have to be as here."""

    of_batch: Mapping[str, Any] = field(default_factory=dict)
    """The same of the other."""

    near: str = ""
    """In what pixels differ, but for one level of rounding."""


class Twinned(NamedTuple):
    """An operation, said as its twin."""

    operation: Operation | None
    """None: there is no twin."""

    note: str
    """In what the two differ, or why there is none."""


_READ = {"interpolation": 1, "mask_interpolation": 0}
_EDGE = {"border_mode": 0, "fill": 0, "fill_mask": 0}
_ONE_SIZE = {"area_for_downscale": None, "p": 1}
_BILINEAR = {"resample": "bilinear"}
_SAMPLED = {**_BILINEAR, "align_corners": False}
_SLICED = {"cropping_mode": "slice", "p": 1}

TWINS: Sequence[Twin] = (
    Twin(worker="HorizontalFlip", batch="RandomHorizontalFlip"),
    Twin(worker="VerticalFlip", batch="RandomVerticalFlip"),
    Twin(
        worker="Rotate",
        batch="RandomRotation",
        how="rotated",
        of_worker={**_READ, **_EDGE, "crop_border": False},
        of_batch={**_BILINEAR, "align_corners": True},
    ),
    Twin(
        worker="Affine",
        batch="RandomAffine",
        how="affine",
        of_worker={**_READ, **_EDGE, "fit_output": False, "balanced_scale": False},
        of_batch={
            **_SAMPLED, "padding_mode": "zeros", "fill_value": None, "shear": None,
        },
        near="in workers it moves by whole pixels",
    ),
    Twin(
        worker="RandomCrop",
        batch="RandomCrop",
        how="sides",
        of_worker={"pad_if_needed": False, "p": 1},
        of_batch={"padding": None, "pad_if_needed": False, **_SLICED},
    ),
    Twin(
        worker="CenterCrop",
        batch="CenterCrop",
        how="sides",
        of_worker={"pad_if_needed": False, "p": 1},
        of_batch=_SLICED,
    ),
    Twin(
        worker="Resize",
        batch="Resize",
        how="resized",
        of_worker={**_READ, **_ONE_SIZE},
        of_batch={**_SAMPLED, "antialias": False, "p": 1},
    ),
    Twin(
        worker="RandomResizedCrop",
        batch="RandomResizedCrop",
        how="cropped",
        of_worker={**_READ, **_ONE_SIZE},
        of_batch={**_SAMPLED, **_SLICED},
    ),
    Twin(
        worker="ColorJitter",
        batch="ColorJitter",
        how="jitter",
        of_batch={"order": None},
        near="in workers hue has 180 steps; on batches 16 rows share their order",
    ),
    Twin(
        worker="RandomBrightnessContrast",
        batch="RandomBrightness",
        how="brightness",
        of_worker={"brightness_by_max": True, "ensure_safe_range": False},
        of_batch={"clip_output": True},
    ),
    Twin(
        worker="RandomBrightnessContrast",
        batch="RandomContrast",
        how="contrast",
        of_worker={"brightness_by_max": True, "ensure_safe_range": False},
        of_batch={"clip_output": True},
    ),
    Twin(
        worker="HueSaturationValue",
        batch="RandomHue",
        how="hue",
        near="in workers hue has 180 steps",
    ),
    Twin(
        worker="ToGray",
        batch="RandomGrayscale",
        of_worker={"num_output_channels": 3, "method": "weighted_average"},
        of_batch={"rgb_weights": None},
    ),
    Twin(
        worker="GaussianBlur",
        batch="RandomGaussianBlur",
        how="blur",
        of_batch={"border_type": "reflect"},
    ),
    Twin(
        worker="GaussianBlur",
        batch="RandomGaussianBlur",
        how="blur_largest",
        of_batch={"border_type": "reflect"},
        near="in workers small kernels are drawn, too, which cut off a wide blur",
    ),
    Twin(
        worker="GaussNoise",
        batch="RandomGaussianNoise",
        how="noise",
        of_worker={"per_channel": True, "noise_scale_factor": 1},
        near="on batches levels below 0 and above 255 are not cut off",
    ),
    Twin(
        worker="Solarize",
        batch="RandomSolarize",
        how="solarized",
        of_batch={"additions": [0, 0]},
    ),
    Twin(worker="Posterize", batch="RandomPosterize", how="posterized"),
    Twin(worker="InvertImg", batch="RandomInvert", of_batch={"max_val": 1}),
    Twin(
        worker="RandomGamma",
        batch="RandomGamma",
        how="gamma",
        of_batch={"gain": [1, 1]},
    ),
    Twin(worker="RGBShift", batch="RandomRGBShift", how="shift"),
    Twin(worker="ChannelShuffle", batch="RandomChannelShuffle"),
    # Draws and arguments of these are the same on both sides.
    Twin(worker="AugMix", batch="AugMix"),
    Twin(worker="AutoAugment", batch="AutoAugment"),
    Twin(worker="RandAugment", batch="RandAugment"),
    Twin(worker="RandomErasing", batch="fiberaug.RandomErasing"),
    Twin(worker="TrivialAugmentWide", batch="TrivialAugmentWide"),
)  # fmt: skip
"""All twins."""

_APART = {
    "CLAHE": "batches do to each colour what it does to lightness",
    "CoarseDropout": "batches erase one rectangle of an area, it holes of given sides",
    "Equalize": "the two spread levels otherwise",
    "Erasing": "batches erase in masks, too; fiberaug's RandomErasing is on both sides",
    "MotionBlur": "it draws the size and the place of its kernel, batches do not",
    "Normalize": "behind it colours are not in [0, 1], as batches need them",
    "Perspective": "the two draw corners from different distributions",
}
"""Operations that seem to have a twin, and why they have none."""

_APART_BATCH = {
    "Normalize": "as the last operation it belongs into the section normalize",
    "RandomClahe": "workers do to lightness what it does to each colour",
    "RandomEqualize": "the two spread levels otherwise",
    "RandomErasing": "workers leave masks as they are; fiberaug.RandomErasing is twin",
    "RandomMotionBlur": "in workers the place of the kernel is drawn, too",
    "RandomPerspective": _APART["Perspective"],
}


def on_batch(operation: Operation) -> Twinned:
    """Return an operation of the section ``cpu`` as one of the section ``gpu``.

    >>> on_batch({"HorizontalFlip": {"p": 0.3}}).operation
    {'RandomHorizontalFlip': {'p': 0.3}}
    >>> on_batch({"CLAHE": None}).operation is None
    True
    """
    ((name, given),) = operation.items()
    found = [twin for twin in TWINS if twin.worker == name]
    why = _APART.get(name, "batches have no such operation")
    for twin in found:
        source = _Said(name, _defaults_of_worker(name), twin.of_worker)
        target = _Said(twin.batch, _defaults_of_batch(twin.batch), twin.of_batch)
        try:
            made = _said(given or {}, source, target, TRANSLATORS[twin.how][0])
            build_gpu([made])
        except (NoTwin, UsageError) as reason:
            why = str(reason)
            continue
        return Twinned(made, twin.near)
    return Twinned(None, why)


def in_worker(operation: Operation) -> Twinned:
    """Return an operation of the section ``gpu`` as one of the section ``cpu``.

    >>> in_worker({"RandomAffine": {"degrees": 10, "p": 0.5}}).operation
    {'Affine': {'rotate': [-10, 10], 'p': 0.5}}
    """
    ((name, given),) = operation.items()
    found = [twin for twin in TWINS if twin.batch == name]
    why = _APART_BATCH.get(name, "workers have no such operation")
    for twin in found:
        defaults = _defaults_of_batch(name)
        alone = {n: v for n, v in _OF_ROWS.items() if n in defaults}
        source = _Said(name, defaults, {**alone, **twin.of_batch})
        target = _Said(twin.worker, _defaults_of_worker(twin.worker), twin.of_worker)
        try:
            made = _said(given or {}, source, target, TRANSLATORS[twin.how][1])
            build_operations([made])
        except (NoTwin, UsageError) as reason:
            why = str(reason)
            continue
        return Twinned(made, twin.near)
    return Twinned(None, why)


class _Said(NamedTuple):
    """One side of a twin."""

    name: str
    defaults: Arguments
    fixed: Mapping[str, Any]


def _said(
    given: Arguments, source: _Said, target: _Said, translate: Translate
) -> Operation:
    """Return the target's operation for the source's arguments.

    Raises:
        NoTwin: These arguments cannot be said otherwise.
    """
    full = {**source.defaults, **given}
    for name, value in source.fixed.items():
        if not _same(full[name], value):
            raise NoTwin(f"{name}={_listed(full[name])!r} has no counterpart")
    away = {*source.fixed, "keepdim"}
    said = {
        **translate({n: v for n, v in full.items() if n not in away}),
        **target.fixed,
    }
    made = {n: v for n, v in said.items() if _listed(target.defaults[n]) != _listed(v)}
    if "p" not in target.fixed:
        made["p"] = full["p"]
    return {target.name: made}


_OF_ROWS = {"same_on_batch": False, "p_batch": 1}
"""Arguments of most of Kornia's classes: each row is drawn for itself."""


def _defaults_of_worker(name: str) -> dict[str, Any]:
    if name not in known_operations():
        return {}
    return {argument: known.default for argument, known in of_worker(name).items()}


def _defaults_of_batch(name: str) -> dict[str, Any]:
    if name in LAYOUTS:
        return of_kornia(name)
    kind: Callable[..., Any] = own_operations()[name]
    return {n: p.default for n, p in signature(kind).parameters.items()}


def _listed(value: Any) -> Any:  # noqa: ANN401  # an argument
    """Return a value as recipes have it."""
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    return value.lower() if isinstance(value, str) else value


def _same(given: object, fixed: object) -> bool:
    """Return whether a value is the one that is wanted; one alone stands for many."""
    one, other = _listed(given), _listed(fixed)
    if isinstance(one, list) and one and not isinstance(other, list):
        return all(item == other for item in one)
    if isinstance(other, list) and not isinstance(one, list):
        return all(item == one for item in other)
    return bool(one == other)
