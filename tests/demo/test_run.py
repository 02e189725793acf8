"""Laws of the demo's run, on a small one."""

import re
from html import unescape
from pathlib import Path

import pytest

from fiberaug.demo.run import run_demo
from fiberaug.errors import UsageError

SMALL = {"images": 40, "cabinets": 2, "train_s": 2, "cabinet_size": (378, 504)}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Return (folder, report, lines said) of a demo over an earlier one's remains."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / ".fiberaug-demo.json").write_text("{}")
    (folder / "endfaces").mkdir()
    (folder / "endfaces" / "old.jpg").write_text("of an earlier demo")
    (folder / "mine.txt").write_text("not the demo's")
    lines = []
    path = run_demo(folder, say=lines.append, **SMALL)
    return folder, path, lines


def text_of(path: Path) -> str:
    return unescape(re.sub(r"<[^>]*>", "", path.read_text(encoding="utf-8")))


def test_the_report_stands_in_the_folder(demo):
    folder, path, _ = demo

    assert path == folder / "report.html"
    assert path.is_file()


def test_every_picture_of_the_page_exists_and_every_file_is_shown(demo):
    folder, path, _ = demo
    shown = set(re.findall(r'<img src="([^"]+)"', path.read_text(encoding="utf-8")))

    assert len(shown) == 4 * 3 + 3 + 4 + 3  # end faces, two cabinets, replay
    assert shown == {f"report/{file.name}" for file in (folder / "report").iterdir()}


def test_the_resumed_run_is_the_unbroken_one(demo):
    text = text_of(demo[1])

    assert "the samples an unbroken run would have seen: yes" in text
    assert "pixels are those of the unbroken run: yes" in text
    assert "checkpoint scores as before the stop: yes" in text


def test_the_replay_is_identical(demo):
    assert "identical: yes, 9,216 pixels compared" in text_of(demo[1])


def test_labels_stored_sideways_come_back_upright(demo):
    text = text_of(demo[1])

    assert "1 stored sideways, EXIF orientation 6" in text
    assert "exactly those rendered: 2 of 2" in text


def test_the_page_stands_alone(demo):
    folder, path, _ = demo
    page = path.read_text(encoding="utf-8")

    assert str(folder) not in page
    assert not re.search(r'(?:src|href)="(?:/|[a-z]+:)', page)
    assert "<script" not in page


def test_each_step_is_told_in_one_line(demo):
    lines = demo[2]

    assert [line.split(".")[0] for line in lines] == [str(i) for i in range(1, 9)]
    assert all(re.search(r" \(\d+\.\d s\)$", line) for line in lines)


def test_only_what_an_earlier_demo_made_is_replaced(demo):
    folder = demo[0]

    assert not (folder / "endfaces" / "old.jpg").exists()
    assert (folder / "mine.txt").read_text() == "not the demo's"


def test_a_folder_that_no_demo_made_is_left_alone(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "precious.txt").write_text("keep")

    with pytest.raises(UsageError, match="no demo made"):
        run_demo(tmp_path, say=str)
    assert (tmp_path / "runs" / "precious.txt").read_text() == "keep"
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.parametrize("wrong", [{"images": 19}, {"cabinets": 0}, {"train_s": 0}])
def test_arguments_are_checked_before_anything_is_written(tmp_path, wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        run_demo(tmp_path / "new", say=str, **wrong)
    assert not (tmp_path / "new").exists()
