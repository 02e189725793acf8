"""The soak run as a table and a picture: memory, descriptors, threads over time."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

QUANTITIES = {
    "uss_mib": "memory of a process alone (USS), MiB",
    "descriptors": "open file descriptors",
    "threads": "threads",
}
_COLOURS = {"main": (31, 92, 168), "worker": (214, 106, 28)}
_WIDTH, _PANEL, _LEFT, _RIGHT, _TOP, _GAP = 1100, 210, 70, 20, 40, 46
_SETTLED = (0.25, 0.95)

Row = Mapping[str, Any]


def lives(rows: Sequence[Row]) -> dict[tuple[str, int], list[Row]]:
    """Return the rows of each process, in time."""
    found: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        found[row["name"], row["pid"]].append(row)
    return dict(found)


def table(rows: Sequence[Row], samples: int) -> list[dict[str, Any]]:
    """Return one line for each process of the last start, which nobody was killed in.

    ``..._a_minute`` are slopes of straight lines (least squares) through what was noted
    between a quarter and nineteen twentieths of the process's life, or through all of a
    life so short that nothing was noted there; ``samples`` is how many it made or took
    in that life.

    Args:
        rows: What was noted.
        samples: Samples of the run.
    """
    lines = []
    last = max(row["start"] for row in rows)
    found = {key: life for key, life in lives(rows).items() if life[0]["start"] == last}
    kinds = Counter(name.split()[0] for name, _ in found)
    for (name, _), life in sorted(found.items()):
        begun, ended = life[0]["s"], life[-1]["s"]
        low, high = (begun + share * (ended - begun) for share in _SETTLED)
        settled = [row for row in life if low <= row["s"] <= high] or life
        minutes = np.asarray([row["s"] for row in settled]) / 60
        line: dict[str, Any] = {
            "process": name,
            "minutes": round((ended - begun) / 60, 1),
            "samples": (samples - last) // kinds[name.split()[0]],
        }
        for quantity in QUANTITIES:
            values = np.asarray([row[quantity] for row in settled], float)
            slope = np.polyfit(minutes, values, 1)[0] if len(settled) > 2 else 0.0
            line |= {
                f"{quantity}_first": float(values[0]),
                f"{quantity}_last": float(values[-1]),
                f"{quantity}_most": float(values.max()),
                f"{quantity}_a_minute": round(float(slope), 3),
            }
        per_10_000 = line["uss_mib_a_minute"] * line["minutes"] / line["samples"] * 1e4
        line["uss_mib_for_10_000_samples"] = round(per_10_000, 3)
        lines.append(line)
    return lines


def most(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Return the largest value of each quantity in any ``main`` or ``worker``."""
    return {
        kind: {
            quantity: max(r[quantity] for r in rows if r["name"].startswith(kind))
            for quantity in (*QUANTITIES, "cache_mib")
        }
        for kind in _COLOURS
    }


def plot(rows: Sequence[Row], kills: Sequence[Row], path: Path) -> None:
    """Write the picture: one panel a quantity, one line a process, kills as marks."""
    height = _TOP + len(QUANTITIES) * (_PANEL + _GAP)
    image = Image.new("RGB", (_WIDTH, height), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(15)
    end = max(row["s"] for row in rows)
    for number, (quantity, title) in enumerate(QUANTITIES.items()):
        top = _TOP + number * (_PANEL + _GAP)
        most = max(row[quantity] for row in rows) * 1.1
        draw.text((_LEFT, top - 22), title, "black", font)
        for share in (0.0, 0.5, 1.0):
            y = top + _PANEL * (1 - share)
            draw.line([(_LEFT, y), (_WIDTH - _RIGHT, y)], (220, 220, 220))
            draw.text((8, y - 9), f"{most * share:.0f}", (90, 90, 90), font)
        for kill in kills:
            x = _x(kill["s"], end)
            draw.line([(x, top), (x, top + _PANEL)], (200, 30, 30))
        for (name, _), life in lives(rows).items():
            points = [
                (_x(row["s"], end), top + _PANEL * (1 - row[quantity] / most))
                for row in life
            ]
            if len(points) > 1:
                draw.line(points, _COLOURS[name.split()[0]], 2)
    base = _TOP + len(QUANTITIES) * (_PANEL + _GAP) - _GAP + 6
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = min(_x(end * share, end), _WIDTH - 60)
        draw.text((x, base), f"{end * share:.0f} s", (90, 90, 90), font)
    for place, (name, colour) in enumerate(_COLOURS.items()):
        draw.text((_WIDTH - 330 + 90 * place, 8), name, colour, font)
    draw.text((_WIDTH - 140, 8), "killed", (200, 30, 30), font)
    image.save(path, optimize=True)


def _x(seconds: float, end: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * seconds / max(end, 1e-9)
