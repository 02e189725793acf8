"""``fiberaug train lora``: what it prints, resumes, refuses."""

import json

import numpy as np
import pytest
from tiny_pipelines import write_stable_diffusion
from typer.testing import CliRunner

import fiberaug
from fiberaug.cli.main import app
from fiberaug.errors import UsageError
from fiberaug.training.states import latest


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_stable_diffusion(tmp_path_factory.mktemp("base") / "sd")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train") / "shards"
    rng = np.random.default_rng(0)
    with fiberaug.ShardWriter(folder, classes=("cat", "dog")) as writer:
        for i in range(8):
            image = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            writer.write({"__key__": f"{i:03d}", "image": image, "label": i % 2})
    return folder


def train(shards, base, out, *more):
    words = ["train", "lora", str(shards), "--base", str(base), "--out", str(out)]
    given = ["--memory", "20GB", "--device", "cpu", "--batch-size", "2", "--rank", "2"]
    return CliRunner().invoke(app, [*words, *given, *map(str, more)])


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(shards, base, tmp_path):
    out = tmp_path / "run"
    done = train(shards, base, out, "--train-images", 100, "--dry-run")
    assert done.exit_code == 0, done.output
    for said in (" of the network, ", " of the adapters", "memory: ", "time: "):
        assert said in done.output
    assert not out.exists()


def test_the_same_command_goes_on_and_says_what_it_was_told(shards, base, tmp_path):
    out = tmp_path / "run"
    asked = ("--size", "32x40", "--lr", "1e-2", "--noise-offset", 0.1, "--min-snr", 0)
    first = train(shards, base, out, *asked, "--train-images", 4, "--json")
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["generator"] == str(out / "generator")
    again = train(shards, base, out, *asked, "--train-images", 8)
    assert again.exit_code == 0, again.output
    assert f"generator: {out / 'generator'}" in again.output
    assert latest(out).facts["step"] == 4
    said = json.loads((out / "generator/generator.json").read_text())
    assert said["prompts"] == ["a photo of a cat", "a photo of a dog"]
    assert said["size"] == [32, 40]
    options = said["notes"]["options"]
    told = [options[name] for name in ("rank", "noise_offset", "min_snr", "lr")]
    assert told == [2, 0.1, None, "1e-2"]
    with pytest.raises(UsageError, match=r"adapters.*PretrainedPipeline.open.*lora="):
        fiberaug.load(out / "generator")


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--size", "33x40"], 2, "multiples of 8"),
        (["--targets", "to_x"], 2, "to_x is no module"),
        (["--prior", "4"], 2, "prior and prior_prompt belong together"),
        (["--eight-bit"], 2, "bitsandbytes"),
        (["--lr", "fast"], 2, "a ramp is a number"),
    ],
)
def test_what_cannot_be_trained_is_one_line_and_a_code(
    shards, base, tmp_path, more, code, said
):
    done = train(shards, base, tmp_path / "run", *more)
    assert done.exit_code == code
    assert said in done.output
    assert "Traceback" not in done.output
