"""The hazard table: ``python tests/hazards.py docs/hazards.md`` writes the page.

``hazards.toml`` has the rows: the hazard, what happens, in users' words, and the tests;
and removals: a text of the package that is replaced, so that a test has to fail.
"""

import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

from flipped import FLIPPED

__all__ = ["REMOVALS", "ROWS", "SECTIONS", "Removal", "Row", "page"]

SECTIONS = {
    "SEC": ("Security", 23),
    "TAR": ("Shards and files", 11),
    "NET": ("Network", 9),
    "PROC": ("Processes and ranks", 12),
    "OUT": ("Conversion and output", 6),
}
"""Title, and how many rows the specification has."""


class Removal(NamedTuple):
    """A handler of one row, and the test that misses it."""

    row: str
    handler: str
    file: str
    text: str
    """Stands in the file exactly once."""

    instead: str
    test: str


class Row(NamedTuple):
    """One hazard."""

    id: str
    hazard: str
    outcome: str
    tests: tuple[str, ...]


_DATA = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)["rows"]  # fmt: skip
ROWS = tuple(
    Row(row["id"], row["hazard"], row["outcome"], tuple(row["tests"])) for row in _DATA
)
REMOVALS = tuple(
    Removal(row["id"], **removal)
    for row in _DATA
    for removal in row.get("removals", ())
)
_INTRODUCTION = """\
# What can go wrong, and what happens then

Made by `python tests/hazards.py docs/hazards.md`; the tests compare it.
Every row has tests of its outcome.
*Taken out* lists handlers that were removed from a copy of the package, one at a time.
A test of the row failed each time; `python tests/removals.py` does it again.
"""
_FLIPS = """\
## Flipped bits

1,000 random single bits, one at a time, in a shard of 400 kB that is nearly all data,
and in its index.
Harmless means that no delivered byte changed: times, owners, padding, zeros at the end.
The silent ones are why `fiberaug index` writes a checksum of every member.
"""


def page() -> str:
    """Return docs/hazards.md."""
    lines = [_INTRODUCTION]
    for prefix, (title, _) in SECTIONS.items():
        lines += [f"## {title}", ""]
        lines += ["| | hazard | what happens | tests | taken out |", "|---" * 5 + "|"]
        lines += [_line(row) for row in ROWS if row.id.startswith(prefix)]
        lines += [""]
    lines += [_FLIPS, "| where | reported | silent | harmless |", "|---" * 4 + "|"]
    for where, counts in FLIPPED.items():
        lines.append(f"| {where} | " + " | ".join(map(str, counts)) + " |")
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    tests = []
    for name in row.tests:
        file, _, function = name.partition("::")
        tests.append(f"`{function}` in {file.removeprefix('tests/')}")
    removed = "; ".join(r.handler for r in REMOVALS if r.row == row.id)
    cells = (row.id, row.hazard, row.outcome, "<br>".join(tests), removed)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
