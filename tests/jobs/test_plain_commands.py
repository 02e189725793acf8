"""What the commands that look at shards say of a plain set."""

import json

import pytest
from plainsets import folder, own_cache, voc

from fiberaug.checkup.examining import examine
from fiberaug.checkup.findings import worst
from fiberaug.errors import UsageError
from fiberaug.jobs.indexing import index_shards
from fiberaug.jobs.summary import summarize
from fiberaug.jobs.verifying import verify


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    return own_cache(tmp_path, monkeypatch)


def test_info_counts_a_plain_set(tmp_path):
    """By hand: 14 photos, of which i % 8 + 1 says how 12 are turned, and one more."""
    figures = summarize(str(folder(tmp_path / "src")))

    assert (figures["samples"], figures["shards"]) == (14, 1)
    assert figures["classes"] == {"c0": 5, "c1": 5, "c2": 4}
    assert figures["turned_by_exif"] == 10 + 1
    assert figures["width_px"] == {"min": 40, "median": 48, "max": 280}
    assert figures["bytes"] > 2**16
    assert json.dumps(figures)


def test_info_counts_boxes(tmp_path):
    assert summarize(str(voc(tmp_path / "src")))["boxes"] == 10


def test_the_doctor_finds_nothing_but_that_there_are_no_shards(tmp_path):
    findings = examine(str(folder(tmp_path / "src")), progress=False)

    notes = [one for one in findings if one.level == "note" and one.topic == "shards"]
    assert worst(findings) != "problem"
    assert len(notes) == 1
    assert f"fiberaug convert {tmp_path / 'src'} DST" in notes[0].remedy
    assert any("14 in 1 shard" in one.text for one in findings)


@pytest.mark.parametrize("command", [verify, index_shards])
def test_what_is_about_shards_says_that_there_are_none(command, tmp_path):
    src = folder(tmp_path / "src")
    before = sorted(src.rglob("*"))

    with pytest.raises(UsageError, match=r"no \.tar file; `fiberaug convert"):
        command(str(src), progress=False)

    assert sorted(src.rglob("*")) == before
