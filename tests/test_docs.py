"""What the pages of docs/ show works."""

import re
from pathlib import Path

import pytest

import fiberaug

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))


def blocks(page, language):
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "docs"}
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), names)  # noqa: S102  # our own text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_links_of_a_page_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    if not (ROOT / "CONTRIBUTING.md").exists():
        pytest.skip("not in a checkout")
    for link in set(re.findall(r"\]\((?!http)([^)#]+)\)", text)):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tests_that_a_page_names_exist(page):
    names = set(re.findall(r"`(test_\w+\.py)`", page.read_text(encoding="utf-8")))
    there = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert names <= there


def test_the_record_that_is_shown_is_a_record():
    (text,) = blocks(ROOT / "docs/records.md", "json")
    record = fiberaug.Record.from_json(text)

    assert [t.name for t in record.applied_transforms] == [
        "RandomResizedCrop", "GaussNoise",
    ]  # fmt: skip


def test_there_are_pages():
    """The finder finds: without this line an empty folder would pass as well."""
    assert {"decoding", "own-operations", "records", "recipes"} <= {
        page.stem for page in PAGES
    }
