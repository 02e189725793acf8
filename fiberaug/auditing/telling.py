"""An audit as text: tables for a terminal, and a verdict in one line."""

from collections.abc import Iterator, Sequence

from fiberaug.auditing.findings import Audit, Range, Rate
from fiberaug.auditing.shares import Share
from fiberaug.sizes import counted

__all__ = ["tell"]

_MOST_SHARES = 60
_MOST_FINDINGS = 50
Row = Sequence[str]


def tell(audit: Audit, *, every: bool = False) -> list[str]:
    """Return the lines that say what an audit found, the verdict last.

    Args:
        audit: The audit.
        every: Show the parameters of which no bounds are known, and every class, too.
    """
    parts = [
        counted(audit.records, "record"),
        f"{audit.counted} that count",
        counted(len(audit.epochs), "epoch"),
        counted(audit.ranks, "rank"),
        f"{audit.passes} pass" + "es" * (audit.passes != 1),
    ]
    lines = [f"{audit.folder}: " + ", ".join(parts)]
    lines += _block("rates: applied and asked for", _RATES, map(_rate, audit.rates))
    shown = [r for r in audit.ranges if every or r.low is not None]
    lines += _block("parameters: seen and asked for", _RANGES, map(_range, shown))
    shares = [s for s in audit.shares if s.label is None or every or s.is_off]
    if len({s.source for s in shares}) > 1 or every:
        table = _block("shares: delivered and asked for", _SHARES, map(_share, shares))
        lines += table if every else _cut(table, _MOST_SHARES)
    if audit.stand_ins:
        broken = ", ".join(f"{n} of {name}" for name, n in audit.stand_ins.items())
        lines += ["", f"stand-ins for broken samples: {broken}"]
    outside = [f for f in audit.findings if f.is_outside]
    notes = [f for f in audit.findings if not f.is_outside]
    for title, found in (("notes", notes), ("outside of bounds", outside)):
        if found:
            lines += ["", f"{title}:"]
            lines += _cut([f"  {f.topic}: {f.text}" for f in found], _MOST_FINDINGS)
    return [*lines, "", verdict(audit)]


def verdict(audit: Audit) -> str:
    """Return the one line that says whether the run is as it was asked for."""
    outside = sum(finding.is_outside for finding in audit.findings)
    judged = sum(rate.asked is not None for rate in audit.rates)
    bounded = sum(one.low is not None for one in audit.ranges)
    what = f"{judged} of {counted(len(audit.rates), 'rate')}, {bounded} of"
    what += f" {counted(len(audit.ranges), 'parameter')}"
    if outside:
        return f"OUTSIDE: {counted(outside, 'finding')} ({what} could be judged)"
    return f"OK: nothing is outside of its bounds ({what} could be judged)"


_RATES = ("", "operation", "applied", "of", "%", "asked %", "agrees with %")
_RANGES = (
    "", "operation", "parameter", "values", "min", "5 %", "50 %", "95 %", "max",
    "asked", "law", "off by",
)  # fmt: skip
_SHARES = ("epoch", "class", "source", "delivered", "asked", "window", "unit")


def _rate(rate: Rate) -> Row:
    seen = f"{100 * rate.applied / rate.trials:.2f}" if rate.trials else ""
    asked = "unknown" if rate.asked is None else f"{100 * rate.asked:.2f}"
    agrees = f"{100 * rate.low:.2f} to {100 * rate.high:.2f}" if rate.trials else ""
    name = rate.name + " !" * rate.is_off
    return rate.path, name, str(rate.applied), str(rate.trials), seen, asked, agrees


def _range(one: Range) -> Row:
    numbers = [f"{n:.4g}" for n in (one.min, one.q05, one.q50, one.q95, one.max)]
    asked = law = off = ""
    if one.low is not None and one.high is not None:
        asked = f"{one.low:.4g} to {one.high:.4g}"
    if one.distance is not None and one.allowed is not None:
        law = one.law
        off = f"{one.distance:.3f} of {one.allowed:.3f}"
        off += " !" * (one.distance > one.allowed)
    name = one.parameter + " !" * bool(one.outside)
    return one.path, one.name, name, str(one.count), *numbers, asked, law, off


def _share(share: Share) -> Row:
    asked, window, unit = (
        "" if value is None else f"{value:.2f}"
        for value in (share.asked, share.worst, share.worst_unit)
    )
    label = "all" if share.label is None else str(share.label)
    source = share.source + " !" * share.is_off
    return str(share.epoch), label, source, str(share.delivered), asked, window, unit


def _block(title: str, head: Row, rows: Iterator[Row]) -> list[str]:
    """Return a table with a title; nothing where it has no rows."""
    table = [head, *rows]
    if len(table) == 1:
        return []
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["", f"{title}:", *(_line(row, widths) for row in table)]


def _line(row: Row, widths: list[int]) -> str:
    cells = [
        cell.rjust(width)
        if cell[:1].isdigit() or cell[:1] == "-"
        else cell.ljust(width)
        for cell, width in zip(row, widths, strict=True)
    ]
    return ("  " + "  ".join(cells)).rstrip()


def _cut(lines: list[str], most: int) -> list[str]:
    if len(lines) <= most:
        return lines
    return [*lines[:most], f"  and {len(lines) - most} more"]
