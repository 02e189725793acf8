"""Laws of ``fiberaug materialize``: options reach the bake, and it says what it did."""

import json

import pytest
from sets import cut_jpeg, photo
from typer.testing import CliRunner

import fiberaug
from fiberaug.cli.main import app
from fiberaug.jobs.encoding import encode_image

RECIPE = """
version: 1
cpu:
  - Resize: {height: 24, width: 24, p: 1.0}
  - HorizontalFlip: {p: 0.5}
normalize: {mean: [0.4, 0.5, 0.6], std: [0.2, 0.21, 0.22]}
"""


def ran(*arguments):
    return CliRunner().invoke(app, ["materialize", *map(str, arguments)])


def done(*arguments):
    result = ran(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "r.yaml").write_text(RECIPE)
    return tmp_path / "r.yaml"


def test_epochs_are_baked_and_told(write_set, recipe, tmp_path):
    shards, out = write_set(12), tmp_path / "out"
    asked = (shards, "--recipe", recipe, "--epochs", "1-2", "--out", out, "--seed", 4)
    lines = done(*asked, "--shard-size", "20kB", "--workers", 1).splitlines()

    assert lines[0].startswith("to write: 24 samples in ")
    assert lines[1].startswith("24 samples in ")
    assert lines[2].endswith(f"{out}/recipe.yaml")
    source = fiberaug.StreamingDataset(shards, transform=recipe, seed=4)
    baked = fiberaug.StreamingDataset(
        str(out), shuffle=False, transform=out / "recipe.yaml"
    )
    with fiberaug.DataLoader(source, 12) as loader:
        loader.set_epoch(1)
        expected = [image for _ in range(2) for image in next(iter(loader))["image"]]
    rows = list(baked)
    assert len(rows) == len(expected) == 24
    for row, image in zip(rows, expected, strict=True):
        assert (row["image"] == image).all()
    again = done(*asked, "--shard-size", "20kB").splitlines()
    assert again[0].startswith("nothing to do")


def test_a_dry_run_writes_nothing(write_set, recipe, tmp_path):
    out = tmp_path / "out"
    text = done(write_set(12), "--recipe", recipe, "--out", out, "--dry-run", "--json")

    told = json.loads(text)
    assert told["samples"] == 12
    assert told["shards"] == 1
    assert told["bytes"] > 12 * 24 * 24
    assert told["left_to_do"]["normalize"]["mean"] == [0.4, 0.5, 0.6]
    assert not out.exists()


def test_the_estimate_of_a_dry_run_is_what_comes_of_it(write_set, recipe, tmp_path):
    asked = (write_set(30), "--recipe", recipe, "--json", "--shard-size", "30kB")
    told = json.loads(done(*asked, "--out", tmp_path / "out", "--dry-run"))
    figures = json.loads(done(*asked, "--out", tmp_path / "out"))

    assert figures["shards"] == told["shards"]
    assert figures["samples"] == 30
    assert 0.5 < figures["bytes"] / told["bytes"] < 2
    assert figures["producer"]["arguments"]["materialized"] == "epochs"


def test_a_beginning_is_baked_and_named(write_set, recipe, tmp_path):
    out = tmp_path / "out"
    text = done(write_set(5), "--recipe", recipe, "--prefix", "--out", out)

    assert (
        "done once for all: Resize; then HorizontalFlip is applied with p=0.5" in text
    )
    rest = fiberaug.Recipe.from_file(out / "recipe.yaml")
    assert [*rest.cpu[0]] == ["HorizontalFlip"]


def test_options_of_the_data_set_reach_it(write_set, tmp_path):
    out = tmp_path / "out"
    asked = (
        write_set(20), "--out", out, "--subset", "label in (1, 2)", "--tile", "20x24",
        "--overlap", 2, "--evaluate", "--encode", "webp", "--workers", 1,
    )  # fmt: skip
    done(*asked)

    rows = list(fiberaug.StreamingDataset(str(out), train=False))
    assert {row["label"] for row in rows} == {1, 2}
    assert {tuple(row["image"].shape) for row in rows} == {(3, 20, 24)}
    assert len(rows) > 20
    assert json.loads((out / "dataset.json").read_text())["fields"]["image"] == "webp"


def test_broken_samples_are_counted(write_set, tmp_path):
    content = [
        {"__key__": f"k{i}", "label": 0, "jpg": cut_jpeg(i) if i == 2 else
         encode_image(photo(i, 120, 160), "jpeg")}
        for i in range(6)
    ]  # fmt: skip
    out = tmp_path / "out"
    text = done(write_set(content), "--out", out, "--workers", 1)
    assert f"1 broken sample replaced or left out: {out}/materialize_errors" in text


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (("--epochs", "3-1"), 2, "epochs must be"),
        (("--tile", "12,3"), 2, "--tile must look like"),
        (("--encode", "gif"), 2, "encode must be one of"),
        (("--shard-size", "many"), 2, "--shard-size must be"),
        (("--recipe", "absent.yaml"), 4, "cannot read recipe"),
        (("--prefix",), 2, "no operation to bake"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line_and_writes_nothing(
    write_set, tmp_path, options, code, told
):
    result = ran(write_set(3), "--out", tmp_path / "out", *options)

    assert result.exit_code == code
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
