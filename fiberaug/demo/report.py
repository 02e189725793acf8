"""The report: one page without scripts, its pictures in files beside it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from fiberaug.demo.charts import Chart
from fiberaug.demo.drawing import Ink
from fiberaug.demo.gallery import Picture, Row
from fiberaug.demo.style import STYLE

__all__ = ["Gallery", "Report", "Step", "Tile"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing that the demo did."""

    title: str
    figures: str
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """A figure at the head of the page."""

    what: str
    value: str
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Gallery:
    """Originals and augmented versions of one data set."""

    heading: str
    lead: str
    ink: Ink
    rows: Sequence[Row]
    close: bool = False
    """Small pictures: two rows stand side by side."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All that stands on the page; texts are plain and get escaped here."""

    lead: str
    tiles: Sequence[Tile]
    steps: Sequence[Step]
    total_s: float
    galleries: Sequence[Gallery]
    training: str
    charts: Sequence[Chart]
    resume: Sequence[tuple[str, bool]]
    """Sentences and whether they held."""

    resume_lead: str
    replay_lead: str
    replay: Sequence[Picture]
    replay_operations: Sequence[tuple[str, str]]
    identical: bool
    pixels: int
    """Pixels that were compared."""

    files_lead: str
    examples: Mapping[str, Any]
    """JSON values by title."""

    versions: str

    def to_html(self) -> str:
        """Return the page."""
        lead = f"<h1>FiberAug demo</h1><p>{escape(self.lead)}</p>"
        body = [
            f'<header><div class="inner">{lead}</div></header><main>',
            _tiles(self.tiles),
            _section("What happened", "", _table(self.steps, self.total_s)),
            *map(_gallery, self.galleries),
            _section("Training", self.training, _charts(self.charts)),
            _section("Stopped and resumed", self.resume_lead, _checks(self.resume)),
            _section("Replay", self.replay_lead, self._replay()),
            _section("In the files", self.files_lead, _raw(self.examples)),
            f"<footer>{escape(self.versions)}</footer></main>",
        ]
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>FiberAug demo</title><style>{STYLE}</style></head>\n<body>"
            + "\n".join(body)
            + "</body></html>\n"
        )

    def _replay(self) -> str:
        pictures = "".join(_figure(picture) for picture in self.replay)
        return (
            '<div class="card replay"><div class="pictures">'
            f'{pictures}</div><div class="words"><p id="replay">identical:'
            f" {_answer(self.identical)}, {self.pixels:,} pixels compared</p>"
            f"<ol>{_operations(self.replay_operations)}</ol></div></div>"
        )


def _answer(held: bool) -> str:  # noqa: FBT001  # the answer is the subject
    return '<span class="yes">yes</span>' if held else '<span class="no">no</span>'


def _section(heading: str, lead: str, content: str) -> str:
    text = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    return f"<section><h2>{escape(heading)}</h2>{text}{content}</section>"


def _tiles(tiles: Sequence[Tile]) -> str:
    cards = "".join(
        f'<div class="card"><span class="what">{escape(t.what)}</span>'
        f"<b>{escape(t.value)}</b><span>{escape(t.note)}</span></div>"
        for t in tiles
    )
    return f'<div class="tiles">{cards}</div>'


def _table(steps: Sequence[Step], total_s: float) -> str:
    rows = "".join(
        f'<tr><td>{number}</td><td class="step">{escape(step.title)}</td>'
        f'<td class="what">{escape(step.figures)}</td>'
        f'<td class="time">{step.seconds:.1f} s</td></tr>'
        for number, step in enumerate(steps, 1)
    )
    return (
        '<div class="card"><table><tr><th></th><th>step</th><th>figures</th>'
        f'<th class="time">time</th></tr>{rows}<tr class="sum"><td></td>'
        '<td class="step">all</td><td class="what"></td>'
        f'<td class="time">{total_s:.1f} s</td></tr></table></div>'
    )


def _gallery(gallery: Gallery) -> str:
    style = "close" if gallery.close else "wide"
    cards = "".join(
        f'<div class="card"><h3>{escape(row.title)}</h3><div class="pictures {style}">'
        f"{''.join(map(_figure, row.pictures))}</div></div>"
        for row in gallery.rows
    )
    cards = f'<div class="pairs">{cards}</div>' if gallery.close else cards
    return _section(gallery.heading, gallery.lead, _legend(gallery.ink) + cards)


def _legend(ink: Ink) -> str:
    boxes = [("", name, colour) for name, colour in ink.boxes.items()]
    areas = [
        ("area" if opacity else "", name, colour)
        for name, colour, opacity in ink.masks.values()
    ]
    words = ["box" if i < len(boxes) else "mask" for i in range(len(boxes + areas))]
    items = "".join(
        f'<li><i class="{kind}" style="color:{colour}"></i>'
        f"{escape(name.replace('_', ' '))} ({word})</li>"
        for word, (kind, name, colour) in zip(words, boxes + areas, strict=True)
    )
    return f'<ul class="legend">{items}</ul>'


def _figure(picture: Picture) -> str:
    # Shares of the row by aspect ratio: all pictures of a row get one height.
    ratio = picture.width / picture.height
    tall = ' class="tall"' if ratio < 0.9 else ""
    operations = _operations(picture.operations)
    listed = f"<ol>{operations}</ol>" if operations else ""
    file = escape(picture.file, quote=True)
    caption = escape(picture.caption)
    return (
        f'<figure{tall} style="flex:{ratio:.3f} 1 0"><a href="{file}"><img src="{file}"'
        f' width="{picture.width}" height="{picture.height}" alt="{caption}"'
        f' loading="lazy"></a><figcaption>{caption}{listed}</figcaption></figure>'
    )


def _operations(operations: Sequence[tuple[str, str]]) -> str:
    return "".join(
        f"<li><b>{_breakable(name)}</b> {escape(text)}</li>"
        for name, text in operations
    )


def _breakable(name: str) -> str:
    """Return a class name that a narrow column may break before a capital letter."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "<wbr>", escape(name))


def _charts(charts: Sequence[Chart]) -> str:
    cards = "".join(f'<div class="card">{chart.to_svg()}</div>' for chart in charts)
    return f'<div class="charts">{cards}</div>'


def _checks(checks: Sequence[tuple[str, bool]]) -> str:
    rows = "".join(
        f'<p class="check">{escape(text)}: {_answer(held)}</p>' for text, held in checks
    )
    return f'<div class="card words">{rows}</div>'


def _raw(examples: Mapping[str, Any]) -> str:
    items = "".join(
        f"<details><summary>{escape(title)}</summary><pre><code>"
        f"{escape(json.dumps(value, indent=2, ensure_ascii=False))}"
        "</code></pre></details>"
        for title, value in examples.items()
    )
    return f'<div class="card">{items}</div>'
