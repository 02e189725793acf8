"""Laws of ``fiberaug convert``: it says what it found, and its options reach it."""

import json

import pytest
from sets import photo
from typer.testing import CliRunner

import fiberaug
from fiberaug.cli.main import app
from fiberaug.jobs.encoding import encode_image


def ran(*arguments):
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


def done(*arguments):
    result = ran(*arguments)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout.splitlines()


@pytest.fixture
def photos(tmp_path):
    for i in range(20):
        path = tmp_path / "in" / f"{'cat' if i % 2 else 'dog'}/p{i // 4}_{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(photo(i), "jpeg"))
    return tmp_path / "in"


@pytest.fixture
def table(photos):
    rows = [
        f"{p.relative_to(photos)},{i / 2}" for i, p in enumerate(photos.rglob("*.jpg"))
    ]
    path = photos / "photos.csv"
    path.write_text("\n".join(["where,score", *rows]))
    return path


def test_a_dry_run_says_what_it_would_write_and_writes_nothing(photos, tmp_path):
    lines = done(photos, tmp_path / "out", "--split", "train=0.8,val=0.2", "--dry-run")

    assert lines[0] == "folder: 20 images in 2 class folders"
    assert lines[1].startswith("to write: 2 shards, ")
    assert [line.split() for line in lines[2:]] == [
        ["16", "in", "train"], ["4", "in", "val"],
    ]  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_parts_are_told(photos, tmp_path):
    lines = done(photos, tmp_path / "out", "--split", "train=0.8,val=0.2", "--stratify",
                 "--group-by", "(p[0-9]+)_")  # fmt: skip

    assert [line.split() for line in lines[-2:]] == [
        ["16", "in", "train"], ["4", "in", "val"],
    ]  # fmt: skip
    assert len(fiberaug.StreamingDataset(tmp_path / "out", split="val")) == 4


def test_columns_and_classes_are_named(table, tmp_path):
    done(table, tmp_path / "out", "--column", "image=where", "--column", "label=score")
    data = fiberaug.StreamingDataset(tmp_path / "out", train=False)
    assert sorted(sample["label"] for sample in data) == [i / 2 for i in range(20)]

    result = ran(table, tmp_path / "no", "--column", "image")
    assert result.exit_code == 2
    assert "--column must look like image=path, got 'image'" in result.stderr


def test_what_can_be_read_in_two_ways_is_asked_for(photos, tmp_path):
    content = {"images": [], "annotations": [], "categories": []}
    (photos / "instances.json").write_text(json.dumps(content))
    (photos / "data.yaml").write_text("train: images\nnames: [cat]\n")

    result = ran(photos, tmp_path / "out")

    assert result.exit_code == 2
    assert "can be read as coco and as yolo; say which" in result.stderr
    assert done(photos, tmp_path / "out", "--from", "folder")[0].startswith(
        "folder: 20"
    )


def test_the_same_command_again_says_that_there_is_nothing_to_do(photos, tmp_path):
    first = done(photos, tmp_path / "out")
    again = done(photos, tmp_path / "out")

    assert again[0].startswith("nothing to do: ")
    assert again[1:] == first[2:]


def test_a_file_of_no_known_kind_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    result = ran(tmp_path / "notes.txt", tmp_path / "out")

    assert result.exit_code == 2
    assert "is a file of no kind that is known" in result.stderr
