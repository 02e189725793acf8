"""One synthetic sample between its making and its shard."""

from typing import NamedTuple

from fiberaug.jobs.copies import Fingerprint

__all__ = ["MadeSample"]


class MadeSample(NamedTuple):
    """One sample that was made, and all that is needed to judge it."""

    label: int
    number: int
    """Number in its class, from 0."""

    seed: int
    shape: tuple[int, int, int]
    """Height, width and channels."""

    extension: str
    image: bytes
    """The marked image file."""

    pixels: str
    """SHA-256 of the pixels that it decodes to: see
    :func:`fiberaug.synthetic.truth.pixels_sha256`."""

    rgb: str
    """The same of its RGB pixels."""

    looks: Fingerprint
    confidence: float | None
    """What a classifier said; None: there is none."""

    text: str
    """The JSON member: where it comes from."""

    parts: tuple[str, ...]
    """The part of the data that each of its parents is of; empty text: not known."""
