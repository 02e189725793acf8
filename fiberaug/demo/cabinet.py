"""An opened fibre-optic street cabinet, photographed at full size and fully labelled.

The cabinet is drawn from the front, back to front, together with a map of what each
pixel shows. Both are then seen through one homography, and the labels are read off the
map, so that a box or a mask never disagrees with the picture.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.demo.parts import (
    CABLE,
    JACKETS,
    Cabinet,
    Port,
    box,
    draw_cable,
    draw_connector,
    draw_panel,
    draw_splitter,
    draw_sticker,
    draw_trays,
    toned,
)
from fiberaug.demo.scene import (
    Canvas,
    Colour,
    Points,
    Scene,
    chaikin,
    rounded,
    soft_noise,
    tight_box,
    to_uint8,
    vignette,
)
from fiberaug.errors import UsageError

__all__ = ["CABINET_CLASSES", "CABINET_MASK_CLASSES", "render_cabinet"]

CABINET_CLASSES = ("splice_tray", "connector", "splitter", "label")
CABINET_MASK_CLASSES = ("background", "cable")

_CABINET_STREAM = 0xCAB1
_VISIBLE_SHARE = 0.3


def render_cabinet(*, seed: int, size: tuple[int, int] = (3024, 4032)) -> Scene:
    """Return a photo of an opened cabinet with boxes for its parts and a cable mask.

    Args:
        seed: Names the cabinet, from 0.
        size: Height and width in pixels, at least 128 each.

    Returns:
        A scene with the image, uint8 [H, W, 3], the mask with the ids of
        :data:`CABINET_MASK_CLASSES`, and a box around the visible pixels of each thing
        of :data:`CABINET_CLASSES` that is not mostly hidden. ``label`` is None.

    Raises:
        UsageError: A side is below 128 pixels; a ValueError.
    """
    if min(size) < 128:
        raise UsageError(f"size must be at least (128, 128), got {size}")
    rng = np.random.default_rng([seed, _CABINET_STREAM])
    canvas = Canvas(size)
    cabinet = Cabinet(canvas=canvas, rng=rng, width=1000.0 * size[1] / size[0])
    _outside(cabinet)
    _shell(cabinet)
    _equipment(cabinet)
    _cables(cabinet)
    _front(cabinet)
    return _photograph(cabinet)


def _outside(cabinet: Cabinet) -> None:
    """Draw a hedge and a pavement far out of focus."""
    canvas, rng = cabinet.canvas, cabinet.rng
    height, width = canvas.ids.shape
    low = (max(2, height // 12), max(2, width // 12))
    leaves = soft_noise(rng, low, cells=(26, 34)) + soft_noise(rng, low, cells=(60, 80))
    tone = np.clip(0.42 + 0.13 * leaves, 0.08, 0.95)[:, :, None]
    hue = 1.0 + 0.15 * soft_noise(rng, low, cells=(9, 12))[:, :, None]
    picture = tone * np.array([0.66, 0.88, 0.40], np.float32) * hue
    ground = int(low[0] * rng.uniform(0.80, 0.88))
    paving = 0.52 + 0.03 * soft_noise(rng, low, cells=(30, 40))[:, :, None]
    picture[ground:] = (paving * np.array([1.0, 0.97, 0.92], np.float32))[ground:]
    picture = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), low[0] / 90)
    small = to_uint8(np.asarray(picture, np.float32))
    cv2.resize(small, (width, height), canvas.image, interpolation=cv2.INTER_LINEAR)


def _shell(cabinet: Cabinet) -> None:
    """Draw the inner walls, the back plate and the mounting rails."""
    canvas, width = cabinet.canvas, cabinet.width
    left, right, top, floor = 118.0, width - 118.0, 70.0, 945.0
    x0, x1, y0, y1 = 178.0, width - 178.0, 112.0, 905.0
    walls = (
        (
            [[left, top], [right, top], [x1, y0], [x0, y0]],
            (70, 72, 74),
            (104, 106, 107),
        ),
        (
            [[left, top], [x0, y0], [x0, y1], [left, floor]],
            (166, 168, 167),
            (136, 138, 138),
        ),
        (
            [[right, top], [x1, y0], [x1, y1], [right, floor]],
            (196, 198, 196),
            (160, 162, 161),
        ),
        (
            [[left, floor], [right, floor], [x1, y1], [x0, y1]],
            (150, 151, 149),
            (182, 183, 180),
        ),
    )
    for corners, first, last in walls:
        canvas.fill(np.array(corners, np.float32), first, to=last)
    canvas.fill(box(x0, y0, x1, y1), (170, 173, 174), to=(198, 200, 197))
    for line in ([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]],):
        canvas.shade(np.array(line, np.float32), strength=0.35, blur=16.0, width=14.0)
    for x in (205.0, width - 235.0):
        rail = box(x, y0 + 6, x + 30, y1 - 4)
        canvas.shade(rail, strength=0.5, blur=8.0, shift=(6.0, 5.0))
        canvas.fill(rail, (184, 187, 189), to=(206, 208, 207))
        canvas.stroke(rail[[0, 3]], (232, 234, 234), width=1.4)
        canvas.stroke(rail[[1, 2]], (118, 121, 123), width=1.6)
        for y in np.arange(y0 + 22, y1 - 20, 14.8):
            canvas.fill(box(x + 10, y, x + 20, y + 8.5), (42, 44, 46))
            canvas.stroke(
                box(x + 10, y, x + 20, y + 8.5)[2:], (214, 216, 216), width=0.8
            )


def _equipment(cabinet: Cabinet) -> None:
    """Mount two or three patch panels, a stack of splice trays and a splitter."""
    rng, width = cabinet.rng, cabinet.width
    rows = int(rng.integers(2, 4))
    dark = bool(rng.random() < 0.5)
    top = 138.0
    pitch = 146.0 if rows == 3 else 178.0
    for row in range(rows):
        draw_panel(cabinet, top + row * pitch, dark=dark, row=row)
    lower = top + rows * pitch + 8.0
    inner = width - 540.0
    flip = bool(rng.random() < 0.5)
    spans = ((0.0, 0.55), (0.66, 1.0)) if not flip else ((0.45, 1.0), (0.0, 0.34))
    x_tray = [270.0 + inner * part for part in spans[0]]
    x_split = [270.0 + inner * part for part in spans[1]]
    draw_trays(cabinet, x_tray[0], x_tray[1], lower)
    draw_splitter(cabinet, x_split[0], x_split[1], lower + 6.0)


def _bend(corners: list[tuple[float, float]], *, radius: float = 62.0) -> Points:
    """Return a curve through straight runs, with every inner corner rounded off."""
    points = np.array(corners, np.float32)
    path = [points[0]]
    for before, corner, after in zip(
        points[:-2], points[1:-1], points[2:], strict=True
    ):
        near = []
        for end in (before, after):
            # Up to the middle of a run at most: two corners may share it.
            run = max(float(np.linalg.norm(end - corner)), 1e-3)
            near.append(corner + min(radius / run, 0.48) * (end - corner))
        path += [near[0], corner, near[1]]
    path.append(points[-1])
    return chaikin(np.array(path, np.float32))


def _cables(cabinet: Cabinet) -> None:
    """Patch up to 40 cables: to exits, trays and splitter, and across the panels."""
    rng = cabinet.rng
    ports = [cabinet.ports[i] for i in rng.permutation(len(cabinet.ports))]
    outlets = [cabinet.outlets[i] for i in rng.permutation(len(cabinet.outlets))]
    inlets = [cabinet.inlets[i] for i in rng.permutation(len(cabinet.inlets))]
    jackets = rng.dirichlet((5.0, 1.6, 1.6, 1.8))
    loose = int(rng.integers(3, 8))
    # A loose cable takes two ports, every other one takes one.
    count = min(int(rng.integers(16, 41)), max(len(ports) - loose, 1))
    for number in range(count):
        colour = JACKETS[int(rng.choice(len(JACKETS), p=jackets))]
        thick = float(rng.choice((5.2, 6.2, 7.0)))
        port = ports.pop()
        plugs = [port]
        chance = rng.random()
        # The loose ones come last, so that they hang in front of the others.
        others = [p for p in ports if 150.0 < abs(p.x - port.x) < 560.0]
        if number >= count - loose and others:
            other = others[0]
            ports.remove(other)
            plugs.append(other)
            line = _drooping(rng, port, other)
        elif outlets and chance < 0.30:
            outlet = outlets.pop()
            plugs.append(outlet)
            route = _trunk(cabinet, port, until=690.0)
            low = 880.0 + rng.uniform(-12.0, 26.0)
            foot = outlet.tip()
            lead = np.sign(route[-1][0] - foot[0]) * rng.uniform(4.0, 40.0)
            route += [
                (route[-1][0], low),
                (foot[0] + lead, low + rng.uniform(-6.0, 6.0)),
            ]
            line = _bend([*route, (foot[0], foot[1] + 34.0), foot])
        elif inlets and chance < 0.48:
            inlet = inlets.pop()
            route = _trunk(cabinet, port, until=690.0)
            low = 878.0 + rng.uniform(-10.0, 26.0)
            route += [(route[-1][0], low), (inlet[0], low)]
            line = _bend([*route, (inlet[0], inlet[1] - 8.0)])
        else:
            route = _trunk(cabinet, port, until=820.0)
            exit_at = (route[-1][0] + float(rng.normal(0.0, 5.0)), 990.0)
            line = _bend([*route, exit_at])
        draw_cable(cabinet, line, colour, thick)
        for plug in plugs:
            draw_connector(cabinet, plug, colour)


def _trunk(cabinet: Cabinet, port: Port, *, until: float) -> list[tuple[float, float]]:
    """Return the route from a port to the nearer side and down to ``until``."""
    rng, width = cabinet.rng, cabinet.width
    x, y = port.tip()
    right = x > width / 2
    side = 1.0 if right else -1.0
    away = float(np.clip(rng.normal(0.0, 12.0), -27.0, 27.0))
    trunk = (width - 176.0 if right else 176.0) + away
    lane = y + rng.uniform(26.0, 48.0)
    run = abs(trunk - x)
    sag = rng.uniform(0.0, 0.035) * run
    return [
        (x, y),
        (x + side * rng.uniform(0.0, 10.0), lane),
        (x + side * 0.5 * run, lane + sag + rng.normal(0.0, 3.0)),
        (trunk, lane + 0.3 * sag + rng.normal(0.0, 3.0)),
        (trunk + rng.normal(0.0, 3.0), lane + 0.45 * (until - lane)),
        (trunk + rng.normal(0.0, 5.0), until),
    ]


def _drooping(rng: np.random.Generator, port: Port, other: Port) -> Points:
    """Return the curve of a cable that hangs freely between two ports."""
    first, last = port.tip(), other.tip()
    sag = rng.uniform(70.0, 190.0) + 0.12 * abs(first[0] - last[0])
    lean = rng.uniform(-0.12, 0.12)
    route = [first]
    for u in np.linspace(0.06, 0.94, 9):
        # A hanging cable is close to a parabola, but stiff ends keep it vertical there.
        flat = u - 0.09 * np.sin(2.0 * np.pi * u) + lean * u * (1.0 - u)
        deep = (4.0 * u * (1.0 - u)) ** 0.75
        x = first[0] + flat * (last[0] - first[0])
        y = first[1] + u * (last[1] - first[1]) + sag * deep + 8.0
        route.append((float(x), float(y)))
    return chaikin(np.array([*route, last], np.float32))


def _front(cabinet: Cabinet) -> None:
    """Draw what is nearest: clips, straps, cable flags, the frame and the open door."""
    canvas, rng, width = cabinet.canvas, cabinet.rng, cabinet.width
    for x, y in cabinet.inlets:
        clip = rounded(x - 8.0, y - 13.0, x + 8.0, y + 3.0, radius=2.5)
        canvas.fill(clip, (70, 72, 76), to=(30, 31, 33), ident=0)
        canvas.stroke(clip[12:19], (126, 128, 132), width=1.0)
    for trunk in (176.0, width - 176.0):
        for y in (372.0, 585.0, 770.0):
            y_strap = y + rng.uniform(-14.0, 14.0)
            turn = rng.uniform(-3.0, 3.0)
            strap = rounded(trunk - 36, y_strap, trunk + 36, y_strap + 18, radius=6.0)
            strap[:, 1] += turn * (strap[:, 0] - trunk) / 36.0
            canvas.shade(strap, strength=0.5, blur=5.0, shift=(2.0, 6.0))
            canvas.fill(strap, (70, 71, 75), to=(24, 24, 27), ident=0)
            canvas.stroke(strap[12:19], (112, 114, 119), width=1.2)
        for flag in range(int(rng.integers(1, 3))):
            x = trunk + rng.uniform(-34.0, -12.0)
            y = 615.0 + 185.0 * flag + rng.uniform(0.0, 60.0)
            draw_sticker(cabinet, x, y, 46.0, 26.0, text=f"K{rng.integers(100, 999)}")

    for strength, blur, grow in ((0.5, 34.0, 60.0), (0.4, 9.0, 16.0)):
        lintel = box(122.0, 74.0 - grow, width - 122.0, 74.0 + 0.7 * grow)
        canvas.shade(lintel, strength=strength, blur=blur)
        jamb = box(90.0, 74.0, 122.0 + 0.2 * grow, 940.0)
        canvas.shade(jamb, strength=strength, blur=blur)
    _frame(cabinet)


def _frame(cabinet: Cabinet) -> None:
    canvas, width = cabinet.canvas, cabinet.width
    steel: Colour = (214, 216, 211)
    opening = rounded(122.0, 74.0, width - 122.0, 940.0, radius=10.0)
    outer = rounded(80.0, 26.0, width - 80.0, 1200.0, radius=8.0)
    canvas.shade(np.concatenate([outer, outer[:1]]), strength=0.6, blur=16.0, width=8.0)
    frame = np.concatenate([outer, outer[:1], opening, opening[:1], outer[:1]])
    canvas.fill(frame, toned(steel, 1.08), to=toned(steel, 0.84), ident=0)
    canvas.stroke(opening, (24, 25, 26), width=9.0, closed=True)
    canvas.stroke(opening + np.float32(-2.2), (84, 86, 88), width=1.8, closed=True)
    canvas.stroke(outer, toned(steel, 1.18), width=2.4, closed=True)
    fold = rounded(92.0, 40.0, width - 92.0, 1200.0, radius=6.0)
    canvas.stroke(fold, toned(steel, 0.80), width=1.4, closed=True)
    canvas.stroke(fold + np.float32(1.5), toned(steel, 1.16), width=1.2, closed=True)
    for y in (250.0, 500.0, 750.0):
        keep = rounded(width - 110.0, y - 34.0, width - 98.0, y + 34.0, radius=5.0)
        canvas.shade(keep, strength=0.35, blur=3.0, shift=(1.0, 2.0))
        canvas.fill(keep, (58, 60, 62), to=(34, 35, 37))

    # The door stands open towards the camera: a steep trapezoid with its rubber seal.
    door = np.array([[-80, -150], [76, 22], [76, 985], [-80, 1160]], np.float32)
    canvas.shade(door, strength=0.5, blur=12.0, shift=(9.0, 6.0))
    canvas.fill(door, toned(steel, 0.98), to=toned(steel, 0.78))
    inner = np.array([[-80, -60], [58, 58], [58, 945], [-80, 1060]], np.float32)
    canvas.fill(inner, toned(steel, 0.86), to=toned(steel, 0.66))
    canvas.stroke(inner, (34, 35, 36), width=5.5, closed=True)
    canvas.stroke(door[1:3], toned(steel, 1.2), width=2.4)
    for y in (180.0, 500.0, 820.0):
        hinge = rounded(66.0, y - 32.0, 90.0, y + 32.0, radius=6.0)
        canvas.shade(hinge, strength=0.5, blur=5.0, shift=(3.0, 5.0))
        canvas.fill(hinge, (196, 198, 198), to=(120, 122, 124))
        pin = np.array([[78.0, y - 30.0], [78.0, y + 30.0]], np.float32)
        canvas.stroke(pin, (86, 88, 90), width=1.6)


def _photograph(cabinet: Cabinet) -> Scene:
    """Return what a hand-held camera makes of the cabinet, with its labels."""
    canvas, rng = cabinet.canvas, cabinet.rng
    height, width = canvas.ids.shape
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    push = rng.uniform(0.008, 0.034, (4, 2)) * [height, height]
    target = source + (push * [[-1, -1], [1, -1], [1, 1], [-1, 1]]).astype(np.float32)
    view = cv2.getPerspectiveTransform(source, target)
    image = cv2.warpPerspective(canvas.image, view, (width, height))
    nearest = cv2.INTER_NEAREST
    ids = cv2.warpPerspective(canvas.ids, view, (width, height), flags=nearest)

    low = (max(2, height // 16), max(2, width // 16))
    light = vignette(
        low,
        centre=(rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.6)),
        strength=rng.uniform(0.25, 0.5),
    )
    light *= 1.0 + 0.04 * soft_noise(rng, low, cells=(4, 5))
    warmth = 1.0 + rng.uniform(-0.04, 0.04) * np.array([1.0, 0.0, -1.0])
    lamp = to_uint8((light[:, :, None] * warmth * 0.92).astype(np.float32))
    glow = cv2.resize(lamp, (width, height), interpolation=cv2.INTER_LINEAR)
    image = cv2.multiply(image, glow, scale=1.22 / 255.0)
    # One tile of noise, repeated: nobody sees the seams, and 36 million draws are slow.
    tile = rng.normal(0.0, 1.3, (509, 521, 3)) + rng.normal(0.0, 1.8, (509, 521, 1))
    grain = np.round(cv2.GaussianBlur(tile, (0, 0), 0.6) * 1.4).astype(np.int16)
    repeat = (-(-height // 509), -(-width // 521), 1)
    noise = np.tile(grain, repeat)[:height, :width]
    image = cv2.add(image, noise, dtype=cv2.CV_8U)
    return _labelled(
        cabinet,
        np.asarray(image, np.uint8),
        np.asarray(ids, np.int16),
        np.asarray(view, np.float64),
    )


def _labelled(
    cabinet: Cabinet,
    image: NDArray[np.uint8],
    ids: NDArray[np.int16],
    view: NDArray[np.float64],
) -> Scene:
    """Return the scene; its boxes enclose what is visible of each thing."""
    boxes, labels = [], []
    for ident, (label, outline) in enumerate(cabinet.things, start=1):
        corners = (outline * cabinet.canvas.scale)[None].astype(np.float32)
        seen = cv2.perspectiveTransform(corners, view)[0]
        x_min, y_min = np.maximum(np.floor(seen.min(axis=0)).astype(int) - 2, 0)
        x_max, y_max = np.ceil(seen.max(axis=0)).astype(int) + 3
        visible = ids[y_min:y_max, x_min:x_max] == ident
        box = tight_box(visible)
        area = cv2.contourArea(seen)
        if box is None or visible.sum() < _VISIBLE_SHARE * area:
            continue
        boxes.append([box[0] + x_min, box[1] + y_min, box[2] + x_min, box[3] + y_min])
        labels.append(label)
    return Scene(
        image=image,
        mask=(ids == CABLE).astype(np.uint8),
        bboxes=np.array(boxes, np.float32).reshape(-1, 4),
        bbox_labels=tuple(labels),
        label=None,
    )
