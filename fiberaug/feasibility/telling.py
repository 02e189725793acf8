"""The answer as people read it: a table, then what is known of each way."""

from collections.abc import Iterator

from fiberaug.feasibility.data import Data
from fiberaug.feasibility.report import Report
from fiberaug.feasibility.routes import Route
from fiberaug.sizes import format_bytes

__all__ = ["tell", "told_hours"]

_HEAD = ("route", "fits", "memory", "time", "disk", "what")
_PROMISE = (
    "what fits need not help: measure it with fiberaug.evaluate (docs/evaluate.md), at"
    " equal steps, on real photos that nothing was trained on"
)


def tell(report: Report) -> Iterator[str]:
    """Yield the lines of a report."""
    yield from _data(report.data)
    yield f"memory: {format_bytes(report.budget)} on {report.device}"
    yield ""
    rows = [_HEAD, *(_row(one) for one in report.routes)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield "  ".join([*cells, row[-1]])
    for one in report.routes:
        yield ""
        yield from _details(one)
    yield ""
    yield f"begin with: {report.recommended}: {report.reason}"
    yield f"  {_route(report).command}"
    yield _PROMISE
    yield (
        "times are estimates: a few steps on this machine, times the images; those of"
        " lora and edit from a convolution"
    )


def told_hours(hours: float | None) -> str:
    """Return a time as people read it.

    >>> told_hours(0.01), told_hours(5.25), told_hours(100), told_hours(None)
    ('1 min', '5.2 h', '4.2 days', '?')
    """
    if hours is None:
        return "?"
    if hours < 1:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def _data(data: Data) -> Iterator[str]:
    px = data.median_px
    size = "sizes not known" if px is None else f"median {px[0]}x{px[1]} px"
    yield f"photos: {data.photos:,}, {size} (height x width)"
    if data.counts:
        smallest = min(data.counts, key=data.counts.__getitem__)
        yield (
            f"classes: {len(data.counts)}, from {data.least} ({smallest}) photos, the"
            f" middle one {data.typical}"
        )
    if data.unlabelled:
        yield (
            f"without a class: {data.unlabelled:,} of {data.photos:,}; a generator by"
            " class needs a .cls of each, which `fiberaug convert` writes for one"
            " folder a class"
        )
    targets = [f"{data.boxes:,} boxes"] if data.boxes else []
    targets += ["masks"] if data.masks else []
    yield f"regions: {' and '.join(targets) or 'neither boxes nor masks'}"


def _row(route: Route) -> tuple[str, ...]:
    if not route.fits:
        return route.name, "no", "-", "-", "-", route.what
    peak = "?" if route.peak is None else format_bytes(route.peak)
    time, disk = told_hours(route.hours), format_bytes(route.disk)
    return route.name, "yes", peak, time, disk, route.what


def _details(route: Route) -> Iterator[str]:
    yield f"{route.name}: {route.command}"
    if route.images:
        yield f"  {route.images:,} images"
    if route.why:
        yield f"  does not fit: {route.why}"
    if route.levers:
        yield f"  {route.levers}"
    for note in route.notes:
        yield f"  note: {note}"
    for one in route.evidence:
        yield f"  evidence, {one}"


def _route(report: Report) -> Route:
    return next(one for one in report.routes if one.name == report.recommended)
