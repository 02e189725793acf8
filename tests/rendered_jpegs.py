"""JPEGs of every kind that the package decodes, rendered, and windows of them."""

import random

import cv2
import numpy as np
from sets import turned

__all__ = ["KINDS", "render", "segments", "soft_noise", "windows"]

_SAMPLING = {
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:4:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    "4:1:1": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
    "rgb": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}
_COLORS = (*_SAMPLING, "gray", "gray 2x2")
_WAYS = ("baseline", "progressive", "restarts", "optimized", "turned")
KINDS = tuple(f"{color} {way}" for color in _COLORS for way in _WAYS)
"""Such as ``4:2:0 progressive``."""

_ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64" + bytes(5)
_PLAIN = b"\x01\x11\x00"  # of a frame header: one channel, sampling 1x1, table 0


def soft_noise(seed: int, height: int, width: int, *, gray: bool = False) -> np.ndarray:
    """Noise that is soft enough to have colours, and sharp enough to leak over."""
    shape = (height, width) if gray else (height, width, 3)
    noise = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 0.8) // 2 + noise // 2


def render(kind: str, height: int, width: int, *, seed: int = 0) -> bytes:
    """A JPEG of one of ``KINDS``; the seed chooses pixels, quality and interval."""
    color, way = kind.rsplit(" ", 1)
    rng = random.Random(seed)
    quality = rng.choice((3, 30, 75, 90, 100))
    pixels = soft_noise(seed, height, width, gray=color.startswith("gray"))
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    settings += [cv2.IMWRITE_JPEG_PROGRESSIVE, int(way == "progressive")]
    settings += [cv2.IMWRITE_JPEG_OPTIMIZE, int(way == "optimized")]
    if way == "restarts":
        settings += [cv2.IMWRITE_JPEG_RST_INTERVAL, rng.randint(1, 9)]
    if not color.startswith("gray"):
        settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, _SAMPLING[color]]
    data = cv2.imencode(".jpg", pixels, settings)[1].tobytes()
    if color == "rgb":  # Adobe's word for it, in place of the JFIF segment
        data = data[:2] + _ADOBE_RGB + data[20:]
    if color == "gray 2x2":
        data = data.replace(_PLAIN, b"\x01\x22\x00", 1)
    return turned(data, rng.randint(1, 8)) if way == "turned" else data


def windows(rng: random.Random, width: int, height: int, count: int):
    """Windows of a picture: small and large ones, at its edges, and the whole."""
    for _ in range(count):
        x = sorted(rng.sample(range(width + 1), 2))
        y = sorted(rng.sample(range(height + 1), 2))
        for ends, most in ((x, width), (y, height)):
            how = rng.random()
            if how < 0.1:
                ends[:] = 0, most
            elif how < 0.2:
                ends[0] = 0
            elif how < 0.3:
                ends[1] = most
            elif how < 0.4:
                ends[1] = ends[0] + 1
        yield x[0], y[0], x[1], y[1]


def segments(data: bytes) -> list[tuple[int, bytes]]:
    """The marker segments before the first scan: marker and content, in order."""
    at, found = 2, []
    while data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        found.append((data[at + 1], data[at + 4 : at + 2 + length]))
        at += 2 + length
    return found
