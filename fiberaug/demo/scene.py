"""A rendered picture with its labels, and the drawing helpers that the scenes share.

Every helper draws from the generator that is handed in, so a scene is a function of its
seed and of nothing else.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Canvas",
    "Colour",
    "Points",
    "Scene",
    "blob",
    "chaikin",
    "rounded",
    "soft_noise",
    "subpixel",
    "tight_box",
    "to_uint8",
    "vignette",
]

Points = NDArray[np.float32]
Colour = tuple[float, float, float]

_SHIFT_BITS = 4
_SMALLEST_TEXT_PX = 9.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """One picture and everything that is known about it."""

    image: NDArray[np.uint8]
    """RGB pixels, uint8 [H, W, 3]."""
    mask: NDArray[np.uint8]
    """Class id of every pixel, uint8 [H, W]."""
    bboxes: NDArray[np.float32]
    """Boxes x_min, y_min, x_max, y_max in pixels, float32 [N, 4]; the maxima lie one
    past the last pixel, so that the width is x_max - x_min."""
    bbox_labels: tuple[str, ...]
    """Class name of each box, N of them."""
    label: str | None
    """Class of the whole picture, None when it has none."""


def soft_noise(
    rng: np.random.Generator, shape: tuple[int, int], *, cells: tuple[int, int]
) -> NDArray[np.float32]:
    """Return a smooth random field, float32 [H, W], mean 0 and deviation near 1.

    Args:
        rng: Source of the field.
        shape: Height and width in pixels.
        cells: Independent values along the height and along the width: few give broad
            clouds, many along one side only give streaks.
    """
    coarse = rng.standard_normal((max(2, cells[0]), max(2, cells[1])), np.float32)
    field = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(field, np.float32)


def vignette(
    shape: tuple[int, int], *, centre: tuple[float, float], strength: float
) -> NDArray[np.float32]:
    """Return a factor that falls from 1 at ``centre`` to 1 - strength, float32 [H, W].

    Args:
        shape: Height and width in pixels.
        centre: x and y of the bright spot, in [0, 1] of width and height.
        strength: What is lost at half a diagonal from the centre, in [0, 1].
    """
    y = (np.arange(shape[0], dtype=np.float32) / shape[0] - centre[1])[:, None]
    x = (np.arange(shape[1], dtype=np.float32) / shape[1] - centre[0])[None, :]
    return np.maximum(1.0 - strength * 2.0 * (x * x + y * y), 0.0).astype(np.float32)


def blob(
    rng: np.random.Generator, *, radius: float, roughness: float, corners: int = 24
) -> NDArray[np.float32]:
    """Return the outline of an irregular spot around (0, 0), float32 [corners, 2].

    Args:
        rng: Source of the outline.
        radius: Mean distance of the outline from (0, 0), in the caller's unit.
        roughness: Spread of that distance as a share of ``radius``; 0 is a circle.
        corners: Number of points.
    """
    angle = np.linspace(0.0, 2.0 * np.pi, corners, endpoint=False)
    distance = np.ones(corners)
    for wave in range(2, 6):
        phase = rng.uniform(0.0, 2.0 * np.pi)
        distance += (
            roughness
            * rng.uniform(0.3, 1.0)
            / wave
            * 2.0
            * np.sin(wave * angle + phase)
        )
    distance = radius * np.maximum(distance, 0.25)
    stretch = rng.uniform(0.7, 1.4)
    points = np.stack(
        [distance * np.cos(angle) * stretch, distance * np.sin(angle) / stretch], 1
    )
    turn = rng.uniform(0.0, np.pi)
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return np.asarray(points @ spin, np.float32)


def chaikin(points: NDArray[np.float32], *, rounds: int = 4) -> NDArray[np.float32]:
    """Return a smooth curve from the first to the last point, float32 [M, 2].

    Source: G. Chaikin, "An algorithm for high-speed curve generation", 1974.

    Args:
        points: Corners of the control polygon, float32 [N, 2].
        rounds: How often every corner is cut; the curve tends to a quadratic B-spline.
    """
    curve = points
    for _ in range(rounds):
        near, far = curve[:-1], curve[1:]
        cut = np.stack([0.75 * near + 0.25 * far, 0.25 * near + 0.75 * far], 1).reshape(
            -1, 2
        )
        curve = np.concatenate([points[:1], cut, points[-1:]]).astype(np.float32)
    return curve


def rounded(
    x_min: float, y_min: float, x_max: float, y_max: float, *, radius: float
) -> NDArray[np.float32]:
    """Return the outline of a rectangle with round corners, float32 [24, 2]."""
    turn = np.linspace(0.0, np.pi / 2.0, 6)
    corners = (
        (x_max - radius, y_max - radius, 0.0),
        (x_min + radius, y_max - radius, np.pi / 2.0),
        (x_min + radius, y_min + radius, np.pi),
        (x_max - radius, y_min + radius, np.pi * 1.5),
    )
    points = [
        np.stack([x + radius * np.cos(turn + a), y + radius * np.sin(turn + a)], 1)
        for x, y, a in corners
    ]
    return np.concatenate(points).astype(np.float32)


def subpixel(points: NDArray[np.float32], *, scale: float = 1.0) -> NDArray[np.int32]:
    """Return points in sixteenths of a pixel, as OpenCV takes them with ``shift=4``.

    Args:
        points: Positions, float32 [N, 2]; the centre of the first pixel is (0.5, 0.5).
        scale: Pixels per unit of ``points``.
    """
    return np.round((points * scale - 0.5) * (1 << _SHIFT_BITS)).astype(np.int32)


def tight_box(inside: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """Return x_min, y_min, x_max, y_max around the true pixels, None without any.

    Args:
        inside: bool [H, W].
    """
    columns = np.flatnonzero(inside.any(axis=0))
    rows = np.flatnonzero(inside.any(axis=1))
    if not columns.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def to_uint8(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return values of [0, 1] as uint8 of the same shape, clipped and rounded."""
    return np.asarray(
        cv2.convertScaleAbs(np.maximum(values, 0.0), alpha=255.0), np.uint8
    )


class Canvas:
    """A picture and a map of what is where, both drawn at once.

    Lengths are in thousandths of the picture's height, so that a scene looks the same
    at every size.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        ids: What each pixel shows, int16 [H, W]; 0 is nothing of interest.
        scale: Pixels per unit.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.image: NDArray[np.uint8] = np.zeros((*size, 3), np.uint8)
        self.ids: NDArray[np.int16] = np.zeros(size, np.int16)
        self.scale = size[0] / 1000.0

    def fill(
        self,
        outline: Points,
        colour: Colour,
        *,
        to: Colour | None = None,
        opacity: float = 1.0,
        ident: int | None = None,
    ) -> None:
        """Fill a polygon, from ``colour`` at its top to ``to`` at its bottom.

        Args:
            outline: Corners, float32 [N, 2] in units.
            colour: Red, green and blue in [0, 255].
            to: Colour at the bottom; None for one colour all over.
            opacity: In [0, 1].
            ident: What the pixels show from now on; None leaves that as it was.
        """
        at = subpixel(outline, scale=self.scale)
        if ident is not None:
            cv2.fillPoly(self.ids, [at], ident, cv2.LINE_8, _SHIFT_BITS)
        if to is None and opacity >= 1.0:
            cv2.fillPoly(self.image, [at], colour, cv2.LINE_AA, _SHIFT_BITS)
            return
        window = self._window(outline, margin=1.0)
        if window is None:
            return
        rows, columns = window
        cover = np.zeros(
            (rows.stop - rows.start, columns.stop - columns.start), np.uint8
        )
        corner = np.array([columns.start, rows.start]) << _SHIFT_BITS
        cv2.fillPoly(cover, [at - corner], 255, cv2.LINE_AA, _SHIFT_BITS)
        ramp = np.linspace(0.0, 1.0, cover.shape[0], dtype=np.float32)[:, None, None]
        first = np.array(colour, np.float32)
        paint = first + ramp * (np.array(to or colour, np.float32) - first)
        share = cover[:, :, None].astype(np.float32) * np.float32(opacity / 255.0)
        patch = self.image[rows, columns]
        patch[:] = (patch + share * (paint - patch) + 0.5).astype(np.uint8)

    def stroke(
        self,
        line: Points,
        colour: Colour,
        *,
        width: float,
        closed: bool = False,
        ident: int | None = None,
    ) -> None:
        """Draw a line of ``width`` units, at least one pixel, with round ends."""
        at = subpixel(line, scale=self.scale)
        thick = max(1, round(width * self.scale))
        cv2.polylines(self.image, [at], closed, colour, thick, cv2.LINE_AA, _SHIFT_BITS)
        if ident is not None:
            cv2.polylines(self.ids, [at], closed, ident, thick, cv2.LINE_8, _SHIFT_BITS)

    def shade(
        self,
        shape: Points,
        *,
        strength: float,
        blur: float,
        shift: tuple[float, float] = (0.0, 0.0),
        width: float | None = None,
    ) -> None:
        """Darken the picture softly under a polygon, or under a line of ``width``.

        Args:
            shape: Corners or line, float32 [N, 2] in units.
            strength: Share of the light that is lost, in [0, 1].
            blur: Softness of the shadow's edge in units.
            shift: Where the shadow falls, x and y in units.
            width: Width of the line in units; None for a polygon.
        """
        moved = (shape + np.array(shift)).astype(np.float32)
        window = self._window(moved, margin=2.5 * blur + (width or 0.0))
        if window is None:
            return
        rows, columns = window
        height, across = rows.stop - rows.start, columns.stop - columns.start
        # A blurred shadow has no detail: a fraction of the pixels carries it.
        coarse = float(np.clip(blur * self.scale / 2.0, 1.0, 8.0))
        small = np.zeros((int(height / coarse) + 2, int(across / coarse) + 2), np.uint8)
        corner = np.array([columns.start, rows.start]) / self.scale
        at = subpixel((moved - corner).astype(np.float32), scale=self.scale / coarse)
        if width is None:
            cv2.fillPoly(small, [at], 255, cv2.LINE_AA, _SHIFT_BITS)
        else:
            thick = max(1, round(width * self.scale / coarse))
            cv2.polylines(small, [at], False, 255, thick, cv2.LINE_AA, _SHIFT_BITS)  # noqa: FBT003
        soft = cv2.GaussianBlur(small, (0, 0), max(blur * self.scale / coarse, 0.3))
        grow = np.array([[coarse, 0, 0], [0, coarse, 0]], np.float32)
        full = cv2.warpAffine(soft, grow, (across, height), flags=cv2.INTER_LINEAR)
        light = cv2.convertScaleAbs(full, alpha=-strength, beta=255.0)
        patch = self.image[rows, columns]
        cv2.multiply(patch, cv2.merge([light] * 3), patch, scale=1.0 / 255.0)

    def write(
        self, text: str, place: tuple[float, float], colour: Colour, *, height: float
    ) -> None:
        """Print ``text`` with its lower left corner at ``place``, if it can be read."""
        size = height * self.scale
        if size < _SMALLEST_TEXT_PX:
            return
        at = (round(place[0] * self.scale), round(place[1] * self.scale))
        thick = max(1, round(size / 14.0))
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(self.image, text, at, font, size / 22.0, colour, thick, cv2.LINE_AA)

    def _window(self, shape: Points, *, margin: float) -> tuple[slice, slice] | None:
        """Return the rows and columns that a shape can touch, None when outside."""
        low = np.floor((shape.min(axis=0) - margin) * self.scale).astype(int)
        high = np.ceil((shape.max(axis=0) + margin) * self.scale).astype(int) + 1
        x_min, y_min = np.maximum(low, 0)
        x_max = min(int(high[0]), self.ids.shape[1])
        y_max = min(int(high[1]), self.ids.shape[0])
        if x_min >= x_max or y_min >= y_max:
            return None
        return slice(int(y_min), y_max), slice(int(x_min), x_max)
