"""A pool as one looks at it: figures, words and a picture."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
from generators import Edits, Shapes
from sets import photo
from typer.testing import CliRunner

import fiberaug
from fiberaug.cli.main import app
from fiberaug.errors import UsageError
from fiberaug.synthetic.sheets import contact_sheet
from fiberaug.synthetic.summary import figures_of, tell


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sheet")
    return fiberaug.Pool.write(
        Shapes(twins=20), folder / "pool", per_class=9, progress=False
    )


def test_the_words_are_those_of_the_figures(pool):
    figures = figures_of(pool.file)
    words = "\n".join(tell(figures))

    assert figures["accepted"] == 27
    assert figures["made"] == 27 + sum(figures["rejected"].values())
    assert f"made: {figures['made']}, refused: " in words
    for text in (
        "27 synthetic samples of 27 asked for, native 24x32 px, 3 channels",
        "procedural, generators.Shapes",
        "algorithmicMedia; licence: CC0-1.0",
        "9  square",
        "training data: not compared with",
        "the same in any batch",
    ):
        assert text in words
    each = figures["cost"]["generate_s_each"]
    assert each == pytest.approx(figures["cost"]["generate_s"] / 27, abs=1e-6)


def test_a_pool_that_says_less_is_told_of(pool):
    """Other writers leave out what they do not know."""
    file = dataclasses.replace(pool.file, cost={}, checks={}, data=None)
    words = "\n".join(tell(figures_of(file)))

    assert "27 synthetic samples" in words
    assert "None" not in words
    assert "cost" not in words


def cells(sheet, side_h, side_w, rows, columns):
    """The samples of a sheet, by row and column."""
    height = 26 + side_h + 6
    return [
        [
            sheet[r * height + 26 :][:side_h, 6 + c * (side_w + 6) :][:, :side_w]
            for c in range(columns)
        ]
        for r in range(rows)
    ]


def test_a_sheet_shows_samples_of_each_class(pool):
    sheet = contact_sheet(pool, each=5, side=64)
    known = {
        (label, one.params.index): Shapes(twins=20).generate(
            [one.params.seed], [label]
        )[0]
        for _, label, one in pool.samples()
    }

    for label, row in enumerate(cells(sheet, 48, 64, 3, 5)):
        shown = set()
        for cell in row:
            small = cell[::2, ::2]
            found = [k for k, image in known.items() if np.array_equal(image, small)]
            assert [k[0] for k in found] == [label]
            shown.update(found)
        assert len(shown) == 5


@pytest.fixture(scope="module")
def edited(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edited")
    images = [photo(i, 24, 32) for i in range(6)]
    samples = [{"__key__": f"k{i}", "image": one} for i, one in enumerate(images)]
    fiberaug.convert(samples, folder / "train", progress=False)
    originals = [
        ("shard-000000.tar", f"k{i}", "train", one, i % 3)
        for i, one in enumerate(images)
    ]
    pool = fiberaug.Pool.write(
        Edits(originals), folder / "pool", per_class=4, progress=False
    )
    return pool, folder / "train"


def test_parents_stand_beside_their_children(edited):
    pool, train = edited
    sheet = contact_sheet(pool, each=2, side=32, parents=str(train))

    for row in cells(sheet, 24, 66, 3, 2):
        for cell in row:
            parent, child = cell[:, :32], cell[:, 34:]
            assert any(np.array_equal(parent, photo(i, 24, 32)) for i in range(6))
            assert (child - (255 - parent)).max() < 7  # what the edit adds


def test_without_their_data_children_stand_alone(edited):
    assert contact_sheet(edited[0], each=2, side=32).shape == (3 * 56 + 6, 320, 3)


@pytest.mark.parametrize("options", [{"each": 0}, {"side": 8}])
def test_a_sheet_of_nothing_is_refused(pool, options):
    with pytest.raises(UsageError, match="each must be >= 1 and side >= 16"):
        contact_sheet(pool, **options)


def test_a_command_writes_a_pool_and_tells_of_it(tmp_path):
    arguments = ("generate", "generators:make_shapes", "--out", tmp_path / "pool")
    done = run(*arguments, "--per-class", 3, "--classes", "bar, disc", "--json")
    told = json.loads(done.stdout)

    assert done.exit_code == 0, done.output
    assert told["accepted"] == 6
    assert set(told["counts"]) == {"disc", "bar"}
    assert len(fiberaug.Pool.open(told["path"])) == 6

    shown = run("info", tmp_path / "pool", "-o", tmp_path / "sheet.png")
    assert shown.exit_code == 0, shown.output
    assert "6 samples in 1 shard" in shown.stdout
    assert "pool: 6 synthetic samples of 6 asked for" in shown.stdout
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[2] == 3
    told = json.loads(run("info", tmp_path / "pool", "--json").stdout)
    assert told["pool"]["accepted"] == told["samples"] == 6

    again = run(*arguments, "--per-class", 4, "--classes", "bar,disc")
    assert again.exit_code == 2
    assert "holds another pool" in again.stderr


def test_a_command_needs_a_generator(tmp_path):
    done = run("generate", tmp_path, "--out", tmp_path / "pool", "--count", 3)
    assert done.exit_code == 2
    assert "holds no generator" in done.stderr


def test_a_sheet_is_of_pools(tmp_path, write_set):
    done = run("info", write_set(3), "-o", tmp_path / "sheet.png")
    assert done.exit_code == 2
    assert "for the folder of one pool" in done.stderr
    assert "pool" not in json.loads(run("info", write_set(3, "b"), "--json").stdout)


def test_a_long_pattern_is_still_a_pattern(write_set):
    """What is no name of a folder is not looked for as one."""
    folder = write_set(40, shard_size="20kB")
    numbers = ",".join(f"{i:06d}" for i in range(2)) + ",000001" * 60
    done = run("info", f"{folder}/shard-{{{numbers}}}.tar")

    assert "File name too long" not in done.output
