"""Restart intervals: how files grow, and what a crop out of their bytes takes.

Each photo gets its markers losslessly. Then a mean RandomResizedCrop (area 8 to 100 %)
and a window of a tenth of the photo are decoded from the bytes that are cut out, by
OpenCV and by the region decoder; against OpenCV's whole decode, and the region decoder
on the photo as it was. Times are CPU-milliseconds a photo, in one process.
"""

import os
import statistics
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from fiberaug.decode import restarts, turbo
from fiberaug.decode.header import read_header
from fiberaug.decode.opencv import decode_rgb
from fiberaug.decode.seekable import cut_jpeg

DATA = Path(os.environ.get("FIBERAUG_DATA", Path(__file__).parents[2] / "shared/data"))
ROUNDS, SMALL = 5, 400
SEGMENTS = (1, 2, 4, 8, 16)  # a row, about: the interval divides it
TALL = (2, 4)  # rows a segment


def intervals(data):
    """Return {name: (interval in coded units, rows)} for a photo."""
    across = restarts.units_across(data)
    divisors = [n for n in range(1, across + 1) if across % n == 0]
    found = {
        f"{count} a row": (min(divisors, key=lambda n: abs(across / n - count)), 0)
        for count in SEGMENTS
    }
    found |= {f"{rows} rows each": (0, rows) for rows in TALL}
    return found | {"default": (restarts.unit_interval(data), 0)}


def crop(rng, width, height, least=0.08, most=1.0):
    """Return the window of a RandomResizedCrop, px."""
    while True:
        area = width * height * rng.uniform(least, most)
        ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            x, y = rng.integers(0, width - w + 1), rng.integers(0, height - h + 1)
            return int(x), int(y), int(x) + w, int(y) + h


class Photo:
    """One photo, its windows, and its copies with markers."""

    def __init__(self, data, rng):
        self.data, self.header = data, read_header(data)
        size = self.header.width, self.header.height
        self.windows = {"crop": crop(rng, *size), "tenth": crop(rng, *size, 0.1, 0.1)}
        self.copies = {
            name: turbo.with_restarts(data, interval_mcus=mcus, rows=rows)
            for name, (mcus, rows) in intervals(data).items()
        }
        self.ends = {}
        for name, copy in self.copies.items():
            layout = restarts.read_layout(copy)
            self.ends[name] = restarts.find_ends(copy, layout)


def whole(photo, _, window):
    x0, y0, x1, y1 = window
    return decode_rgb(photo.data, photo.header)[y0:y1, x0:x1]


def region(photo, _, window):
    size = photo.header.width, photo.header.height
    return turbo.decode_window(photo.data, *size, window)


def cut_only(photo, name, window):
    cut_jpeg(photo.copies[name], window, ends=photo.ends[name])


def by_opencv(photo, name, window):
    cut = cut_jpeg(photo.copies[name], window, ends=photo.ends[name])
    x0, y0, x1, y1 = window
    if cut is None:
        return decode_rgb(photo.copies[name], photo.header)[y0:y1, x0:x1]
    pixels = decode_rgb(cut.data, photo.header)
    return pixels[y0 - cut.y : y1 - cut.y, x0 - cut.x : x1 - cut.x]


def by_turbo(photo, name, window):
    cut = cut_jpeg(photo.copies[name], window, ends=photo.ends[name])
    if cut is None:
        size = photo.header.width, photo.header.height
        return turbo.decode_window(photo.copies[name], *size, window)
    x0, y0, x1, y1 = window
    inner = (x0 - cut.x, y0 - cut.y, x1 - cut.x, y1 - cut.y)
    return turbo.decode_window(cut.data, cut.width, cut.height, inner)


def ways(photos):
    """Yield (row, column, what to do, with which copies)."""
    for window in ("crop", "tenth"):
        yield "original", f"{window}, OpenCV", whole, "", window
        yield "original", f"{window}, region", region, "", window
        for name in photos[0].copies:
            yield name, f"{window}, cut alone", cut_only, name, window
            yield name, f"{window}, OpenCV", by_opencv, name, window
            yield name, f"{window}, region", by_turbo, name, window


def measured(photos, rounds):
    """Return {row: {column: median ms a photo}}."""
    times = {}
    for _ in range(rounds):
        for row, column, act, name, window in ways(photos):
            started = time.process_time()
            for photo in photos:
                act(photo, name, photo.windows[window])
            spent = (time.process_time() - started) / len(photos) * 1e3
            times.setdefault((row, column), []).append(spent)
    table = {}
    for (row, column), found in times.items():
        table.setdefault(row, {})[column] = round(statistics.median(found), 3)
    return table


def check(photos):
    """Every way gives the pixels of the whole, decoded and cut."""
    for row, _, act, name, window in ways(photos):
        for photo in photos if act is not cut_only else ():
            box = photo.windows[window]
            same = np.array_equal(act(photo, name, box), whole(photo, "", box))
            assert same, (row, name, window)


def files(name, smoke):
    """Return the bytes of the photos of a set, or of a few rendered ones."""
    folder = DATA / name
    if smoke or not folder.is_dir():
        pixels = np.random.default_rng(0).integers(0, 256, (4, 150, 200, 3), np.uint8)
        soft = [cv2.GaussianBlur(one, (0, 0), 2) for one in pixels]
        return [cv2.imencode(".jpg", one)[1].tobytes() for one in soft]
    paths = sorted(Path(folder).rglob("*.jpg"))
    step = max(1, len(paths) // SMALL)
    return [path.read_bytes() for path in paths[::step]]


@pytest.mark.parametrize("name", ["clothing-small", "big-photos"])
def bench_seekable(benchmark, name):
    if not turbo.available():
        pytest.skip(turbo.why_not())
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    photos = [Photo(data, rng) for data in files(name, benchmark.disabled)]
    before = sum(len(photo.data) for photo in photos)
    rounds = 1 if benchmark.disabled else ROUNDS
    table = benchmark.pedantic(measured, (photos, rounds), rounds=1)
    for row, found in table.items():
        if row != "original":
            after = sum(len(photo.copies[row]) for photo in photos)
            found["growth_percent"] = round(100 * (after / before - 1), 2)
            ends = sum(len(photo.ends[row]) for photo in photos)
            found["segments"] = round(ends / len(photos), 1)
    benchmark.extra_info.update({"photos": len(photos), "bytes": before} | table)
    check(photos)
