"""Photos of street cabinets in three states: 12 Mpx each, every one another photo.

    python benchmarks/cabinet_photos.py PHOTOS --photos 3000 --scenes 1032

A photo is a function of its number. Those that are there already are left alone, so
the same call goes on where one that was killed had come to. With fewer scenes than
photos a cabinet is photographed several times: from the other side of the street, with
another exposure, white balance and noise, and the camera held a little askew.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.demo.cabinet import (
    _cables,
    _equipment,
    _front,
    _outside,
    _photograph,
    _shell,
)
from fiberaug.demo.parts import Cabinet
from fiberaug.demo.scene import Canvas, Colour, Points, soft_noise, subpixel

__all__ = ["STATES", "photo", "photo_path", "render_all"]

STATES = ("clean", "dusty", "rusty")
"""Classes: what years outside have done to a cabinet; to be seen in any part of it."""

QUALITY = 90
_STREAM = 0x5747E
_COARSE = 12  # dust and rust are soft: one value for so many px each way
_DUST: Colour = (196, 178, 146)
_SHIFT_BITS = 4


class QuickCanvas(Canvas):
    """A canvas that takes half the time: ramps are off by a level, shadows by a pixel.

    Ramps of colour are mixed in uint8, and shadows are enlarged by what OpenCV does
    fastest.
    """

    def fill(
        self,
        outline: Points,
        colour: Colour,
        *,
        to: Colour | None = None,
        opacity: float = 1.0,
        ident: int | None = None,
    ) -> None:
        """Fill a polygon, see :meth:`fiberaug.demo.scene.Canvas.fill`."""
        window = self._window(outline, margin=1.0)
        if to is None or opacity < 1.0 or window is None:
            super().fill(outline, colour, to=to, opacity=opacity, ident=ident)
            return
        at = subpixel(outline, scale=self.scale)
        if ident is not None:
            cv2.fillPoly(self.ids, [at], ident, cv2.LINE_8, _SHIFT_BITS)
        rows, columns = window
        height, width = rows.stop - rows.start, columns.stop - columns.start
        cover = np.zeros((height, width), np.uint8)
        corner = np.array([columns.start, rows.start]) << _SHIFT_BITS
        cv2.fillPoly(cover, [at - corner], 255, cv2.LINE_AA, _SHIFT_BITS)
        ramp = np.linspace(0.0, 1.0, height)[:, None, None]
        first = np.array(colour)
        column = (first + ramp * (np.array(to) - first) + 0.5).astype(np.uint8)
        paint = cv2.resize(column, (width, height), interpolation=cv2.INTER_NEAREST)
        patch = self.image[rows, columns]
        _mix(patch, paint, cover)

    def shade(
        self,
        shape: Points,
        *,
        strength: float,
        blur: float,
        shift: tuple[float, float] = (0.0, 0.0),
        width: float | None = None,
    ) -> None:
        """Darken softly, see :meth:`fiberaug.demo.scene.Canvas.shade`."""
        moved = (shape + np.array(shift)).astype(np.float32)
        window = self._window(moved, margin=2.5 * blur + (width or 0.0))
        if window is None:
            return
        rows, columns = window
        height, across = rows.stop - rows.start, columns.stop - columns.start
        coarse = int(np.clip(blur * self.scale / 2.0, 1.0, 8.0))
        small = np.zeros((height // coarse + 2, across // coarse + 2), np.uint8)
        corner = np.array([columns.start, rows.start]) / self.scale
        at = subpixel((moved - corner).astype(np.float32), scale=self.scale / coarse)
        if width is None:
            cv2.fillPoly(small, [at], 255, cv2.LINE_AA, _SHIFT_BITS)
        else:
            thick = max(1, round(width * self.scale / coarse))
            cv2.polylines(small, [at], False, 255, thick, cv2.LINE_AA, _SHIFT_BITS)  # noqa: FBT003  # OpenCV's order
        soft = cv2.GaussianBlur(small, (0, 0), max(blur * self.scale / coarse, 0.3))
        light = cv2.convertScaleAbs(soft, alpha=-strength, beta=255.0)
        full = cv2.resize(light, (light.shape[1] * coarse, light.shape[0] * coarse))
        patch = self.image[rows, columns]
        shadow = cv2.merge([full[:height, :across]] * 3)
        cv2.multiply(patch, shadow, patch, scale=1.0 / 255.0)


def _mix(
    patch: NDArray[np.uint8], paint: NDArray[np.uint8], share: NDArray[np.uint8]
) -> None:
    """Lay ``paint`` over ``patch``, as much of it as ``share`` of 255 says."""
    over = cv2.merge([share] * 3)
    cv2.multiply(paint, over, paint, scale=1.0 / 255.0)
    cv2.multiply(patch, cv2.bitwise_not(over), over, scale=1.0 / 255.0)
    cv2.add(paint, over, patch)


def photo(number: int, *, size: tuple[int, int] = (3024, 4032)) -> NDArray[np.uint8]:
    """Return a photo, uint8 [H, W, 3]; its state is ``STATES[number % 3]``.

    Args:
        number: Names the photo, from 0.
        size: Height and width, px, at least 128 each.
    """
    rng = np.random.default_rng([number, _STREAM])
    cabinet = Cabinet(
        canvas=QuickCanvas(size), rng=rng, width=1000.0 * size[1] / size[0]
    )
    _outside(cabinet)
    _shell(cabinet)
    _equipment(cabinet)
    _cables(cabinet)
    _front(cabinet)
    _weather(cabinet, STATES[number % len(STATES)])
    return _photograph(cabinet).image


def photographed_again(pixels: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """Return another photo of the same cabinet, uint8 [H, W, 3].

    Args:
        pixels: The first photo, uint8 [H, W, 3].
        number: Names the photo.
    """
    rng = np.random.default_rng([number, _STREAM, 1])
    height, width = pixels.shape[:2]
    middle = width / 2, height / 2
    turn = cv2.getRotationMatrix2D(
        middle, float(rng.uniform(-1.5, 1.5)), float(rng.uniform(1.0, 1.12))
    )
    turn[:, 2] += rng.uniform(-0.02, 0.02, 2) * (width, height)
    if rng.random() < 0.5:
        pixels = cv2.flip(pixels, 1)
    pixels = cv2.warpAffine(
        pixels, turn, (width, height), borderMode=cv2.BORDER_REFLECT_101
    )
    levels = np.linspace(0.0, 1.0, 256)
    gains = rng.uniform(0.8, 1.2) * rng.uniform(0.95, 1.05, 3)
    curve = levels[:, None] ** rng.uniform(0.85, 1.2) * gains * 255.0
    table = curve.round().clip(0, 255).astype(np.uint8)[None]
    noise = rng.integers(-4, 5, (257, 1021, 1), np.int8)
    pixels = np.asarray(cv2.LUT(pixels, table), np.uint8)
    repeats = -(-height // 257), -(-width // 1021), 1
    grain = np.tile(noise, repeats)[:height, :width]
    return cv2.add(pixels, cv2.merge([grain] * 3), dtype=cv2.CV_8U)


def _weather(cabinet: Cabinet, state: str) -> None:
    """Cover all that is drawn with what its state leaves on it."""
    canvas, rng = cabinet.canvas, cabinet.rng
    height, width = canvas.ids.shape
    low = (max(2, height // _COARSE), max(2, width // _COARSE))
    if state == "dusty":
        cloud = soft_noise(rng, low, cells=(7, 9)) + soft_noise(
            rng, low, cells=(40, 50)
        )
        settled = np.linspace(0.0, 0.2, low[0], dtype=np.float32)[:, None]
        share = np.clip(rng.uniform(0.28, 0.42) + settled + 0.07 * cloud, 0.15, 0.75)
        over = np.asarray(_full(share, canvas), np.uint8)
        paint = np.empty_like(canvas.image)
        paint[:] = np.array(_DUST, np.uint8)
        _mix(canvas.image, paint, over)
    elif state == "rusty":
        streaks = soft_noise(rng, low, cells=(9, 220)) + soft_noise(
            rng, low, cells=(24, 90)
        )
        blots = soft_noise(rng, low, cells=(50, 66))
        eaten = np.clip(rng.uniform(0.25, 0.45) + 0.3 * streaks + 0.2 * blots, 0.0, 1.0)
        light = [_full(1.0 - eaten * part, canvas) for part in (0.30, 0.62, 0.86)]
        cv2.multiply(canvas.image, cv2.merge(light), canvas.image, scale=1.0 / 255.0)


def _full(field: NDArray[np.floating[Any]], canvas: Canvas) -> NDArray[np.uint8]:
    """Return a coarse field of [0, 1] at the canvas's size, uint8 [H, W]."""
    height, width = canvas.ids.shape
    levels = np.round(field * 255.0).astype(np.uint8)
    return np.asarray(cv2.resize(levels, (width, height)), np.uint8)


def photo_path(folder: Path, number: int) -> Path:
    """Return where a photo lies: in a folder for each state."""
    return folder / STATES[number % len(STATES)] / f"cabinet-{number:05d}.jpg"


def _pixels(
    folder: Path, number: int, size: tuple[int, int], scenes: int
) -> NDArray[np.uint8]:
    """Return a photo, of a scene that is there already or is rendered."""
    if number < scenes:
        return photo(number, size=size)
    first = number % scenes
    held = cv2.imread(str(photo_path(folder, first)))
    if held is None:
        pixels = photo(first, size=size)
    else:
        pixels = np.asarray(cv2.cvtColor(held, cv2.COLOR_BGR2RGB), np.uint8)
    return photographed_again(pixels, number)


def _write(task: tuple[Path, int, tuple[int, int], int]) -> int:
    """Render a photo that is not there yet; return its bytes."""
    folder, number, size, scenes = task
    path = photo_path(folder, number)
    if path.exists():
        return path.stat().st_size
    cv2.setNumThreads(1)
    rgb = _pixels(folder, number, size, scenes)
    pixels = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        file.write(data.tobytes())
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return len(data)


def render_all(
    folder: Path,
    count: int,
    *,
    size: tuple[int, int] = (3024, 4032),
    processes: int = 2,
    scenes: int | None = None,
) -> Iterator[int]:
    """Write the photos 0 to ``count`` - 1 and yield the bytes of each, in order.

    Args:
        folder: Gets a folder for each state.
        count: How many, >= 1.
        size: Height and width, px.
        processes: That render at the same time, >= 1.
        scenes: Cabinets, a multiple of 3; None: as many as photos.
    """
    scenes = count if scenes is None else scenes
    if scenes % len(STATES) and scenes < count:
        raise ValueError(f"scenes must be a multiple of {len(STATES)}, got {scenes}")
    for state in STATES:
        (folder / state).mkdir(parents=True, exist_ok=True)
    tasks = [(folder, number, size, scenes) for number in range(count)]
    with get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(_write, tasks)


def main() -> None:
    """Read the arguments, render, and say how far it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=3000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--scenes", type=int)
    options = parser.parse_args()
    total = 0
    rendered = render_all(
        options.folder, options.photos, processes=options.processes,
        scenes=options.scenes,
    )  # fmt: skip
    for done, size in enumerate(rendered, start=1):
        total += size
        if done % 50 == 0 or done == options.photos:
            sys.stdout.write(f"{done} photos, {total / 1e6:,.0f} MB\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
