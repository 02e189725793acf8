"""Requests that no hours of training can fulfil, refused before they are spent.

What is refused cannot work; what is warned of works badly as a rule, and the warning
says why and what works better. Evidence: arXiv 2603.16134, where a GAN of about 20
photos a class made a classifier's bias gap 20.7 % worse, and the boundary lay between
20 and 50 a class.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import DataRefused, UsageError
from fiberaug.training.contracts import Source

__all__ = ["Request", "check_looks", "check_request"]

_FEW = 50  # photos a class; see above
_LARGEST = 1024  # px; larger photos are learnt by no published GAN of this kind
_LARGE = 256  # px, from which on many photos are needed
_MANY = 10_000  # photos
_EDITING = "editing the photos with a pretrained diffusion model (image-to-image)"
_LOOKED_AT = 64  # photos
_NAMED = 5
_NO_SIZES = np.zeros((0, 2), np.int64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is to be learnt, and from what."""

    size: tuple[int, int]
    """(height, width) of what is generated, px."""

    channels: int = 3
    """Of what is generated, 1 to 4."""

    photos: int
    """Photos to train on, without those that are held out."""

    windows: bool = False
    """Whether windows of photos are learnt, and not whole photos."""

    classes: tuple[str, ...] = ()
    """Names of the classes; empty where nothing is conditioned."""

    counts: Sequence[int] = ()
    """Photos to train on of each class."""

    sizes: NDArray[np.int64] = field(default_factory=lambda: _NO_SIZES)
    """(height, width) of each photo where it is known, px, int64 [N, 2]."""


def check_request(asked: Request | Source) -> list[str]:
    """Return what a user should read before training, each with its remedy.

    Args:
        asked: What is to be learnt; of a source also some photos are looked at.

    Raises:
        UsageError: It cannot work: sides above 1,024 px.
        DataRefused: It cannot work: fewer than 2 photos, a class without any, or
            nothing to see on any of them.
    """
    if isinstance(asked, Request):
        return _check(asked)
    found = [*getattr(asked, "notes", ()), *_check(_request_of(asked))]
    odd = check_looks(asked.reference(_LOOKED_AT).images)
    return found if odd is None else [*found, odd]


def _request_of(source: Source) -> Request:
    counts = source.describe().get("counts", ())
    return Request(
        size=source.size, channels=source.channels, photos=source.photos,
        windows=source.has_places, classes=source.classes, counts=counts,
        sizes=getattr(source, "sizes", _NO_SIZES),
    )  # fmt: skip


def _check(request: Request) -> list[str]:
    if request.photos < 2:
        raise DataRefused(
            f"a GAN cannot learn from so few photos: {request.photos} to train on; give"
            " at least 2, better 50 of each class"
        )
    _check_size(request)
    _check_classes(request)
    found = [_many_pixels(request), _enlarged(request), _few(request)]
    return [text for text in found if text is not None]


def check_looks(images: NDArray[np.uint8]) -> str | None:
    """Return what is odd about photos that were looked at, or None.

    Args:
        images: Some of the photos, uint8 [N, H, W, C].

    Raises:
        DataRefused: There is nothing to learn: each is one colour, or all are the same.
    """
    if not len(images):
        return None
    rows = images.reshape(len(images), -1, images.shape[3])
    plain = (rows == rows[:, :1]).all(axis=(1, 2))
    if plain.all():
        raise DataRefused(
            f"all {len(images)} photos that were looked at are constant, one colour"
            " each: there is nothing to learn; look at the data with `fiberaug preview`"
        )
    if len(images) > 1 and (images == images[:1]).all():
        raise DataRefused(
            f"all {len(images)} photos that were looked at are the same one: there is"
            " nothing to learn; look at the data with `fiberaug preview`"
        )
    if plain.any():
        return (
            f"{int(plain.sum())} of {len(images)} photos that were looked at are one"
            " colour each: blank photos are learnt like others; take them out of the"
            " data if they are no part of it"
        )
    return None


def _check_size(request: Request) -> None:
    height, width = request.size
    if max(request.size) <= _LARGEST:
        return
    numbers = height * width * request.channels
    what = "windows" if request.windows else "whole photos"
    small = "x".join(map(str, smaller(request.size, 128)))
    ways = [
        f"--size {small} (size={small!r}) learns small photos of the same aspect",
        f"{_EDITING} keeps their size and needs few of them",
    ]
    if not request.windows:
        ways.insert(
            0,
            "--windows with a small --size such as 128x128 (windows=True, size=128)"
            " learns windows of the photos at full sharpness",
        )
    raise UsageError(
        f"a GAN cannot learn {what} of {height}x{width} px from {request.photos:,}"
        f" photos: one is {numbers / 1e6:.1f} million numbers, and published GANs stop"
        f" at {_LARGEST} px, from 70,000 photos (FFHQ) and days on 8 GPUs. What works: "
        + "; ".join(ways)
    )


def smaller(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Return (height, width) of about the same aspect that a network can have.

    Args:
        size: (height, width), px.
        longest: Longer side, px, a multiple of 16.
    """
    scale = longest / max(size)
    height, width = (max(16, 16 * round(side * scale / 16)) for side in size)
    return height, width


def _check_classes(request: Request) -> None:
    empty = [
        name
        for name, count in zip(request.classes, request.counts, strict=False)
        if not count
    ]
    if empty:
        raise DataRefused(
            f"{len(empty)} of {len(request.classes)} classes have no photo to train on:"
            f" {_names(empty)}; give them photos, number labels without gaps, hold"
            " none out (held_out=0), or train without classes (conditional=False)"
        )


def _many_pixels(request: Request) -> str | None:
    if request.windows or max(request.size) <= _LARGE or request.photos >= _MANY:
        return None
    height, width = request.size
    small = "x".join(map(str, smaller(request.size, 128)))
    return (
        f"whole photos of {height}x{width} px from {request.photos:,} photos: above"
        f" {_LARGE} px a GAN needs about {_MANY:,} photos; expect blurred or copied"
        f" ones. What works better: --windows (windows=True), --size {small}, or"
        f" {_EDITING}"
    )


def _enlarged(request: Request) -> str | None:
    if not len(request.sizes):
        return None
    short = np.any(request.sizes < np.asarray(request.size), axis=1)
    if not short.any():
        return None
    height, width = np.median(request.sizes, axis=0)
    return (
        f"{int(short.sum()):,} of {len(short):,} photos are smaller than"
        f" {request.size[0]}x{request.size[1]} px (the median is {height:.0f}x"
        f"{width:.0f}) and are enlarged: that adds no detail, and costs time; give a"
        " smaller size"
    )


def _few(request: Request) -> str | None:
    if not request.classes:
        if request.photos >= _FEW:
            return None
        return (
            f"{request.photos} photos to train on: below {_FEW} a generator mostly"
            f" copies them. {_REMEDY}"
        )
    few = [
        f"{name} {count}"
        for name, count in zip(request.classes, request.counts, strict=False)
        if count < _FEW
    ]
    if not few:
        return None
    return (
        f"{len(few)} of {len(request.classes)} classes have fewer than {_FEW} photos to"
        f" train on ({_names(few)}): with about 20 a class a GAN made a classifier's"
        f" bias gap 20.7 % worse, the boundary lies between 20 and {_FEW} (arXiv"
        f" 2603.16134). {_REMEDY}"
    )


_REMEDY = (
    f"Better: more photos, fewer and larger classes, or {_EDITING}; and try on photos"
    " that are held out whether a pool helps, before it is used"
)


def _names(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    shown = ", ".join(names[:_NAMED])
    return shown if more <= 0 else f"{shown} and {more} more"
