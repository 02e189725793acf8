"""``fiberaug train inversion``: what it prints, resumes, refuses."""

import json

import numpy as np
import pytest
from tiny_pipelines import write_stable_diffusion
from typer.testing import CliRunner

import fiberaug
from fiberaug.cli.main import app
from fiberaug.training.states import latest


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_stable_diffusion(tmp_path_factory.mktemp("base") / "sd")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train") / "shards"
    rng = np.random.default_rng(0)
    with fiberaug.ShardWriter(folder) as writer:
        for i in range(6):
            image = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            text = f"a {('red', 'blue')[i % 2]} <thing>"
            writer.write({"__key__": f"{i:03d}", "image": image, "caption": text})
    return folder


def train(shards, base, out, *more):
    words = ["train", "inversion", str(shards), "--base", str(base), "--out", str(out)]
    given = ["--token", "<thing>", "--memory", "20GB", "--device", "cpu"]
    return CliRunner().invoke(app, [*words, *given, *map(str, more)])


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(shards, base, tmp_path):
    out = tmp_path / "run"
    done = train(shards, base, out, "--begin", "dog", "--dry-run")
    assert done.exit_code == 0, done.output
    for said in ("16 of the word", "memory: ", "time: "):
        assert said in done.output
    assert not out.exists()


def test_the_same_command_goes_on_with_captions_of_shards(shards, base, tmp_path):
    out = tmp_path / "run"
    asked = ("--begin", "dog", "--prompt", "{caption}", "--batch-size", 2)
    first = train(shards, base, out, *asked, "--train-images", 4, "--json")
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["generator"] == str(out / "generator")
    again = train(shards, base, out, *asked, "--train-images", 8)
    assert again.exit_code == 0, again.output
    assert latest(out).facts["step"] == 4
    said = json.loads((out / "generator/generator.json").read_text())
    assert said["prompts"] == ["a blue <thing>", "a red <thing>"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--begin", "zebra"], "is 5 tokens"),
        (["--begin", "dog", "--prompt", "a dog"], "no prompt has the token"),
        (["--begin", "dog", "--vectors", "0"], "vectors must be"),
    ],
)
def test_what_cannot_be_trained_is_one_line_and_a_code(
    shards, base, tmp_path, more, said
):
    done = train(shards, base, tmp_path / "run", *more)
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output
