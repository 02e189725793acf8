"""Fibre end faces as an inspection microscope shows them, clean or with one defect.

A seed names a microscope and a fibre; the label names what is wrong with it. Two labels
with one seed therefore differ by the defect only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.demo.scene import (
    Scene,
    blob,
    chaikin,
    soft_noise,
    subpixel,
    tight_box,
    to_uint8,
    vignette,
)
from fiberaug.errors import UsageError

__all__ = ["CLASSES", "MASK_CLASSES", "render_endface"]

CLASSES = ("clean", "scratch", "dirt", "chip")
MASK_CLASSES = ("ferrule", "cladding", "core", "defect")

_FIBRE_STREAM = 0xF1B3
_DEFECT_STREAM = 0xDEFE
_SENSOR_STREAM = 0x5E50
_OVERSAMPLING = 4
_VISIBLE = 0.3

_Field = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fibre:
    """Where the fibre lies in the picture; lengths in pixels."""

    size: int
    centre: _Field
    cladding: float
    core: float
    ferrule_tone: float
    cladding_tone: float

    def at(self, angle: float, radii: float) -> _Field:
        """Return the point at ``radii`` cladding radii from the centre, float32 [2]."""
        ray = np.array([np.cos(angle), np.sin(angle)])
        return (self.centre + radii * self.cladding * ray).astype(np.float32)

    def distance(self) -> _Field:
        """Return each pixel's distance from the centre in pixels, float32 [H, W]."""
        axis = np.arange(self.size, dtype=np.float32) + 0.5
        x, y = axis[None, :] - self.centre[0], axis[:, None] - self.centre[1]
        return np.asarray(np.hypot(x, y), np.float32)


def render_endface(label: str, *, seed: int, size_px: int = 192) -> Scene:
    """Return a fibre end face, its mask and one box for each defect.

    Args:
        label: One of :data:`CLASSES`.
        seed: Names the microscope, the fibre and where the defect lies, from 0.
        size_px: Height and width of the picture in pixels, at least 32.

    Returns:
        A scene with the image, uint8 [size_px, size_px, 3], the mask with the ids of
        :data:`MASK_CLASSES`, and boxes that enclose exactly the defect's pixels.

    Raises:
        UsageError: ``label`` is unknown or ``size_px`` is below 32; a ValueError.
    """
    if label not in CLASSES:
        raise UsageError(f"label must be one of {', '.join(CLASSES)}, got {label!r}")
    if size_px < 32:
        raise UsageError(f"size_px must be at least 32, got {size_px}")
    fibre = _draw_fibre(np.random.default_rng([seed, _FIBRE_STREAM]), size_px)
    tone = _surface(np.random.default_rng([seed, _FIBRE_STREAM, 1]), fibre)
    rng = np.random.default_rng([seed, _DEFECT_STREAM])
    tone, defects = _DEFECTS[label](rng, fibre, tone)

    distance = fibre.distance()
    mask = np.zeros((size_px, size_px), np.uint8)
    mask[distance < fibre.cladding] = MASK_CLASSES.index("cladding")
    mask[distance < fibre.core] = MASK_CLASSES.index("core")
    boxes = []
    for coverage in defects:
        visible = coverage >= _VISIBLE * coverage.max()
        mask[visible] = MASK_CLASSES.index("defect")
        box = tight_box(visible)
        if box is not None:
            boxes.append(box)
    sensor = np.random.default_rng([seed, _SENSOR_STREAM])
    return Scene(
        image=_expose(sensor, tone),
        mask=mask,
        bboxes=np.array(boxes, np.float32).reshape(-1, 4),
        bbox_labels=(label,) * len(boxes),
        label=label,
    )


def _draw_fibre(rng: np.random.Generator, size: int) -> _Fibre:
    cladding = size * rng.uniform(0.29, 0.37)
    # 9 um and 50 um cores in a cladding of 125 um: single mode and multimode fibre.
    ratio = rng.uniform(0.36, 0.44) if rng.random() < 0.2 else rng.uniform(0.09, 0.14)
    ferrule = rng.uniform(0.10, 0.36)
    return _Fibre(
        size=size,
        centre=(size * (0.5 + rng.uniform(-0.06, 0.06, 2))).astype(np.float32),
        cladding=cladding,
        core=cladding * ratio,
        ferrule_tone=ferrule,
        cladding_tone=ferrule + rng.uniform(0.20, 0.40),
    )


def _step(distance: _Field, radius: float, softness: float) -> _Field:
    """Return 1 inside a disc and 0 outside, float32, with an edge of ``softness``."""
    inside = np.clip((radius - distance) / softness + 0.5, 0.0, 1.0)
    return np.asarray(inside * inside * (3.0 - 2.0 * inside), np.float32)


def _surface(rng: np.random.Generator, fibre: _Fibre) -> _Field:
    """Return the tone of a faultless end face, float32 [H, W], about [0, 1]."""
    size, px = fibre.size, fibre.size / 192
    shape = (size, size)
    distance = fibre.distance()
    disc = _step(distance, fibre.cladding, 1.5 * px)

    streaks = soft_noise(rng, (2 * size, 2 * size), cells=(2 * size, 5))
    turn = cv2.getRotationMatrix2D((size, size), rng.uniform(0.0, 180.0), 1.0)
    turn = turn - np.array([[0.0, 0.0, size / 2], [0.0, 0.0, size / 2]])
    polish = cv2.warpAffine(streaks, turn, (size, size))
    grain = soft_noise(rng, shape, cells=(size // 2, size // 2))
    clouds = soft_noise(rng, shape, cells=(5, 5))
    ferrule = fibre.ferrule_tone * (
        1.0
        + rng.uniform(0.04, 0.13) * polish
        + rng.uniform(0.03, 0.10) * grain
        + 0.07 * clouds
    )
    glass = fibre.cladding_tone * (
        1.0
        + rng.uniform(0.0, 0.02) * polish
        + 0.03 * soft_noise(rng, shape, cells=(4, 4))
        + rng.uniform(-0.12, 0.12) * (distance / fibre.cladding) ** 2
    )
    tone = ferrule + disc * (glass - ferrule)

    epoxy = np.exp(-(((distance - fibre.cladding * 1.012) / (1.5 * px)) ** 2))
    tone *= 1.0 - rng.uniform(0.45, 0.9) * epoxy
    sheen = np.exp(-(((distance - fibre.cladding * 0.965) / (1.4 * px)) ** 2))
    tone += rng.uniform(0.0, 0.16) * sheen

    core = _step(distance, fibre.core, rng.uniform(1.2, 3.0) * px)
    moat = np.exp(-(((distance - fibre.core) / (1.3 * px)) ** 2))
    tone = tone - rng.uniform(0.05, 0.16) * moat
    glow = np.exp(-((distance / (fibre.core * 1.7)) ** 2))
    lit = rng.uniform(0.10, 0.50)
    tone += lit * (core + rng.uniform(0.0, 0.35) * glow)

    # Specks beside the fibre belong to every microscope: they must not give dirt away.
    specks = np.zeros((size * 2, size * 2), np.uint8)
    for _ in range(int(rng.integers(0, 6))):
        place = fibre.at(rng.uniform(0.0, 2.0 * np.pi), rng.uniform(1.12, 1.8))
        spot = place + blob(rng, radius=rng.uniform(0.6, 1.8) * px, roughness=0.3)
        cv2.fillPoly(specks, [subpixel(spot, scale=2.0)], 255, cv2.LINE_AA, 4)
    soiled = _shrink(specks, size)
    return np.asarray(tone * (1.0 - 0.45 * soiled), np.float32)


def _expose(rng: np.random.Generator, tone: _Field) -> NDArray[np.uint8]:
    """Return what the sensor makes of a surface, uint8 [H, W, 3]."""
    shape = (tone.shape[0], tone.shape[1])
    px = shape[0] / 192
    sigma = rng.uniform(0.35, 1.15) * px
    tone = np.asarray(cv2.GaussianBlur(tone, (0, 0), sigma), np.float32)
    spot = (rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7))
    light = vignette(shape, centre=spot, strength=rng.uniform(0.05, 0.55))
    light *= 1.0 + 0.03 * soft_noise(rng, shape, cells=(3, 3))
    tone = tone * light * rng.uniform(0.75, 1.25)
    tint = _TINTS[int(rng.integers(len(_TINTS)))] + rng.uniform(-0.03, 0.03, 3)
    colour = tone[:, :, None] * tint.astype(np.float32)
    colour = colour + rng.uniform(0.0, 0.04)
    # A soft shoulder instead of a hard clip: bright cores keep their shape.
    colour = np.where(colour > 0.8, 1.0 - 0.2 * np.exp(-(colour - 0.8) / 0.2), colour)
    shot = rng.standard_normal((*shape, 3), np.float32)
    shot = 0.8 * shot[:, :, :1] + 0.45 * shot
    noise = rng.uniform(0.004, 0.018)
    return to_uint8(colour + noise * np.sqrt(np.maximum(colour, 0.02)) * 1.6 * shot)


def _shrink(drawing: NDArray[np.uint8], size: int) -> _Field:
    """Return the coverage in [0, 1] of a drawing made larger, float32 [H, W]."""
    small = cv2.resize(drawing, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255.0)


def _paper(fibre: _Fibre) -> NDArray[np.uint8]:
    return np.zeros((fibre.size * _OVERSAMPLING, fibre.size * _OVERSAMPLING), np.uint8)


def _fill(paper: NDArray[np.uint8], points: _Field, level: int = 255) -> None:
    at = subpixel(points, scale=_OVERSAMPLING)
    cv2.fillPoly(paper, [at], level, cv2.LINE_AA, 4)


def _clean(
    _rng: np.random.Generator, _fibre: _Fibre, tone: _Field
) -> tuple[_Field, list[_Field]]:
    return tone, []


def _scratch(
    rng: np.random.Generator, fibre: _Fibre, tone: _Field
) -> tuple[_Field, list[_Field]]:
    """Return the surface with one to three thin lines, and their coverages."""
    lines = []
    heading = rng.uniform(0.0, 2.0 * np.pi)
    for _ in range(int(rng.integers(1, 4))):
        heading += rng.normal(0.0, 0.35)
        middle = fibre.at(rng.uniform(0.0, 2.0 * np.pi), rng.uniform(0.05, 0.75))
        along = np.array([np.cos(heading), np.sin(heading)])
        half = fibre.cladding * rng.uniform(0.3, 1.15)
        bend = half * rng.uniform(-0.18, 0.18) * np.array([-along[1], along[0]])
        ends = [middle - half * along, middle + bend, middle + half * along]
        curve = chaikin(np.array(ends, np.float32), rounds=5)

        # A ribbon that thins out towards both ends and swells in between.
        u = np.linspace(0.0, 1.0, len(curve))
        swell = 1.0 + 0.35 * np.sin(u * rng.uniform(4.0, 14.0) + rng.uniform(0.0, 6.0))
        width = fibre.size / 192 * rng.uniform(0.38, 0.85) * swell
        width *= np.sqrt(np.clip(np.minimum(u, 1.0 - u) * 6.0, 0.1, 1.0))
        across = np.gradient(curve, axis=0)[:, ::-1] * np.array([-1.0, 1.0])
        across /= np.linalg.norm(across, axis=1, keepdims=True)
        side = (across * width[:, None]).astype(np.float32)
        paper = _paper(fibre)
        _fill(paper, np.concatenate([curve + side, (curve - side)[::-1]]))
        line = _shrink(paper, fibre.size)
        lines.append(line)

        contrast = rng.uniform(0.16, 0.42) * (1.0 if rng.random() < 0.55 else -1.0)
        flank = np.asarray(cv2.GaussianBlur(line, (0, 0), fibre.size / 192 * 1.6))
        tone = tone * (1.0 - np.sign(contrast) * rng.uniform(0.0, 0.35) * flank)
        tone = tone + contrast * line * (0.4 + tone)
    return np.maximum(tone, 0.02).astype(np.float32), lines


def _dirt(
    rng: np.random.Generator, fibre: _Fibre, tone: _Field
) -> tuple[_Field, list[_Field]]:
    """Return the surface with one to three clusters of particles, their coverages."""
    clusters = []
    for _ in range(int(rng.integers(1, 4))):
        middle = fibre.at(rng.uniform(0.0, 2.0 * np.pi), rng.uniform(0.0, 1.0))
        spread = fibre.cladding * rng.uniform(0.05, 0.20)
        paper = _paper(fibre)
        biggest = fibre.cladding * rng.uniform(0.06, 0.13)
        count = int(rng.integers(3, 13))
        for number in range(count):
            radius = biggest * (1.0 if number == 0 else rng.uniform(0.12, 0.75) ** 1.5)
            place = middle + spread * rng.standard_normal(2) * (number > 0)
            spot = place + blob(rng, radius=max(radius, 0.8), roughness=0.28)
            _fill(paper, spot.astype(np.float32), int(rng.integers(170, 256)))
        if rng.random() < 0.4:
            heading = rng.uniform(0.0, 2.0 * np.pi)
            pull = np.array([np.cos(heading), np.sin(heading)]) * spread
            tail = middle + pull * np.linspace(0.0, rng.uniform(2.0, 4.0), 6)[:, None]
            wipe = np.zeros_like(paper)
            for step, place in enumerate(tail):
                radius = biggest * (0.8 - 0.1 * step)
                spot = place + blob(rng, radius=radius, roughness=0.3)
                _fill(wipe, spot.astype(np.float32), 125 - 12 * step)
            wipe = np.asarray(cv2.blur(wipe, (9, 9)), np.uint8)
            paper = np.maximum(paper, wipe)
        cluster = _shrink(paper, fibre.size)
        clusters.append(cluster)

        halo = np.asarray(cv2.GaussianBlur(cluster, (0, 0), biggest * 0.45), np.float32)
        rim = np.maximum(halo - 0.4 * cluster, 0.0)
        tone = np.asarray(tone + rng.uniform(0.05, 0.24) * rim, np.float32)
        fine = (fibre.size // 3, fibre.size // 3)
        body = soft_noise(rng, (fibre.size, fibre.size), cells=fine)
        tone = tone * (1.0 - rng.uniform(0.55, 0.9) * cluster)
        tone = tone + rng.uniform(0.02, 0.10) * cluster * (body > -0.3)
    return np.maximum(tone, 0.02).astype(np.float32), clusters


def _chip(
    rng: np.random.Generator, fibre: _Fibre, tone: _Field
) -> tuple[_Field, list[_Field]]:
    """Return the surface with one or two pieces broken off, and their coverages."""
    pieces = []
    angle = rng.uniform(0.0, 2.0 * np.pi)
    for _ in range(int(rng.integers(1, 3))):
        angle += rng.uniform(0.9, 2.6)
        spread, depth = rng.uniform(0.14, 0.42), rng.uniform(0.14, 0.40)
        corners = int(rng.integers(6, 11))
        across = np.linspace(-1.0, 1.0, corners) + rng.uniform(-0.12, 0.12, corners)
        bite = depth * np.sqrt(np.maximum(1.0 - across**2, 0.0))
        bite *= rng.uniform(0.62, 1.1, corners)
        inner = [
            fibre.at(angle + spread * a, 1.0 - b)
            for a, b in zip(across, bite, strict=True)
        ]
        rim = np.array(
            [
                fibre.at(angle - spread * 1.1, 1.02),
                *inner,
                fibre.at(angle + spread * 1.1, 1.02),
            ],
            np.float32,
        )
        arc = [fibre.at(angle + spread * t, 1.02) for t in np.linspace(1.1, -1.1, 12)]
        outline = np.concatenate([rim, np.array(arc, np.float32)])
        paper = _paper(fibre)
        _fill(paper, outline)
        piece = _shrink(paper, fibre.size)
        pieces.append(piece)

        # Facets of the fracture: slivers from the rim to one point outside.
        facets = np.zeros_like(paper)
        foot = fibre.at(angle + rng.uniform(-0.5, 0.5) * spread, 0.99 - 0.3 * depth)
        for start, stop in pairwise(rim):
            sliver = np.array([start, stop, foot], np.float32)
            _fill(facets, sliver, int(rng.integers(20, 200)))
        hollow = fibre.ferrule_tone * rng.uniform(0.3, 0.9)
        relief = rng.uniform(0.08, 0.30) * _shrink(facets, fibre.size)
        tone = tone + piece * (hollow + relief - tone)
        edge = np.zeros_like(paper)
        thick = max(1, round(fibre.size / 192 * rng.uniform(4.0, 9.0)))
        at = subpixel(rim, scale=_OVERSAMPLING)
        cv2.polylines(edge, [at], False, 255, thick, cv2.LINE_AA, 4)  # noqa: FBT003
        tone = tone + rng.uniform(0.26, 0.6) * _shrink(edge, fibre.size) * (piece > 0.1)
    return tone.astype(np.float32), pieces


_DEFECTS: dict[
    str,
    Callable[[np.random.Generator, _Fibre, _Field], tuple[_Field, list[_Field]]],
] = {"clean": _clean, "scratch": _scratch, "dirt": _dirt, "chip": _chip}

# Red, green and blue gain of common inspection microscopes and their lamps.
_TINTS = np.array(
    [
        [1.00, 1.00, 1.00],
        [0.88, 1.00, 1.10],
        [1.10, 1.00, 0.80],
        [0.84, 1.06, 0.90],
        [0.80, 0.94, 1.18],
    ]
)
