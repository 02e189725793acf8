"""Make the table and the plot of a race from its JSON.

    python benchmarks/figures.py [benchmarks/results/race.json]

Writes ``docs/race.md`` (every figure, losses and absences included), ``docs/race.svg``,
and the part of README.md between ``<!-- race -->`` and ``<!-- /race -->``.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

__all__ = ["between", "full", "main", "plot", "short"]

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- race -->", "<!-- /race -->"
OURS = {
    "fiberaug": "FiberAug",
    "fiberaug-opencv": "OpenCV alone",
    "fiberaug-seekable": "seekable",
    "fiberaug-fast": 'decode="fast"',
}
Results = Mapping[str, Any]


def short(results: Results) -> str:
    """Return the README's table: a row a loader, a column a task."""
    tasks = results["tasks"]
    names = dict.fromkeys(name for task in tasks.values() for name in task["entrants"])
    lines = [
        f"| images per CPU-second | {' | '.join(tasks)} |",
        f"|---|{'---|' * len(tasks)}",
    ]
    for name in names:
        cells = [_cell(task, name) for task in tasks.values()]
        if any(cells):
            about = next(
                task["entrants"][name]["about"]
                for task in tasks.values()
                if name in task["entrants"]
            )
            cells = [cell or "-" for cell in cells]
            lines.append(f"| {about} | {' | '.join(cells)} |")
    lines.append("")
    lines += [f"- `{name}`: {task['about']}." for name, task in tasks.items()]
    lines.append("")
    lines.append(
        f"Medians of {_rounds(results)} rounds on {_machine(results)}; in brackets,"
        " how many times as many FiberAug delivers, round by round: below 1 it loses."
        " -: not raced: cannot do this work, is absent, or was left out."
    )
    return "\n".join(lines)


def _cell(task: Mapping[str, Any], name: str) -> str:
    entrant = task["entrants"].get(name, {})
    if entrant.get("status") == "failed":
        return "failed its check"
    if entrant.get("status") != "ranked":
        return ""
    rate = f"{entrant['per_cpu_s']['median']:,.0f}"
    ratio = task["ratios"].get("fiberaug", {}).get(name)
    if name in OURS or ratio is None:
        return rate
    return f"{rate} ({ratio['cpu']['median']:.2f})"


def full(results: Results) -> str:
    """Return the page with every figure."""
    head = f"""# Loaders, raced

Made by `benchmarks/figures.py` from `benchmarks/results/`; [benchmarks/README.md](../benchmarks/README.md) says how it is measured.

{_machine(results)}; {results["workers"]} workers; {_rounds(results)} rounds of {results["date"]}, entrants alternating; median (least to most).
Under a form of FiberAug stands how many times the images of that row's loader it delivers: in the same CPU-seconds / in the same time, medians of the ratios round by round. Below 1 it loses.

![Images per CPU-second](race.svg)"""  # noqa: E501  # one sentence a line
    lines = [head]
    for name, task in results["tasks"].items():
        lines += ["", f"## {name}", "", f"{task['about']}.", "", *_rows(task)]
    lines += ["", "## Versions", ""]
    for home, found in sorted(results["environments"].items()):
        known = (f"{n} {v}" for n, v in found["packages"].items() if n in NAMED)
        lines.append(f"- {home}: Python {found['python']}, {', '.join(known)}")
    return "\n".join(lines) + "\n"


NAMED = {
    "fiberaug", "albumentations", "opencv-python-headless", "numpy", "torch", "pillow",
    "webdataset", "torchvision", "nvidia-dali-cuda130", "spdl", "mosaicml-streaming",
    "litdata", "grain", "array-record", "array_record", "nvidia-nvimgcodec-cu13",
}  # fmt: skip
"""Packages whose versions the page tells; the JSON has all."""


def _rows(task: Mapping[str, Any]) -> list[str]:
    ranked = _ranked(task)
    forms = [form for form in OURS if form in task["ratios"]]
    titles = ["loader", "images per CPU-second", "images a second"]
    titles += [OURS[form] for form in forms]
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for name, entrant in ranked.items():
        cells = [entrant["about"], _range(entrant["per_cpu_s"])]
        cells.append(_range(entrant["per_s"]))
        for form in forms:
            pair = task["ratios"][form].get(name)
            cells.append(
                f"{pair['cpu']['median']:.2f} / {pair['wall']['median']:.2f}"
                if pair
                else ""
            )
        lines.append(f"| {' | '.join(cells)} |")
    for name, entrant in task["entrants"].items():
        if name not in ranked:
            said = f"{entrant['status']}: {entrant['reason']}".replace("|", "/")
            lines.append(f"| {entrant['about']} | {said} |{' |' * (len(titles) - 2)}")
    return lines


def _ranked(task: Mapping[str, Any]) -> dict[str, Any]:
    """The entrants that passed, most images per CPU-second first."""
    passed = {n: e for n, e in task["entrants"].items() if e["status"] == "ranked"}
    return dict(sorted(passed.items(), key=lambda p: -p[1]["per_cpu_s"]["median"]))


def _range(spread: Mapping[str, float]) -> str:
    return f"{spread['median']:,.0f} ({spread['min']:,.0f} to {spread['max']:,.0f})"


def _rounds(results: Mapping[str, Any]) -> str:
    """Return how many rounds there were; tasks can be raced apart."""
    counts = {
        max(len(entrant.get("runs", ())) for entrant in task["entrants"].values())
        for task in results["tasks"].values()
    }
    low, high = min(counts), max(counts)
    return str(high) if low == high else f"{low} to {high}"


def _machine(results: Results) -> str:
    machine = results["machine"]
    return f"{machine['cores']} cores ({machine['cpu']})"


BAR, GAP, LEFT, WIDTH = 17, 34, 330, 860


def plot(results: Results) -> str:
    """Return the plot as SVG: a bar a loader, its spread, one panel a task."""
    parts, y = [], 20
    for name, task in results["tasks"].items():
        ranked = _ranked(task)
        if not ranked:
            continue
        most = max(entrant["per_cpu_s"]["max"] for entrant in ranked.values())
        scale = (WIDTH - LEFT - 70) / most
        parts.append(_text(12, y + 4, f"{name}: {task['about']}", "bold"))
        y += 14
        for who, entrant in ranked.items():
            rate, middle = entrant["per_cpu_s"], y + BAR / 2
            colour = "#1f6feb" if who in OURS else "#9aa4af"
            low, high = (LEFT + rate[end] * scale for end in ("min", "max"))
            size = f'width="{rate["median"] * scale:.1f}" height="{BAR - 4}"'
            line = f'd="M{low:.1f} {middle}H{high:.1f}" stroke="#24292f"'
            parts.append(f'<rect x="{LEFT}" y="{y + 2}" {size} fill="{colour}"/>')
            parts.append(f"<path {line}/>")
            parts.append(_text(LEFT - 8, middle + 4, entrant["about"], anchor="end"))
            parts.append(_text(high + 6, middle + 4, f"{rate['median']:,.0f}"))
            y += BAR
        y += GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}"'
        f' viewBox="0 0 {WIDTH} {y}" font-family="sans-serif" font-size="12">'
        "<title>Images per CPU-second: median, and least to most</title>"
        f'<rect width="{WIDTH}" height="{y}" fill="#fff"/>'
    )
    note = "images per CPU-second, median; line: least to most"
    parts.append(_text(WIDTH - 12, y - 10, note, anchor="end"))
    return "\n".join([head, *parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, weight: str = "", anchor: str = "") -> str:
    weight = f' font-weight="{weight}"' if weight else ""
    anchor = f' text-anchor="{anchor}"' if anchor else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}"{weight}{anchor} fill="#24292f">'
        f"{escape(text)}</text>"
    )


def between(page: str, block: str) -> str:
    """Return a page with what stands between the two markers replaced.

    Raises:
        ValueError: The page does not have both markers, once and in order.
    """
    once = page.count(BEGIN) == page.count(END) == 1
    if not once or page.find(BEGIN) > page.find(END):
        raise ValueError(f"the page needs {BEGIN} and after it {END}, each once")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{block}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Write what the command line's JSON gives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = ROOT / "benchmarks/results/race.json"
    parser.add_argument("results", type=Path, nargs="?", default=default)
    results = json.loads(parser.parse_args().results.read_text(encoding="utf-8"))
    readme = ROOT / "README.md"
    block = (
        f"![Images per CPU-second of FiberAug and its peers](docs/race.svg)\n\n"
        f"{short(results)}\n\n[Every figure](docs/race.md)."
    )
    _write(ROOT / "docs/race.svg", plot(results))
    _write(ROOT / "docs/race.md", full(results))
    try:
        _write(readme, between(readme.read_text(encoding="utf-8"), block))
    except ValueError as error:
        sys.exit(f"figures: README.md is left as it is: {error}")


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


if __name__ == "__main__":
    main()
