"""Windows of JPEGs without the rest of the picture, by the libjpeg-turbo of Pillow.

OpenCV decodes a JPEG whole. The compiled module beside this one decodes the rows and
columns that a window needs, or a reduced picture, or writes restart markers; it opens
the library that Pillow's wheel carries and brings none of its own. Its pixels are those
of :func:`fiberaug.decode.opencv.decode_rgb`.

Every function gives None where it cannot, for whatever reason: the module was not
built, Pillow came without the library, the file is of a rare kind, or libjpeg has a
word to say about it. The caller then decodes the file whole with OpenCV, which alone
decides whether it is broken.

``FIBERAUG_JPEG=opencv`` in the environment, set before the first call, switches the
module off.
"""

import functools
import importlib.util
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.header import ImageLimits, read_header
from fiberaug.errors import LimitExceeded, UsageError

try:
    from fiberaug.decode import _turbo
except ImportError:  # there was no compiler when the package was installed
    _BUILT = False
else:
    _BUILT = True

__all__ = ["available", "decode_window", "sound", "why_not", "with_restarts"]

_SWITCH = "FIBERAUG_JPEG"
_PLACES = ("../pillow.libs/libjpeg-*.so.62*", ".dylibs/libjpeg.62*.dylib")
_LIMITS = ImageLimits()
_SCALES = (1, 2, 4, 8)
_MOST = 65_535  # what a restart interval can say

_Window = tuple[int, int, int, int]


def available() -> bool:
    """Return whether the functions of this module do anything here.

    Raises:
        UsageError: ``FIBERAUG_JPEG`` is neither ``turbo`` nor ``opencv``.
    """
    return not why_not()


@functools.cache
def why_not() -> str:
    """Return one line on why :func:`available` is false; empty where it is true.

    Raises:
        UsageError: ``FIBERAUG_JPEG`` is neither ``turbo`` nor ``opencv``.
    """
    choice = os.environ.get(_SWITCH, "turbo")
    if choice == "opencv":
        return f"{_SWITCH}=opencv is set"
    if choice != "turbo":
        raise UsageError(f"{_SWITCH} is turbo or opencv, got {choice!r}")
    if not _BUILT:
        return (
            "fiberaug was installed where no C compiler was: install one, and then"
            " fiberaug with pip's --force-reinstall --no-deps --no-cache-dir"
        )
    library = _library()
    if library is None:
        return "Pillow has no libjpeg-turbo of its own: install its wheel with pip"
    if not _turbo.load(str(library)):
        return f"{library.name} is not libjpeg-turbo 3: pip install 'fiberaug[fast]'"
    return ""


def decode_window(
    data: bytes | memoryview,
    width: int,
    height: int,
    window: _Window,
    *,
    scale: int = 1,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8] | None:
    """Return a window of a JPEG, RGB uint8 [h, w, 3]; None: decode it with OpenCV.

    The pixels are those of the whole picture, decoded and cut. What comes after the
    window in the file is not looked at: a window of a file that is cut off or damaged
    further down can succeed. :func:`sound` says whether the rest would as well.

    Args:
        data: The file.
        width: Of the whole picture as its header says, px of the stored frame, before
            the EXIF orientation. A file with another size gives None.
        height: Alike.
        window: (x_min, y_min, x_max, y_max), px of the stored frame of the picture at
            1 / ``scale``, which has ceil(width / scale) x ceil(height / scale) px.
        scale: 1, 2, 4 or 8; above 1 libjpeg makes the smaller picture directly.
        out: Where the pixels go, C-contiguous, of the shape of the window; it is
            returned. After None its content is undefined.

    Raises:
        UsageError: The window is empty or leaves the picture, or ``scale`` or ``out``
            is none of these.
    """
    if scale not in _SCALES:
        raise UsageError(f"scale is 1, 2, 4 or 8, got {scale}")
    x0, y0, x1, y1 = window
    across, down = -(-width // scale), -(-height // scale)
    if not (0 <= x0 < x1 <= across and 0 <= y0 < y1 <= down):
        raise UsageError(
            f"the window {window} is empty or leaves the {across}x{down} px of the"
            f" JPEG at 1/{scale}"
        )
    shape = (y1 - y0, x1 - x0, 3)
    if out is None:
        out = np.empty(shape, np.uint8)
    elif out.shape != shape or out.dtype != np.uint8 or not out.flags.carray:
        raise UsageError(
            f"out is uint8 {shape}, C-contiguous and writable; got {out.dtype}"
            f" {out.shape}, {out.flags.carray}"
        )
    if not available():
        return None
    try:
        done = _turbo.decode(data, out, width, height, x0, y0, x1, y1, scale)
    except ValueError:  # OpenCV shall say it
        return None
    return out if done else None


def sound(data: bytes | memoryview) -> bool | None:
    """Return whether a JPEG decodes whole without error or warning; None: not known.

    All of the entropy-coded data is read, and pixels are made of the last one only;
    that takes about half of the time of decoding.

    Args:
        data: The file.
    """
    if not available():
        return None
    try:
        _LIMITS.check(read_header(data))
        return _turbo.check(data) or None
    except LimitExceeded:
        return None
    except ValueError:  # libjpeg's words, or SampleBroken
        return False


def with_restarts(
    data: bytes | memoryview, *, interval_mcus: int, rows: int = 0
) -> bytes | None:
    """Return the same JPEG with restart markers; None where it is left as it is.

    The coefficients, and so the pixels, and all APPn and COM segments are those of the
    file; the Huffman tables are made anew to fit it, and a progressive file becomes a
    sequential one. The file was read to its end without a warning.

    Args:
        data: The file.
        interval_mcus: MCUs between two markers, 0 to 65,535; 0 writes none.
        rows: Instead, rows of MCUs between two markers, where it is not 0.

    Raises:
        UsageError: A number is out of range.
    """
    if not (0 <= interval_mcus <= _MOST and 0 <= rows <= _MOST):
        raise UsageError(
            f"restart markers are 0 to {_MOST} MCUs or rows apart, got {interval_mcus}"
            f" and {rows}"
        )
    if not available():
        return None
    try:
        header = read_header(data)
        _LIMITS.check(header)
        copy = _turbo.add_restarts(data, interval_mcus, rows)
        # An EXIF block behind the frame header had no say before.
        return copy if copy is not None and read_header(copy) == header else None
    except ValueError:  # libjpeg's words, SampleBroken and LimitExceeded
        return None


def _library() -> Path | None:
    """Return where Pillow's wheel keeps libjpeg, without importing it."""
    spec = importlib.util.find_spec("PIL")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    return next((found for place in _PLACES for found in folder.glob(place)), None)
