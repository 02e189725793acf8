"""Laws of ``fiberaug export``: what it wrote and what it could not is said."""

import json

import pytest
from exports import convert, jpeg, put, voc_set
from typer.testing import CliRunner

import fiberaug
from fiberaug.cli.main import app


def ran(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def done(*arguments):
    result = ran(*arguments)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout.splitlines()


@pytest.fixture
def shards(tmp_path):
    src = voc_set(tmp_path / "src")
    convert(src, tmp_path / "shards", source="voc", split="train=0.6,val=0.4")
    return tmp_path / "shards"


def test_what_was_written_and_what_has_no_place_is_said(shards, tmp_path):
    out = tmp_path / "out"
    lines = done(shards, out, "--to", "yolo")

    assert lines[0] == f"3 images as YOLO: {out}"
    assert sorted(line.split() for line in lines[1:3]) == [
        ["1", "in", "val"], ["2", "in", "train"],
    ]  # fmt: skip
    assert lines[3:] == [
        "YOLO cannot hold, or not as it was:",
        "         6  difficult of objects",
        "         1  masks of class ids",
        "         6  note of objects",
        "         6  pose of objects",
        f"2 odd annotations kept all the same: {out}/export_errors.jsonl",
    ]


def test_the_same_command_does_nothing_and_says_so(shards, tmp_path):
    first = done(shards, tmp_path / "out", "--to", "voc", "--split", "val")
    again = done(shards, tmp_path / "out", "--to", "voc", "--split", "val")

    assert again == [
        f"nothing to do: {tmp_path}/out was written before by this very command",
        *first,
    ]
    result = ran(shards, tmp_path / "out", "--to", "coco")
    assert result.exit_code == 2
    assert "already holds an export of other data" in result.stderr


def test_figures_are_there_as_json(shards, tmp_path):
    figures = json.loads(
        "\n".join(done(shards, tmp_path / "o", "--to", "voc", "--json"))
    )

    assert figures["samples"] == sum(figures["parts"].values()) == 3
    assert (figures["to"], figures["odd"], figures["again"]) == ("voc", 2, False)
    assert figures["place"] == str(tmp_path / "o")


def test_options_reach_the_export(shards, tmp_path):
    done(shards, tmp_path / "voc", "--to", "voc", "--origin", 1, "--classes", "x,y",
         "--workers", 2)  # fmt: skip
    xml = (tmp_path / "voc/Annotations/a.xml").read_text()

    assert "<name>x</name>" in xml
    assert "<xmin>1.25</xmin>" in xml
    done(shards, tmp_path / "yolo", "--to", "yolo", "--lines", "outlines")
    line = next((tmp_path / "yolo/labels").rglob("a.txt")).read_text().splitlines()[0]
    assert len(line.split()) == 9


def test_turned_photos_and_samples_left_out_are_said(tmp_path):
    objects = {"objects": [{"bbox": [1, 2, 3, 4], "label": 0}]}
    wrong = {"objects": [{"bbox": [1], "label": 0}]}
    rows = [
        {"__key__": "a", "image": jpeg(0, orientation=6), "json": objects},
        {"__key__": "b", "image": jpeg(1), "json": wrong},
    ]  # fmt: skip
    fiberaug.convert(rows, tmp_path / "shards", classes=["x"], progress=False)
    lines = done(tmp_path / "shards", tmp_path / "out", "--to", "coco")

    assert lines[1].startswith(
        "1 image turned by EXIF: annotations are for the upright"
    )
    assert lines[2] == (
        f"1 sample was left out; the reasons are in {tmp_path}/out/export_errors.jsonl"
    )
    assert ran(tmp_path / "shards", tmp_path / "b", "--to", "coco", "--on-error",
               "fail").exit_code == 3  # fmt: skip


def test_a_mistake_is_one_line_and_has_its_exit_code(shards, tmp_path):
    for arguments, code in (
        ((shards, tmp_path / "x", "--to", "xml"), 2),
        ((tmp_path / "none", tmp_path / "x", "--to", "voc"), 4),
        ((shards, put(tmp_path / "file", "x"), "--to", "voc"), 4),
    ):
        result = ran(*arguments)
        assert result.exit_code == code, result.output
        assert len(result.stderr.splitlines()) == 1
