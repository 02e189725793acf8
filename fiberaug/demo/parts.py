"""What stands in a fibre-optic cabinet, part by part, drawn with its labels.

Lengths are in thousandths of the picture's height; one millimetre is about 1.85 units.
"""

from dataclasses import dataclass, field

import numpy as np

from fiberaug.demo.scene import Canvas, Colour, Points, chaikin, rounded

__all__ = [
    "CABLE",
    "JACKETS",
    "Cabinet",
    "Port",
    "box",
    "draw_cable",
    "draw_connector",
    "draw_panel",
    "draw_splitter",
    "draw_sticker",
    "draw_trays",
    "toned",
]

CABLE = -1
JACKETS: tuple[Colour, ...] = (
    (244, 196, 24),
    (240, 116, 30),
    (38, 106, 200),
    (38, 188, 194),
)
_GREEN, _BLUE = (28, 142, 74), (30, 96, 186)
_WHITE, _BLACK = (236, 236, 230), (26, 27, 29)
_LIGHT = np.array([-0.42, -0.91], np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Port:
    """A socket that waits for a connector; lengths in units."""

    x: float
    y: float
    body: Colour
    """Colour of the connector that fits: green is angled polish, blue is straight."""
    tilt: float
    """How far the connector leans out of the vertical, in radians."""

    def tip(self) -> tuple[float, float]:
        """Return where the cable leaves the connector's boot, x and y in units."""
        reach = 54.0
        return (
            self.x - reach * float(np.sin(self.tilt)),
            self.y + reach * float(np.cos(self.tilt)),
        )


@dataclass(kw_only=True, slots=True)
class Cabinet:
    """The canvas, what lies on it, and where cables can still be plugged in."""

    canvas: Canvas
    rng: np.random.Generator
    width: float
    """Width of the picture in units."""
    things: list[tuple[str, Points]] = field(default_factory=list)
    """Class name and outline of everything that gets a box, in the order of its id."""
    ports: list[Port] = field(default_factory=list)
    """Free sockets of the patch panels."""
    outlets: list[Port] = field(default_factory=list)
    """Free sockets of the splitter."""
    inlets: list[tuple[float, float]] = field(default_factory=list)
    """Free entries of the front splice tray, at its lower edge."""

    def add(self, label: str, outline: Points) -> int:
        """Return the id of a new thing of class ``label`` that covers ``outline``."""
        self.things.append((label, outline))
        return len(self.things)


def box(x_min: float, y_min: float, x_max: float, y_max: float) -> Points:
    """Return a rectangle, clockwise from its upper left corner, float32 [4, 2]."""
    corners = [[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max]]
    return np.array(corners, np.float32)


def toned(colour: Colour, factor: float) -> Colour:
    """Return a colour made brighter or darker by ``factor``, clipped to [0, 255]."""
    red, green, blue = (min(255.0, max(0.0, part * factor)) for part in colour)
    return red, green, blue


def draw_panel(cabinet: Cabinet, y: float, *, dark: bool, row: int) -> None:
    """Mount a patch panel; its open sockets become free ports."""
    canvas, rng, width = cabinet.canvas, cabinet.rng, cabinet.width
    x0, x1, high = 198.0, width - 198.0, 60.0
    face: Colour = (50, 52, 55) if dark else (196, 198, 197)
    plate = rounded(x0, y, x1, y + high, radius=3.0)
    canvas.shade(plate, strength=0.6, blur=12.0, shift=(4.0, 14.0))
    canvas.fill(plate, toned(face, 1.18), to=toned(face, 0.86))
    canvas.stroke(box(x0 + 3, y + 1, x1 - 3, y)[:2], toned(face, 1.5), width=1.3)
    canvas.stroke(box(x0 + 3, y, x1 - 3, y + high - 1)[2:], toned(face, 0.5), width=1.5)
    for x in (x0 + 15, x1 - 15):
        for y_screw in (y + 13, y + high - 13):
            _screw(canvas, x, y_screw)
    ink: Colour = (214, 216, 214) if dark else (48, 50, 52)
    canvas.write(f"ODF {row + 1}", (x0 + 30, y + 16), ink, height=9.0)
    draw_sticker(
        cabinet, x0 + 30, y + 24, 56.0, 28.0, text=f"{rng.integers(10, 99)}-{row + 1}"
    )

    green = bool(rng.random() < 0.6)
    body = _GREEN if green else _BLUE
    first, last = x0 + 104.0, x1 - 34.0
    groups = max(1, int((last - first + 12.0) // 192.0))
    pitch = (last - first - 12.0 * (groups - 1)) / (groups * 6)
    for number in range(groups * 6):
        x = first + pitch * (number + 0.5) + 12.0 * (number // 6)
        flange = rounded(x - 11.0, y + 17, x + 11.0, y + 49, radius=2.0)
        canvas.shade(flange, strength=0.45, blur=2.5, shift=(0.8, 2.0))
        canvas.fill(flange, toned(body, 1.05), to=toned(body, 0.72))
        canvas.stroke(flange[12:19], toned(body, 1.6), width=0.9)
        canvas.fill(box(x - 7.5, y + 22, x + 7.5, y + 44), (16, 17, 18))
        canvas.fill(
            box(x - 2.6, y + 29, x + 2.6, y + 37), (150, 146, 138), to=(90, 88, 84)
        )
        canvas.write(str(number + 1), (x - 5.0, y + 12.5), ink, height=6.5)
        if rng.random() < 0.26:
            cap = rounded(x - 7.0, y + 23, x + 7.0, y + 44, radius=3.0)
            canvas.fill(cap, (232, 232, 228), to=(186, 187, 184))
            canvas.stroke(
                box(x - 4, y + 30, x + 4, y + 31)[:2], (150, 151, 150), width=1.2
            )
            canvas.stroke(
                box(x - 4, y + 36, x + 4, y + 37)[:2], (150, 151, 150), width=1.2
            )
        else:
            tilt = float(rng.normal(0.0, 0.055))
            cabinet.ports.append(Port(x=x, y=y + 27.0, body=body, tilt=tilt))


def _screw(canvas: Canvas, x: float, y: float) -> None:
    head = rounded(x - 5, y - 5, x + 5, y + 5, radius=5.0)
    canvas.shade(head, strength=0.5, blur=2.0, shift=(0.8, 1.6))
    canvas.fill(head, (216, 218, 220), to=(140, 143, 146))
    canvas.stroke(
        np.array([[x - 3, y - 2], [x + 3, y + 2]], np.float32), (60, 62, 64), width=1.4
    )


def draw_sticker(
    cabinet: Cabinet, x: float, y: float, wide: float, high: float, *, text: str = ""
) -> None:
    """Put a white label with a bar code and printed lines on whatever lies there."""
    canvas, rng = cabinet.canvas, cabinet.rng
    paper = rounded(x, y, x + wide, y + high, radius=1.6)
    canvas.shade(paper, strength=0.35, blur=2.0, shift=(0.6, 1.2))
    ident = cabinet.add("label", paper)
    canvas.fill(paper, (246, 245, 240), to=(228, 227, 221), ident=ident)
    ink: Colour = (38, 40, 46)
    y_line = y + 0.16 * high
    if text:
        canvas.write(
            text,
            (x + 0.08 * wide, y + 0.40 * high),
            ink,
            height=min(0.30 * high, 0.62 * wide / len(text)),
        )
        y_line = y + 0.54 * high
    bars = x + 0.62 * wide
    while bars < x + 0.92 * wide:
        thick = rng.uniform(0.5, 1.6)
        canvas.fill(box(bars, y + 0.14 * high, bars + thick, y + 0.86 * high), ink)
        bars += thick + rng.uniform(0.7, 1.8)
    while y_line < y + 0.84 * high:
        end = x + wide * rng.uniform(0.34, 0.56)
        line = np.array([[x + 0.08 * wide, y_line], [end, y_line]], np.float32)
        canvas.stroke(line, (96, 98, 104), width=max(0.9, 0.05 * high))
        y_line += max(3.2, 0.15 * high)


def draw_trays(cabinet: Cabinet, x0: float, x1: float, top: float) -> None:
    """Draw hinged splice trays, each a step in front of the one above it."""
    canvas, rng = cabinet.canvas, cabinet.rng
    tones: tuple[Colour, ...] = (
        (208, 204, 190),
        (176, 182, 186),
        (66, 70, 76),
        (120, 146, 172),
    )
    tone = tones[int(rng.integers(len(tones)))]
    count = int(rng.integers(2, 5))
    bottom = 834.0
    step = 34.0
    high = min(bottom - top - step * (count - 1), 250.0)
    for number in range(count):
        y = top + 6.0 + step * number
        tray = rounded(x0, y, x1, y + high, radius=16.0)
        canvas.shade(tray, strength=0.62, blur=10.0, shift=(5.0, 9.0))
        # Of a tray behind another one, only the upper edge can ever be seen.
        exposed = tray if number == count - 1 else box(x0, y, x1, y + step + 14.0)
        ident = cabinet.add("splice_tray", exposed)
        canvas.fill(tray, toned(tone, 1.08), to=toned(tone, 0.84), ident=ident)
        canvas.stroke(tray, toned(tone, 1.28), width=1.6, closed=True)
        canvas.fill(box(x0 + 60, y + 4, x1 - 60, y + 6), toned(tone, 0.7))
        draw_sticker(
            cabinet, x0 + 26 + 74.0 * number, y + 7.5, 66.0, 19.0, text=f"T{number + 1}"
        )
        if number == count - 1:
            _splices(cabinet, x0 + 14, x1 - 14, y + 32, y + high - 14, tone)
            for x in (x0 + 40, x0 + 58, x0 + 76, x1 - 76, x1 - 58, x1 - 40):
                cabinet.inlets.append((x, y + high))


def _splices(
    cabinet: Cabinet, x0: float, x1: float, y0: float, y1: float, tone: Colour
) -> None:
    """Draw what the front tray holds: fibre loops around a row of splice sleeves."""
    canvas, rng = cabinet.canvas, cabinet.rng
    well = rounded(x0, y0, x1, y1, radius=14.0)
    canvas.fill(well, toned(tone, 0.62), to=toned(tone, 0.78))
    canvas.shade(np.concatenate([well, well[:1]]), strength=0.4, blur=5.0, width=4.0)
    middle, reach = (x0 + x1) / 2, (y1 - y0) / 2
    fibres = (*JACKETS, (60, 160, 80), (214, 60, 60), _WHITE, (150, 90, 180))
    for number in range(22):
        inset = rng.uniform(6.0, min(30.0, reach * 0.5))
        loop = rounded(
            x0 + inset, y0 + inset, x1 - inset, y1 - inset, radius=reach - inset
        )
        loop += rng.normal(0.0, 1.2, 2).astype(np.float32)
        closed = chaikin(np.concatenate([loop, loop[:1]]), rounds=1)
        colour = fibres[number % len(fibres)]
        canvas.shade(closed, strength=0.35, blur=1.2, shift=(0.6, 1.4), width=1.4)
        canvas.stroke(closed, toned(colour, 0.92), width=1.5)
    for x in (x0 + reach, x1 - reach):
        hub = rounded(x - 24, y0 + reach - 24, x + 24, y0 + reach + 24, radius=24.0)
        canvas.shade(hub, strength=0.45, blur=4.0, shift=(1.5, 3.0))
        canvas.fill(hub, toned(tone, 1.05), to=toned(tone, 0.8))
        canvas.stroke(hub, toned(tone, 1.25), width=1.0, closed=True)
    wide, high = (x1 - x0) * 0.22, min(reach * 0.9, 62.0)
    centre = y0 + reach
    block = rounded(
        middle - wide, centre - high, middle + wide, centre + high, radius=5.0
    )
    canvas.shade(block, strength=0.5, blur=4.0, shift=(2.0, 3.0))
    canvas.fill(block, toned(tone, 0.95), to=toned(tone, 0.74))
    for number, y in enumerate(np.arange(centre - high + 8, centre + high - 6, 9.0)):
        sleeve = rounded(
            middle - wide * 0.8, y, middle + wide * 0.8, y + 5.4, radius=2.6
        )
        colour = fibres[number % len(fibres)]
        canvas.shade(sleeve, strength=0.4, blur=1.4, shift=(0.6, 1.4))
        canvas.fill(sleeve, (232, 226, 224), to=(190, 184, 184))
        core = np.array(
            [[middle - wide * 0.86, y + 2.8], [middle + wide * 0.86, y + 2.8]]
        )
        canvas.stroke(core.astype(np.float32), colour, width=1.2)
        shine = core + np.array([[wide * 0.12, -1.5], [-wide * 0.12, -1.5]])
        canvas.stroke(shine.astype(np.float32), (255, 255, 255), width=0.8)
    gloss = [[x0 + 40, y0], [x0 + 130, y0], [x0 + 60, y1], [x0 - 0, y1]]
    canvas.fill(np.array(gloss, np.float32), (255, 255, 255), opacity=0.10)


def draw_splitter(cabinet: Cabinet, x0: float, x1: float, top: float) -> None:
    """Draw a splitter module; its outputs are free ports along its lower edge."""
    canvas, rng = cabinet.canvas, cabinet.rng
    high = min(236.0, 800.0 - top)
    case = rounded(x0, top, x1, top + high, radius=6.0)
    canvas.shade(case, strength=0.62, blur=14.0, shift=(7.0, 12.0))
    ident = cabinet.add("splitter", case)
    metal: Colour = (190, 193, 196) if rng.random() < 0.6 else (84, 88, 94)
    canvas.fill(case, toned(metal, 1.1), to=toned(metal, 0.82), ident=ident)
    canvas.stroke(case, toned(metal, 1.3), width=1.6, closed=True)
    lid = rounded(x0 + 12, top + 10, x1 - 12, top + high - 74, radius=4.0)
    canvas.stroke(lid, toned(metal, 0.66), width=1.2, closed=True)
    canvas.stroke(lid + np.float32(1.1), toned(metal, 1.25), width=0.9, closed=True)
    stripe = JACKETS[2] if rng.random() < 0.5 else (204, 62, 48)
    canvas.fill(box(x0 + 13, top + high - 88, x1 - 13, top + high - 79), stripe)
    for x in (x0 + 24, x1 - 24):
        _screw(canvas, x, top + 24)
    bright = metal[0] > 128
    ink: Colour = (44, 46, 50) if bright else (226, 228, 228)
    text = f"PLC 1:{2 ** int(rng.integers(3, 6))}"
    canvas.write(text, (x0 + 40, top + 30), ink, height=13.0)
    draw_sticker(
        cabinet,
        x0 + 40,
        top + 44,
        min(124.0, x1 - x0 - 60),
        48.0,
        text=f"S{rng.integers(100, 999)}",
    )
    y = top + high - 60.0
    count = int((x1 - x0 - 24.0) // 27.0)
    for number in range(count):
        x = (x0 + x1) / 2 + 27.0 * (number - (count - 1) / 2)
        flange = rounded(x - 10.5, y, x + 10.5, y + 30, radius=2.0)
        canvas.shade(flange, strength=0.45, blur=2.5, shift=(0.8, 2.0))
        canvas.fill(flange, toned(_GREEN, 1.05), to=toned(_GREEN, 0.72), ident=ident)
        canvas.fill(box(x - 7.5, y + 5, x + 7.5, y + 26), (16, 17, 18))
        tilt = float(rng.normal(0.0, 0.035))
        cabinet.outlets.append(Port(x=x, y=y + 9.0, body=_GREEN, tilt=tilt))


def draw_cable(cabinet: Cabinet, line: Points, colour: Colour, thick: float) -> None:
    """Draw a round jacket: nested lines that move towards the light as they shrink."""
    canvas = cabinet.canvas
    lift = cabinet.rng.uniform(0.5, 1.3)
    canvas.shade(
        line,
        strength=0.5,
        blur=2.2 * thick * lift,
        shift=(6.0 * lift, 12.0 * lift),
        width=thick,
    )
    canvas.shade(line, strength=0.5, blur=0.5 * thick, shift=(1.0, 2.4), width=thick)
    tones = (
        (1.0, 0.0, 0.40),
        (0.86, 0.03, 0.62),
        (0.70, 0.07, 0.82),
        (0.50, 0.13, 1.0),
        (0.28, 0.20, 1.14),
    )
    for share, towards, factor in tones:
        ident = CABLE if share >= 1.0 else None
        moved = (line + _LIGHT * (towards * thick)).astype(np.float32)
        canvas.stroke(moved, toned(colour, factor), width=share * thick, ident=ident)
    if thick * canvas.scale > 6.0:
        red, green, blue = (part + 0.55 * (255.0 - part) for part in colour)
        moved = (line + _LIGHT * (0.24 * thick)).astype(np.float32)
        canvas.stroke(moved, (red, green, blue), width=0.09 * thick)


def draw_connector(cabinet: Cabinet, port: Port, jacket: Colour) -> None:
    """Draw a plug of SC style that hangs from ``port``, with its boot."""
    canvas, rng = cabinet.canvas, cabinet.rng
    body, lean = port.body, np.array([np.cos(port.tilt), np.sin(port.tilt)])
    turn = np.array([[lean[0], -lean[1]], [lean[1], lean[0]]])

    def place(points: list[list[float]]) -> Points:
        moved = np.array(points) @ turn.T + np.array([port.x, port.y])
        return np.asarray(moved, np.float32)

    boot_tone = (_WHITE, _BLACK, body, jacket)[int(rng.integers(4))]
    whole = place(
        [[-8, 0], [8, 0], [8, 33], [5, 35], [3.6, 60], [-3.6, 60], [-5, 35], [-8, 33]]
    )
    canvas.shade(whole, strength=0.6, blur=4.0, shift=(4.0, 7.0))
    ident = cabinet.add("connector", whole)
    canvas.fill(whole, toned(boot_tone, 0.8), ident=ident)
    canvas.fill(
        place([[-3.6, 34], [1.5, 34], [1.0, 59], [-2.6, 59]]), toned(boot_tone, 1.15)
    )
    for rib in (40.0, 45.0, 50.0, 55.0):
        half = 5.0 - (rib - 35.0) * 0.056
        canvas.stroke(
            place([[-half, rib], [half, rib]]), toned(boot_tone, 0.52), width=1.3
        )
    canvas.fill(place([[-8, 0], [8, 0], [8, 33], [-8, 33]]), toned(body, 0.95))
    canvas.fill(place([[-6, 0], [3, 0], [3, 33], [-6, 33]]), toned(body, 1.28))
    canvas.fill(place([[-3.4, 2], [0.4, 2], [0.4, 31], [-3.4, 31]]), toned(body, 1.6))
    canvas.fill(place([[6, 0], [8, 0], [8, 33], [6, 33]]), toned(body, 0.6))
    for ridge in (20.0, 24.0, 28.0):
        canvas.stroke(place([[-7, ridge], [7, ridge]]), toned(body, 0.6), width=1.2)
    canvas.stroke(place([[-7.4, 1], [7.4, 1]]), toned(body, 0.5), width=2.0)
