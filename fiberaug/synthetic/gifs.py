"""Frames as a file that moves."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fiberaug.errors import UsageError
from fiberaug.files import write_atomically

__all__ = ["write_gif"]

_LAST_MS = 1000  # the last frame is looked at longer
_MOST_MS = 65_535 * 10


def write_gif(
    frames: NDArray[np.uint8], path: str | Path, *, frame_ms: int = 80
) -> Path:
    """Write frames as a GIF that repeats for ever, and return its path.

    Args:
        frames: uint8 [T, H, W, C], C 1 or 3, at least one.
        path: Of the file, ending in ``.gif``; it is replaced.
        frame_ms: Time of a frame, 20 to 655,350 ms; the last stays a second more.

    Raises:
        UsageError: They are no such frames, the path ends otherwise, or ``frame_ms`` is
            out of its range.
        StoreError: The file cannot be written.
    """
    path, frames = Path(path), np.asarray(frames)
    sound = frames.dtype == np.uint8 and frames.ndim == 4 and frames.size
    if not sound or frames.shape[3] not in {1, 3}:
        raise UsageError(
            f"frames must be uint8 [T, H, W, 1 or 3], got {frames.dtype}"
            f" {list(frames.shape)}"
        )
    if path.suffix.lower() != ".gif":
        raise UsageError(f"path must end in .gif, got {path}")
    if type(frame_ms) is not int or not 20 <= frame_ms <= _MOST_MS - _LAST_MS:
        raise UsageError(
            f"frame_ms must be an integer from 20 to {_MOST_MS - _LAST_MS}, got"
            f" {frame_ms!r}"
        )
    plain = frames[..., 0] if frames.shape[3] == 1 else frames
    first, *others = [Image.fromarray(one) for one in plain]
    times = [frame_ms] * len(others) + [frame_ms + _LAST_MS]
    content = io.BytesIO()
    first.save(
        content, "GIF", save_all=True, append_images=others, duration=times, loop=0
    )
    write_atomically(path, content.getvalue())
    return path
