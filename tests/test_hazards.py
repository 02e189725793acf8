"""The hazard table is whole and true: every row, every test, every handler."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
from hazards import REMOVALS, ROWS, SECTIONS, page
from removals import notices

import fiberaug

ROOT = Path(__file__).parents[1]
PACKAGE = Path(fiberaug.__file__).parent
SPECIFICATION = ROOT / "../shared/research/reliability.md"
TITLES = {
    "### Security": "SEC",
    "### Faults: shard and file level": "TAR",
    "### Faults: network": "NET",
    "### Faults: processes and distributed": "PROC",
    "### Conversion and output": "OUT",
}


def names_in(file):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}


def test_every_row_of_the_specification_has_a_row():
    ids = [row.id for row in ROWS]
    wanted = [
        f"{name}-{number:02d}"
        for name, (_, count) in SECTIONS.items()
        for number in range(1, count + 1)
    ]

    assert ids == wanted
    assert len(ids) == 61


@pytest.mark.data
def test_the_specification_has_as_many_rows_as_the_table():
    if not SPECIFICATION.exists():
        pytest.skip("the specification is not beside this checkout")
    section, counted = None, Counter()
    for line in SPECIFICATION.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            section = next((s for t, s in TITLES.items() if line.startswith(t)), None)
        elif section and line.startswith("|") and not re.match(r"\|( hazard |-)", line):
            counted[section] += 1

    assert counted == {name: count for name, (_, count) in SECTIONS.items()}


def test_every_test_that_the_table_names_exists():
    for row in ROWS:
        assert row.tests, row.id
        for name in row.tests:
            file, _, function = name.partition("::")
            assert function in names_in(file), (row.id, name)


def test_every_promise_is_short():
    for row in ROWS:
        assert len(row.outcome) < 220, row.id
        assert "|" not in row.outcome, row.id


def test_the_page_is_the_table():
    """``python tests/hazards.py docs/hazards.md`` writes it anew."""
    assert (ROOT / "docs/hazards.md").read_text(encoding="utf-8") == page()


def test_every_handler_that_is_taken_out_is_there_and_belongs_to_a_row():
    ids = {row.id for row in ROWS}
    for removal in REMOVALS:
        assert removal.row in ids
        source = (PACKAGE / removal.file).read_text(encoding="utf-8")
        assert source.count(removal.text) == 1, (removal.handler, removal.file)
        file, _, function = removal.test.partition("[")[0].partition("::")
        assert function in names_in(file), removal.test


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "removal", REMOVALS, ids=[f"{r.row} {r.handler}" for r in REMOVALS]
)
def test_a_handler_that_is_taken_out_is_missed(removal, tmp_path):
    assert notices(removal, tmp_path)
