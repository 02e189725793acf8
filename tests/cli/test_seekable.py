"""``fiberaug seekable`` and ``--seekable`` do it and say what became of photos."""

import json

import pytest
from rendered_jpegs import render
from typer.testing import CliRunner

import fiberaug
from fiberaug.cli.main import app
from fiberaug.decode import turbo
from fiberaug.shards.manifest import SEEKING

pytestmark = pytest.mark.skipif(not turbo.available(), reason=turbo.why_not())
CUT = render("4:2:0 baseline", 60, 90)[:-400]


def ran(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def shards(write_set):
    rows = [
        {"__key__": f"k{i}", "image": render("4:2:0 baseline", 50, 60, seed=i)}
        for i in range(5)
    ]
    return write_set([*rows, {"__key__": "broken", "image": CUT}])


def test_it_says_what_was_made_and_what_was_left(shards):
    result = ran("seekable", shards, "--workers", 1)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("1 shard: ")
    assert lines[1:3] == ["5 JPEGs made seekable, 0 were", "1 JPEG stayed as before:"]
    assert "broken.jpg: it is damaged" in lines[3]
    assert ran("verify", shards).exit_code == 0


def test_json_has_it_all(shards):
    told = json.loads(ran("seekable", shards, "--json").stdout)
    assert (told["shards"], told["marked"], told["already"]) == (1, 5, 0)
    assert told["left"][0]["member"] == "broken.jpg"
    assert 0 < told["bytes_after"] <= told["bytes_before"]
    assert json.loads(ran("seekable", shards, "--json").stdout)["already"] == 5


def test_a_half_made_set_is_refused_with_the_command_that_goes_on(shards, tmp_path):
    (tmp_path / "set" / SEEKING).mkdir()
    result = ran("info", shards)
    assert result.exit_code == 3
    assert f"fiberaug seekable {shards}" in result.stderr
    assert ran("seekable", shards).exit_code == 0
    assert ran("info", shards).exit_code == 0


def test_remote_sets_are_refused():
    result = ran("seekable", "https://example.com/a.tar")
    assert result.exit_code == 2
    assert "remote" in result.stderr


def test_the_option_reaches_convert_and_materialize(tmp_path):
    folder = tmp_path / "in/some"
    folder.mkdir(parents=True)
    (folder / "a.jpg").write_bytes(render("4:2:0 progressive", 50, 60))
    (folder / "b.jpg").write_bytes(CUT)
    result = ran("convert", tmp_path / "in", tmp_path / "set", "--seekable")
    assert result.exit_code == 0, result.output
    assert "1 JPEG could not be made seekable and stayed as before" in result.stdout
    words = ["--encode", "jpeg", "--seekable", "--out", tmp_path / "baked"]
    words += ["--on-error", "mask", "--max-errors", 1, "--evaluate"]
    result = ran("materialize", tmp_path / "set", *words)
    assert result.exit_code == 0, result.output
    baked = fiberaug.StreamingDataset(str(tmp_path / "baked"), train=False)
    assert baked.shard_set.manifest.producer["arguments"]["seekable"] is True
    result = ran("materialize", tmp_path / "set", "--seekable", "--out", tmp_path / "b")
    assert result.exit_code == 2
    assert "--encode jpeg" in result.stderr
