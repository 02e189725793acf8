"""``fiberaug generate`` and ``info``: what scripts read, and mistakes in one line."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
from generators import Shapes
from typer.testing import CliRunner

from fiberaug.cli.main import app
from fiberaug.shards.manifest import MARK
from fiberaug.synthetic.pool import Pool


class Chatty(Shapes):
    """Prints, as libraries do."""

    def generate(
        self, seeds: Sequence[int], labels: Sequence[int], **conditions: object
    ) -> np.ndarray:
        print("noise")  # noqa: T201  # what it is for
        return super().generate(seeds, labels, **conditions)


class Twins(Shapes):
    """Makes two different images of each class."""

    def __init__(self) -> None:
        super().__init__(twins=2)


class Leaving(Shapes):
    """Ends the program."""

    def generate(
        self, seeds: Sequence[int], labels: Sequence[int], **conditions: object
    ) -> np.ndarray:
        raise SystemExit(0)


class Failing(Shapes):
    """Makes a batch, and fails in the one after."""

    made = 0

    def generate(
        self, seeds: Sequence[int], labels: Sequence[int], **conditions: object
    ) -> np.ndarray:
        type(self).made += len(seeds)
        if self.made > 14:
            raise ValueError("the colours have run out")
        return super().generate(seeds, labels, **conditions)


def call(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


def generate(name, folder, *more):
    spec = f"{__name__}:{name}"
    return call("generate", spec, "--per-class", 4, "--out", folder, *more)


@pytest.mark.parametrize("processes", [1, 2])
def test_what_a_generator_prints_is_not_among_the_json(tmp_path, processes):
    result = generate("Chatty", tmp_path / "p", "--json", "--processes", processes)

    assert result.exit_code == 0
    assert json.loads(result.stdout)["state"] == "complete"


@pytest.mark.parametrize("processes", [1, 2])
def test_a_generator_that_ends_the_program_is_no_success(tmp_path, processes):
    result = generate("Leaving", tmp_path / "p", "--processes", processes)

    assert result.exit_code == 2
    assert "ended the program with exit code 0" in result.output


def test_a_file_is_no_place_for_a_pool(tmp_path):
    (tmp_path / "p").write_text("mine")
    result = generate("Shapes", tmp_path / "p")

    assert result.exit_code == 2
    assert "is a file: a pool is a folder" in " ".join(result.output.split())
    assert (tmp_path / "p").read_text() == "mine"


def test_info_says_that_a_pool_is_unfinished_and_reads_a_finished_one(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(Failing, "made", 0)
    assert generate("Failing", tmp_path / "p", "--batch-size", 4).exit_code == 1
    begun = call("info", tmp_path / "p")
    assert begun.exit_code == 3
    assert "is a pool that is unfinished" in " ".join(begun.output.split())

    mark = (tmp_path / "p" / MARK).read_bytes()
    monkeypatch.setattr(Failing, "made", -100)
    assert generate("Failing", tmp_path / "p", "--batch-size", 4).exit_code == 0
    (tmp_path / "p" / MARK).write_bytes(mark)  # as a kill at the very end leaves it
    assert "12 synthetic samples of 12" in call("info", tmp_path / "p").output


def test_a_pool_that_stays_short_is_code_3_and_is_there(tmp_path):
    result = generate("Twins", tmp_path / "p", "--json")

    assert result.exit_code == 3
    assert json.loads(result.stdout)["state"] == "short"
    assert "6 synthetic samples of 12" in call("info", tmp_path / "p").output


def test_conditions_reach_the_generator(tmp_path):
    more = ("--condition", "dark=40", "--json")
    result = generate("Shapes", tmp_path / "dark", *more)
    plain = generate("Shapes", tmp_path / "plain", "--json")

    assert result.exit_code == plain.exit_code == 0
    samples = [
        stated.params.others for _, _, stated in Pool.open(tmp_path / "dark").samples()
    ]
    assert samples == [{"dark": 40}] * 12


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--condition", "dark"], "must be NAME=VALUE, got 'dark'"),
        (["--condition", "a b=1"], "must be NAME=VALUE"),
        (["--condition", "dark=1", "--condition", "dark=2"], "dark is given twice"),
        (["--truncation", 1, "--condition", "truncation=2"], "truncation is given tw"),
    ],
)
def test_a_condition_that_is_none_is_refused(tmp_path, more, message):
    result = generate("Shapes", tmp_path / "p", *more)

    assert result.exit_code == 2
    assert message in result.stderr


def test_a_gan_is_sampled_with_truncation(tmp_path):
    from fiberaug.models import Generator
    from fiberaug.synthetic.gans import GANGenerator

    gan = GANGenerator(Generator(8, 2, 1, width=2, z_dim=4), classes=("a", "b"))
    gan.save(tmp_path / "gan")
    pool = tmp_path / "pool"
    result = call(
        "generate", tmp_path / "gan", "--per-class", 3, "--out", pool, "--truncation",
        0.7, "--json",
    )  # fmt: skip

    assert result.exit_code == 0
    found = [stated for _, _, stated in Pool.open(pool).samples()]
    assert [one.params.others for one in found] == [{"truncation": 0.7}] * 6
    assert {one.generator.kind for one in found} == {"gan"}
