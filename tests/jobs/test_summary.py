"""Laws of info: the figures are those of the set."""

import io
import json

import pytest
from sets import photo

from fiberaug import ShardWriter
from fiberaug.errors import StoreError
from fiberaug.jobs.indexing import index_shards
from fiberaug.jobs.summary import summarize
from fiberaug.jobs.verifying import verify
from fiberaug.shards.resolve import resolve


def indexed(shards, **options):
    return index_shards(shards, progress=False, **options)


def test_the_figures_of_a_set(tmp_path):
    with ShardWriter(tmp_path / "set", shard_size="8kB", classes=["ok", "bad"]) as out:
        for i in range(6):
            boxes = [[0, 0, 9, 9]] * (i % 3)
            sample = {"__key__": f"{i}", "image": photo(i, 20 + i, 40)}
            out.write(sample | {"bboxes": boxes, "label": ["ok", "bad"][i == 5]})
        out.write({"__key__": "nothing", "label": 7})

    figures = summarize(tmp_path / "set")

    shards = list((tmp_path / "set").glob("*.tar"))
    fingerprint = figures.pop("fingerprint")
    assert fingerprint == resolve(tmp_path / "set").fingerprint
    assert figures == {
        "shards": len(shards),
        "bytes": sum(path.stat().st_size for path in shards),
        "samples": 7,
        "indexed": True,
        "fields": "image <- png, label <- cls, bboxes? <- json:objects[].bbox,"
        " bbox_labels? <- json:objects[].label",
        "classes": {"ok": 5, "bad": 1, "7": 1},
        "boxes": 6,
        "width_px": {"min": 40, "median": 40, "max": 40},
        "height_px": {"min": 20, "median": 22, "max": 25},
        "no_image_size": 1,
        "turned_by_exif": 0,
    }
    assert json.loads(json.dumps(figures)) == figures


def test_without_an_index_little_is_known(theirs):
    figures = summarize(theirs)

    assert (figures["samples"], figures["indexed"], figures["shards"]) == (
        None,
        False,
        2,
    )
    assert "classes" not in figures
    indexed(theirs)
    assert summarize(theirs)["classes"] == {"0": 5, "1": 5}


def test_shards_without_an_image_have_figures_all_the_same(tmp_path, foreign):
    foreign(tmp_path / "a.tar", [("a", {"wav": b"RIFF", "cls": b"3"})])
    indexed(tmp_path)

    figures = summarize(tmp_path)

    assert figures["fields"] == "ignored: cls wav"
    assert (figures["samples"], figures["classes"]) == (1, {"3": 1})
    assert "width_px" not in figures


def test_a_missing_shard_is_a_store_error(ours):
    (ours / "shard-000001.tar").unlink()

    with pytest.raises(StoreError, match="shard-000001"):
        summarize(ours)


def test_the_progress_is_for_people(theirs, capsys):
    indexed(theirs)
    verify(theirs)

    captured = capsys.readouterr()
    assert io.StringIO(captured.out + captured.err).read() == ""
