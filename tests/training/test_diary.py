"""What is written of a training that was broken off is what an unbroken one writes."""

import csv
import json

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from watched import ROWS, go, view_of

from fiberaug.errors import DataRefused, StoreError
from fiberaug.training.diary import Diary
from fiberaug.training.tables import Table, read_table

TIMES = {"seconds", "images_per_s"}


def rows(out, *, times=True):
    with (out / "loss.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if times or k not in TIMES} for row in found]


def text_of(out):
    return (out / "loss.csv").read_text()


def whole(out, steps, upto=None):
    view = view_of(out, steps=steps)
    diary = Diary()
    diary.begin(view)
    go(view, [diary], steps if upto is None else upto)
    return view, diary


def test_a_row_a_step_has_all_figures(tmp_path):
    view, diary = whole(tmp_path / "a", 20)
    diary.end(view)
    found = rows(tmp_path / "a")

    assert [int(row["step"]) for row in found] == list(range(1, 21))
    assert [int(row["nimg"]) for row in found] == list(range(ROWS, 21 * ROWS, ROWS))
    for row in found:
        expected = view.task.figures(int(row["step"]))
        for name, value in expected.items():
            assert float(row[name]) == pytest.approx(value, rel=1e-5)
        assert bool(row["judge/kid"]) == ("judge/kid" in expected)
    with Image.open(tmp_path / "a" / "loss.png") as picture:
        assert picture.size[0] >= 640


@settings(max_examples=20, deadline=None, phases=[Phase.generate])
@given(saved=st.integers(0, 12), ran=st.integers(0, 8), torn=st.booleans())
def test_rows_after_the_state_are_taken_back(tmp_path_factory, saved, ran, torn):
    base = tmp_path_factory.mktemp("diary")
    _, diary = whole(base / "whole", 20)
    diary.state_dict()  # all rows are on disk

    view, diary = whole(base / "cut", 20, upto=saved)
    state = json.loads(json.dumps(diary.state_dict()))
    nimg, figures = view.nimg, view.figures
    go(view, [diary], min(saved + ran, 20))
    diary.state_dict()  # and then it is killed
    table = base / "cut" / "loss.csv"
    if torn and table.exists():
        table.write_text(table.read_text() + "13,10")

    view = view_of(base / "cut", steps=20)
    view.step, view.nimg, view.figures = saved, nimg, figures
    diary = Diary()
    diary.begin(view)
    diary.load_state_dict(state)
    go(view, [diary], 20)
    diary.state_dict()

    assert rows(base / "cut", times=False) == rows(base / "whole", times=False)
    heads = [text_of(base / name).split("\n")[0] for name in ("cut", "whole")]
    assert heads[0] == heads[1]


@pytest.mark.parametrize("first", ["begin", "load"])
def test_a_state_may_be_loaded_before_or_after_it_begins(tmp_path, first):
    view, diary = whole(tmp_path / "a", 20, upto=9)
    state = diary.state_dict()
    go(view, [diary], 14)
    diary.state_dict()

    other = view_of(tmp_path / "a", steps=20)
    other.step, other.nimg = 9, 9 * ROWS
    diary = Diary()
    calls = [lambda: diary.begin(other), lambda: diary.load_state_dict(state)]
    for call in calls if first == "begin" else calls[::-1]:
        call()
    diary.end(other)

    assert [int(row["step"]) for row in rows(tmp_path / "a")] == list(range(1, 10))


def test_seconds_go_on_after_a_resume_and_after_a_rewind(tmp_path):
    _, diary = whole(tmp_path / "a", 20, upto=10)
    state = diary.state_dict()
    other = view_of(tmp_path / "a", steps=20)
    other.step, other.nimg = 10, 10 * ROWS
    diary = Diary()
    diary.begin(other)
    diary.load_state_dict(state)
    go(other, [diary], 14)
    other.step, other.nimg = 10, 10 * ROWS
    diary.load_state_dict(state)
    go(other, [diary], 12)
    diary.end(other)

    seconds = [float(row["seconds"]) for row in rows(tmp_path / "a")]
    assert seconds == [0.5 * n for n in range(1, 11)] + [7.5, 8.0]


def test_a_figure_that_comes_late_is_empty_before(tmp_path):
    table = Table(tmp_path / "t.csv", ("step", "nimg"))
    table.add({"step": 1, "nimg": 8, "a": 0.5})
    table.add({"step": 2, "nimg": 16, "a": 0.25, "b": 3})
    table.flush()
    assert list(read_table(table.path)) == [
        {"step": "1", "nimg": "8", "a": "0.5", "b": ""},
        {"step": "2", "nimg": "16", "a": "0.25", "b": "3"},
    ]
    table.cut(1)
    assert list(read_table(table.path)) == [{"step": "1", "nimg": "8", "a": "0.5"}]


def test_a_last_row_in_part_is_no_row(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("step,nimg,a\n1,8,0.5\n2,16,0.12")
    assert [row["step"] for row in read_table(path)] == ["1"]


def test_a_table_of_something_else_is_not_cut(tmp_path):
    path = tmp_path / "loss.csv"
    path.write_text("name,price\nfibre,3\n")
    with pytest.raises(DataRefused, match="no column step first"):
        Table(path, ("step", "nimg")).cut(0)
    assert path.read_text() == "name,price\nfibre,3\n"


def test_a_table_that_cannot_be_written_is_an_error_of_the_store(tmp_path):
    table = Table(tmp_path / "gone" / "t.csv", ("step",))
    table.add({"step": 1})
    with pytest.raises(StoreError, match="cannot write"):
        table.flush()


def test_each_note_is_written_once_however_often_it_is_said(tmp_path):
    view = view_of(tmp_path / "a")
    view.notes.append("micro-batches: 4")
    for _ in range(2):
        diary = Diary()
        diary.begin(view)
        go(view, [diary], 3)
        view.notes.append("images become constant")
        go(view, [diary], 4)
        diary.end(view)
        view.step, view.nimg = 0, 0
        with (tmp_path / "a" / "log.jsonl").open("a") as file:
            file.write('{"step": 4, "no')
    lines = (tmp_path / "a" / "log.jsonl").read_text().split("\n")
    assert [json.loads(line) for line in lines[:2]] == [
        {"step": 0, "nimg": 0, "note": "micro-batches: 4"},
        {"step": 4, "nimg": 4 * ROWS, "note": "images become constant"},
    ]
    assert not any("}" in line for line in lines[2:])

    view.notes.append("more")
    Diary().begin(view)
    last = (tmp_path / "a" / "log.jsonl").read_text().split("\n")[-2]
    assert json.loads(last)["note"] == "more"
