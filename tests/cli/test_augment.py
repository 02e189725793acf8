"""Laws of ``fiberaug augment``: its options reach the job, and it says what it did."""

import json

import numpy as np
import pytest
from foldered import photos, pixels, put, tree
from sets import photo
from typer.testing import CliRunner

from fiberaug.cli.main import app

FLIP = "version: 1\ncpu:\n  - HorizontalFlip: {p: 1}\n"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def ran(tmp_path):
    photos(tmp_path / "in")

    def run(*arguments, out="out", recipe=FLIP):
        path = put(tmp_path / "recipe.yaml", recipe)
        return CliRunner().invoke(
            app, ["augment", str(tmp_path / "in"), str(tmp_path / out), "--recipe",
                  str(path), *map(str, arguments)],
        )  # fmt: skip

    return run


def test_it_writes_the_folder_and_says_so_and_then_has_nothing_to_do(tmp_path, ran):
    first, again = ran("--workers", 1), ran("--workers", 2)

    assert (first.exit_code, first.stdout) == (
        0,
        f"6 pictures of 6 photos: {tmp_path}/out\n",
    )
    assert again.stdout.splitlines()[0].startswith("nothing to do: ")
    assert np.array_equal(pixels(tmp_path / "out/cat/p000.png"), photo(0)[:, ::-1])


def test_options_reach_the_job(tmp_path, ran):
    options = "--copies 2 --seed 7 --encode webp --quality 50 --json --workers 1"
    done = ran(*options.split())

    summary = json.loads(done.stdout)
    assert (summary["photos"], summary["pictures"], summary["known"]) == (6, 12, False)
    about = json.loads((tmp_path / "out/augment.json").read_text())["arguments"]
    assert (about["seed"], about["quality"], about["copies"]) == (7, 50, 2)
    assert "cat/p000_1.webp" in tree(tmp_path / "out")


def test_each_operation_has_a_folder(tmp_path, ran):
    recipe = FLIP + "  - VerticalFlip: {p: 0.1}\n"
    done = ran("--each", "--workers", 1, recipe=recipe)

    assert done.stdout.splitlines() == [
        f"12 pictures of 6 photos: {tmp_path}/out",
        "  HorizontalFlip/",
        "  VerticalFlip/",
    ]
    assert np.array_equal(
        pixels(tmp_path / "out/VerticalFlip/dog/p001.png"), photo(1)[::-1]
    )


def test_code_is_run_when_the_user_says_so_and_that_is_said(tmp_path, ran):
    own = put(
        tmp_path / "ops_of_cli.py",
        "import fiberaug\nclass Invert(fiberaug.ImageProcessor):\n"
        "    def _process(self, image):\n        return 255 - image\n",
    )
    recipe = "version: 1\ncpu:\n  - ops_of_cli.Invert: {}\n"
    refused = ran("--workers", 1, recipe=recipe)
    done = ran("--workers", 1, "--processors", own, recipe=recipe)

    assert (refused.exit_code, "--processors FILE.py" in refused.stderr) == (2, True)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"running {own} for its operations")
    assert np.array_equal(pixels(tmp_path / "out/cat/p000.png"), 255 - photo(0))


def test_mistakes_are_one_line_and_have_their_codes(tmp_path, ran):
    put(tmp_path / "in/cat/none.png", "no image")
    for arguments, code, said in (
        (["--copies", 0], 2, "copies must be >= 1"),
        (["--on-error", "fail"], 3, "cat/none"),
        (["--processors", "/nowhere.py"], 4, "is no file"),
    ):  # fmt: skip
        done = ran(*arguments, "--workers", 1)
        assert (done.exit_code, said in done.stderr) == (code, True), done.stderr
        assert [
            line for line in done.stderr.splitlines() if line.startswith("fiberaug: ")
        ]
    done = ran("--workers", 1, out="listed")
    assert done.stdout.splitlines()[1:] == [
        (
            "1 picture could not be made; the reasons are in"
            f" {tmp_path}/listed/augment_errors.jsonl"
        )
    ]
