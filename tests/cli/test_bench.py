"""Laws of the command: one screen for people, stable JSON for programs, no traces."""

import json
import multiprocessing
import re
import tempfile

import pytest
from rendered_jpegs import soft_noise
from typer.testing import CliRunner

from fiberaug.cli.main import app
from fiberaug.recipe import Recipe

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
        "hints", "placement",
    },
    "stages_s": {
        "reading", "decode", "augment", "draw", "collate", "transport", "finish",
        "batch", "whole",
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


BATCHES = """
version: 1
cpu:
  - RandomResizedCrop: {size: [32, 32]}
gpu:
  - RandomHorizontalFlip: {p: 0.5}
  - ColorJitter: {brightness: 0.2, p: 0.9}
batch:
  - MixUp: {num_classes: 100}
normalize: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}
"""
PLACED = {
    "": {"device", "steps", "cuts", "present", "best", "sure", "recipe"},
    "steps": {"name", "worker", "batch", "note", "in_workers", "on_batches"},
    "cuts": {
        "steps", "name", "refused", "seconds", "workers", "estimate", "measured",
    },
}  # fmt: skip


def test_batch_operations_have_a_line_of_their_own(quick, recipe):
    recipe.write_text(BATCHES)
    result = ran(*quick)

    assert (result.exit_code, result.stderr) == (0, ""), result.output
    for words in (
        r"  drawing for batch operations +\d+ +\d+%",
        r"  batch operations \(main process\) +\d+ +\d+%",
        r"  \(batch operations by the clock, on all of torch's threads: [\d,]+ us\)",
    ):
        assert re.search(words, result.stdout), words
    assert "placement" not in result.stdout


def test_the_placement_is_told_to_people_and_to_programs(quick, recipe):
    recipe.write_text(BATCHES)
    told = ran(*quick, "--placement", "--device", "cpu")
    assert (told.exit_code, told.stderr) == (0, ""), told.output
    for words in (
        r"  HorizontalFlip -> RandomHorizontalFlip +\d+",
        r"\* batches from HorizontalFlip on +[\d,]+ +[\d,]+ +[\d,]+",
        r"placement  present: [\d,]+ images/s \(batches from HorizontalFlip on\)",
        r"           (leave it so|best: [\w ]+: [\d,]+ images/s \(measured\))",
        r"There is no GPU here",
    ):
        assert re.search(words, told.stdout), words
    assert max(map(len, told.stdout.splitlines())) <= 110

    found = json.loads(ran(*quick, "--placement", "--json").stdout)["placement"]
    for name, names in PLACED.items():
        value = found[name] if name else found
        rows = value if isinstance(value, list) else [value]
        assert all(set(row) == names for row in rows), name
    assert [cut["steps"] for cut in found["cuts"]] == [0, 1, 2, 3]
    assert found["present"] == 1
    assert Recipe.from_dict(found["recipe"])
    assert found["cuts"][1]["measured"]["images"] > 0


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
        ((shards, "--placement"), "--recipe"),
        ((shards, "--device", "abacus"), "device"),
    ):
        result = ran(*arguments)
        assert result.exit_code in {2, 4}, (arguments, result.output)
        (line,) = result.stderr.splitlines()
        assert line.startswith("fiberaug: ")
        assert words in line
