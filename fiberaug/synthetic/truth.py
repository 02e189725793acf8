"""Whether a provenance is true of the file that it stands beside."""

from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image
from fiberaug.errors import DataRefused
from fiberaug.marking import COMPOSITE, read_mark
from fiberaug.synthetic.provenance import Provenance

__all__ = ["pixels_sha256", "verify"]


def pixels_sha256(pixels: NDArray[Any]) -> str:
    """Return the hash of an image, the same in whatever lossless file it is kept.

    Args:
        pixels: [H, W] or [H, W, C]; a single channel is the same with and without C.
    """
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    head = f"{pixels.dtype} {list(pixels.shape)}\n".encode()
    return sha256(head + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def file_sha256(data: bytes) -> str:
    """Return the hash of the pixels that an image file decodes to, colours kept.

    Raises:
        SampleBroken: It is no image.
        LimitExceeded: It is too large.
    """
    pixels, _ = decode_image(data, limits=ImageLimits(), color="keep", depth="keep")
    return pixels_sha256(pixels)


def verify(
    provenance: Provenance,
    data: bytes,
    *,
    label: float | list[float] | None = None,
) -> list[str]:
    """Return which statements of a provenance are not true of an image file.

    An augmented or lossily encoded image has other pixels than the one that was made:
    then the hashes are told here, which is as it should be.

    Args:
        provenance: What is stated.
        data: The image file.
        label: The sample's label, where it is known.

    Returns:
        One sentence a statement, each beginning with the field; empty: all hold.
    """
    told: list[str] = []
    given = provenance.bytes_sha256
    if given is not None and given != sha256(data).hexdigest():
        told.append("bytes_sha256: the file has other bytes")
    try:
        if provenance.pixels_sha256 != file_sha256(data):
            told.append("pixels_sha256: the image has other pixels")
    except DataRefused as error:
        told.append(f"pixels_sha256: the image cannot be decoded: {error.message}")
    found, asked = read_mark(data), provenance.digital_source_type
    if found != asked:
        has = "has no mark" if found is None else f"is marked {found}"
        told.append(f"digital_source_type: the file {has}, not {asked}")
    if asked == COMPOSITE and not provenance.parents:
        told.append("parents: a composite has some, none is named")
    stated = provenance.label
    plain = list(stated) if isinstance(stated, tuple) else stated
    if label is not None and plain is not None and plain != label:
        told.append(f"label: the sample has {label}, not {plain}")
    return told
