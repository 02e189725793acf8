"""Images of other colour spaces to sRGB, which is what training takes them for.

Source: ICC.1:2022; relative colorimetric intent with black point compensation (ISO
18619), by LittleCMS as Pillow has it.
"""

import io
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.header import PILLOW_FORMATS, ImageLimits, read_header
from fiberaug.decode.orientation import upright
from fiberaug.decode.png import still_png
from fiberaug.decode.refusing import Refusing
from fiberaug.errors import SampleBroken, UsageError
from fiberaug.jobs.encoding import ENCODINGS, encode_image
from fiberaug.marking import carry

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageCms import ImageCmsTransform

__all__ = ["to_srgb"]

_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_GRAY = frozenset({"1", "L", "LA", "I;16", "I;16B", "I;16L"})
_COLOUR = frozenset({"P", "PA", "RGB", "RGBA", "RGBX", "YCbCr"})


def to_srgb(
    data: bytes | memoryview, *, encoding: str = "keep", quality: int = 90
) -> bytes | None:
    """Return an image file as upright sRGB; None where it is sRGB or has no profile.

    The new file has neither profile nor EXIF, 8 bits a channel, one frame, and the mark
    of a synthetic one (:mod:`fiberaug.marking`). Gray
    stays gray, and alpha stays where the format has it. A profile is sRGB where it
    changes no colour by more than 1 level, whatever its name.

    Args:
        data: An image file. Only an embedded ICC profile for RGB, gray or CMYK is read,
            no other statement of a colour space (EXIF, gAMA, cICP).
        encoding: ``jpeg``, ``png``, ``webp``, or ``keep``: the file's own format, png
            where that is none of them.
        quality: Of JPEG and WebP, 1 to 100.

    Raises:
        SampleBroken: The bytes are no image, or the profile is broken or does not fit.
        LimitExceeded: The image is too large.
        UsageError: The encoding is unknown.
    """
    from PIL import Image  # noqa: PLC0415  # only where colours are asked for

    if encoding not in {"keep", *ENCODINGS}:
        raise UsageError(
            f"encoding must be keep or one of {sorted(ENCODINGS)}, got {encoding!r}"
        )
    header = read_header(data)
    ImageLimits().check(header)
    if encoding == "keep":
        encoding = header.format if header.format in ENCODINGS else "png"
    with Refusing(f"the {header.format.upper()} cannot be converted to sRGB"):
        still = still_png(data).data if header.format == "png" else data
        with Image.open(io.BytesIO(still), formats=PILLOW_FORMATS) as image:
            if "icc_profile" not in image.info:
                return None
            image.load()
            pixels = _converted(image)
    if pixels is None:
        return None
    pixels = upright(pixels, 1 if header.format == "tiff" else header.orientation)
    if pixels.shape[2] in {2, 4} and encoding != "jpeg":
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, encoding, quality=quality, exact=True)
        return carry(data, file.getvalue())
    pixels = pixels[:, :, 0] if pixels.shape[2] < 3 else pixels[:, :, :3]
    plain = np.ascontiguousarray(pixels)
    return carry(data, encode_image(plain, encoding, quality=quality))


def _converted(image: "Image") -> NDArray[np.uint8] | None:
    """Return sRGB or gray pixels [H, W, C], maybe with alpha; None if they are it."""
    from PIL import ImageCms  # noqa: PLC0415

    profile, mode = image.info["icc_profile"], image.mode
    name = f"the ICC profile of {len(profile or b'')} bytes"
    if not profile:
        raise SampleBroken(f"{name} is empty, cut or not all there", stage="decode")
    with Refusing(f"{name} is broken"):
        space, transform, is_srgb = _transform(profile, gray=mode in _GRAY)
    kind = "GRAY" if mode in _GRAY else "RGB" if mode in _COLOUR else mode
    if space != kind and (space, kind) != ("RGB", "GRAY"):
        raise SampleBroken(
            f"{name} is for {space} pixels, the image has {kind}", stage="decode"
        )
    if is_srgb:
        return None
    alpha = None
    if mode in {"LA", "PA", "RGBA"} or "transparency" in image.info:
        image = image.convert("LA" if mode in {"1", "L", "LA"} else "RGBA")
        alpha = np.array(image.getchannel("A"))[:, :, None]
    elif mode.startswith("I;16"):
        image = image.point(lambda level: level / 256).convert("L")
    found = ImageCms.applyTransform(image.convert(_SPACES[space]), transform)
    pixels = np.array(found)
    pixels = pixels[:, :, 1:2] if kind == "GRAY" else pixels
    return pixels if alpha is None else np.concatenate([pixels, alpha], axis=2)


@lru_cache(maxsize=8)
def _transform(profile: bytes, *, gray: bool) -> "tuple[str, ImageCmsTransform, bool]":
    """Return a profile's space, its way to sRGB, and whether that changes nothing."""
    from PIL import Image, ImageCms  # noqa: PLC0415

    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = source.profile.xcolor_space.strip()
    if space not in _SPACES:
        raise SampleBroken(
            f"the ICC profile of {len(profile)} bytes is for {space} pixels; it can be"
            f" for {', '.join(_SPACES)}",
            stage="decode",
        )
    transform = ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        _SPACES[space],
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if space == "CMYK":
        return space, transform, False
    colours: NDArray[Any] = np.arange(256)[:, None, None].repeat(3, axis=2)
    if not gray:
        colours = np.indices((16, 16, 16)).reshape(3, -1, 1).transpose(1, 2, 0) * 17
    sample = Image.fromarray(colours.astype(np.uint8)).convert(_SPACES[space])
    changed = np.array(ImageCms.applyTransform(sample, transform)) - colours
    return space, transform, bool(np.abs(changed).max() <= 1)
