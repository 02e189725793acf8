"""Laws of the command: one screen for people, stable JSON for programs, no traces."""

import json
import multiprocessing
import re
import tempfile

import pytest
from rendered_jpegs import soft_noise
from typer.testing import CliRunner

from fiberaug.cli.main import app

RECIPE = """
version: 1
cpu:
  - RandomResizedCrop: {size: [32, 32]}
  - HorizontalFlip: {p: 0.5}
normalize: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}
"""
NAMES = {
    "": {
        "v", "samples", "shards", "batch_size", "cpus", "compiled_decoder", "stages_s",
        "measured", "operations", "ceilings", "loaders", "verdict", "step", "trials",
        "hints",
    },
    "stages_s": {
        "reading", "decode", "augment", "collate", "transport", "finish", "whole",
    },
    "ceilings": {
        "first_read", "store_bytes_per_s", "read", "decode", "photos", "bytes",
        "pixels", "kinds", "known_sound", "seekable", "broken",
    },
    "loaders": {
        "workers", "images_per_s", "low", "high", "images_per_cpu_s", "cpus", "others",
        "first_batch_s", "worker_bytes", "images",
    },
    "operations": {"path", "name", "seconds", "applied"},
    "verdict": {
        "limit", "share", "workers", "images_per_s", "cpus", "others", "full", "sure",
        "more",
    },
    "step": {"step_s", "workers", "wait_s", "steps"},
    "trials": {"fast", "plain", "seekable"},
}  # fmt: skip
"""What programs may rely on: a name that goes needs a new ``v``."""


def ran(*arguments):
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


@pytest.fixture
def shards(write_set):
    noise = (soft_noise(i, 60, 80) for i in range(24))
    photos = ({"__key__": f"k{i}", "image": image} for i, image in enumerate(noise))
    return write_set(photos, shard_size="1MB")


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def quick(shards, recipe):
    short = ("--seconds", 0.1, "--batch-size", 8, "--workers", "0,1")
    return (shards, "--recipe", recipe, *short)


def test_a_person_gets_one_screen(quick):
    result = ran(*quick, "--train-step-ms", 1)

    assert (result.exit_code, result.stderr) == (0, ""), result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("24 samples in 1 shard; photos of 0.00 megapixels")
    assert len(lines) <= 50
    for words in (
        r"one image, CPU time in one process +us  share",
        r"  reading and CRC-32 +\d+ +\d+%",
        r"    RandomResizedCrop +\d+ +\d+%",
        r"  all +[\d,]+ +[\d,]+ images per CPU-second",
        r"  decoding alone, whole photos +[\d,]+",
        r" +0[* ] +[\d,]+ \([\d,]+, [\d,]+\) .* s +-",
        r" +1[* ] +[\d,]+ \([\d,]+, [\d,]+\) .* s +[\d.]+ MB",
        r"limit    \w+: ",
        r"CPUs     [\d.]+ of \d+ are busy",
        r"workers  [01]: [\d,]+ images/s",
        r"step     1 ms a batch, 8,000 images/s, with \w+ workers?: (keeps up|loses)",
    ):
        assert any(re.match(words, line) for line in lines), words


def test_a_program_gets_the_same_names_each_time(quick):
    result = ran(*quick, "--json", "--train-step-ms", 1)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    found = json.loads(result.stdout)

    assert found["v"] == 1
    for name, names in NAMES.items():
        value = found[name] if name else found
        rows = value if isinstance(value, list) else [value]
        assert rows, name
        assert all(set(row) == names for row in rows), name
    assert all(set(hint) == {"name", "text", "remedy"} for hint in found["hints"])
    assert found["samples"] == 24
    assert [loader["workers"] for loader in found["loaders"]] == [0, 1]
    assert all(loader["images"] % 8 == 0 for loader in found["loaders"])


def test_without_a_recipe_photos_are_decoded_and_no_more(shards):
    options = ("--seconds", 0.05, "--batch-size", 8, "--workers", 0, "--json")
    found = json.loads(ran(shards, *options).stdout)

    assert found["operations"] == []
    assert found["measured"]["out_pixels"] == 60 * 80
    assert found["step"] is None
    assert found["verdict"]["workers"] == 0


def test_it_leaves_nothing_behind(quick, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    before = sorted(tmp_path.rglob("*"))

    assert ran(*quick).exit_code == 0
    assert sorted(tmp_path.rglob("*")) == before
    assert not multiprocessing.active_children()


def test_the_options_reach_the_set(shards, recipe):
    short = ("--seconds", 0.05, "--batch-size", 8, "--workers", 0, "--json")
    tiles = json.loads(ran(shards, "--tile", "32x40", *short).stdout)
    assert tiles["samples"] == 24 * 4  # 60 x 80 px
    assert tiles["measured"]["out_pixels"] == 32 * 40

    fast = ran(shards, "--recipe", recipe, "--decode", "fast", *short)
    assert fast.exit_code == 0, fast.output

    part = ran(shards, "--split", "val", *short)
    assert part.exit_code == 2
    assert "val" in part.stderr


def test_a_mistake_is_one_line_with_its_code(shards, tmp_path):
    for arguments, words in (
        ((tmp_path / "none-{0..1",), "do not close"),
        ((shards, "--recipe", tmp_path / "no.yaml"), "no.yaml"),
        ((shards, "--workers", "two"), "--workers is auto"),
        ((shards, "--seconds", "0"), "seconds must be > 0"),
        ((shards, "--tile", "small"), "--tile"),
        ((shards, "--decode", "quick"), "decode"),
        ((shards, "--fields", "none"), "fields"),
    ):
        result = ran(*arguments)
        assert result.exit_code in {2, 4}, (arguments, result.output)
        (line,) = result.stderr.splitlines()
        assert line.startswith("fiberaug: ")
        assert words in line
