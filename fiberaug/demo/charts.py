"""Line charts as inline SVG, in the colours of the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Chart", "smoothed"]

_WIDTH, _HEIGHT = 520, 290
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 30, 44


def smoothed(values: Sequence[float], *, keep: float = 0.9) -> list[float]:
    """Return the exponential moving average, corrected for its start.

    Source: D. Kingma, J. Ba, "Adam", 2015, algorithm 1 (bias correction).
    """
    result, mean = [], 0.0
    for count, value in enumerate(values, 1):
        mean = keep * mean + (1.0 - keep) * value
        result.append(mean / (1.0 - keep**count))
    return result


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """One chart over training steps."""

    title: str
    """What is drawn, with its unit."""

    steps: int
    """Right end of the horizontal axis."""

    top: float
    """Upper end of the vertical axis, which begins at 0."""

    ticks: Sequence[tuple[float, str]]
    """Values and texts of the vertical axis."""

    lines: Sequence[tuple[str, Sequence[tuple[float, float]]]]
    """Style (``thin``, ``bold`` or ``dots``) and points (step, value)."""

    mark: tuple[int, str]
    """Step and text of the vertical mark."""

    def to_svg(self) -> str:
        """Return the chart as an ``svg`` element."""
        title = escape(self.title)
        parts = [
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}">',
            f'<text class="name" x="{_LEFT}" y="16">{title}</text>',
        ]
        for value, text in self.ticks:
            y = self._y(value)
            parts.append(
                f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}"'
                f' y2="{y:.1f}"/><text x="{_LEFT - 8}" y="{y + 4:.1f}"'
                f' text-anchor="end">{escape(text)}</text>'
            )
        parts += self._axis()
        parts += [self._line(style, points) for style, points in self.lines]
        parts += [*self._mark(), "</svg>"]
        return "".join(parts)

    def _x(self, step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / max(1, self.steps)

    def _y(self, value: float) -> float:
        share = min(value, self.top) / self.top
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share

    def _axis(self) -> list[str]:
        y = _HEIGHT - _BOTTOM + 18
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        places = ((0, "middle"), (self.steps // 2, "middle"), (self.steps, "end"))
        parts = [
            f'<text x="{self._x(step):.1f}" y="{y}" text-anchor="{anchor}">{step}'
            "</text>"
            for step, anchor in places
        ]
        text = f'<text x="{middle}" y="{y + 18}" text-anchor="middle">step</text>'
        return [*parts, text]

    def _line(self, style: str, points: Sequence[tuple[float, float]]) -> str:
        places = [(self._x(x), self._y(y)) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        if style != "dots":
            return f'<polyline class="{style}" points="{path}"/>'
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places)
        return f'<polyline class="bold" points="{path}"/>{dots}'

    def _mark(self) -> list[str]:
        x, text = self._x(self.mark[0]), escape(self.mark[1])
        top, bottom = _TOP - 4, _HEIGHT - _BOTTOM
        return [
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>',
            f'<text class="mark" x="{x + 6:.1f}" y="{_TOP + 8}">{text}</text>',
        ]
