"""``fiberaug train diffusion``: what it prints, resumes, begins with."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import fiberaug
from fiberaug.cli.main import app
from fiberaug.training.states import latest

FAST = ["--width", "8", "--batch-size", "8", "--memory", "20GB", "--no-judge"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train") / "shards"
    rng = np.random.default_rng(0)
    with fiberaug.ShardWriter(folder, classes=("dark", "light")) as writer:
        for i in range(210):
            image = rng.integers(0, 100, (24, 32, 3), dtype=np.uint8) + 100 * (i % 2)
            image = image.astype(np.uint8)
            writer.write({"__key__": f"{i:03d}", "image": image, "label": i % 2})
    return folder


def run(*words):
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    return done


def train(shards, out, *more):
    words = ["train", "diffusion", shards, "--size", "12x16", "--out", out]
    return run(*words, *FAST, *more)


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(shards, tmp_path):
    done = train(shards, tmp_path / "run", "--train-images", 1000, "--dry-run")
    for said in ("height 12, width 16", "of the unet", "memory: ", "time: "):
        assert said in done.output
    assert not (tmp_path / "run").exists()


def test_the_same_command_goes_on_and_what_it_made_is_generated_from(shards, tmp_path):
    out = tmp_path / "run"
    first = train(shards, out, "--train-images", 40, "--json")
    assert json.loads(first.stdout)["generator"] == str(out / "generator")
    train(shards, out, "--train-images", 64)
    assert latest(out).facts["step"] == 8
    run(
        "generate", out / "generator", "--per-class", 3, "--out", tmp_path / "pool",
        "--condition", "steps=3", "--condition", "guidance=2", "--keep-duplicates",
    )  # fmt: skip
    pool = fiberaug.Pool.open(tmp_path / "pool")
    assert pool.counts == {"dark": 3, "light": 3}


def test_weights_to_begin_with_are_taken_as_far_as_they_fit(shards, tmp_path):
    first = tmp_path / "first"
    train(shards, first, "--train-images", 16)
    second = tmp_path / "second"
    train(
        shards, second, "--train-images", 8, "--lr", 0, "--unconditional", "--base",
        first / "generator",
    )  # fmt: skip
    name = "unet/diffusion_pytorch_model.safetensors"
    one, other = (load_file(some / "generator" / name) for some in (first, second))
    assert set(other) < set(one), "without its classes"
    assert all(torch.equal(one[key], other[key]) for key in other)


def test_a_mistake_is_one_line(shards, tmp_path):
    words = ["train", "diffusion", str(shards), "--size", "13x16", "--out"]
    done = CliRunner().invoke(app, [*words, str(tmp_path / "run")])
    assert done.exit_code == 2
    assert "cannot be halved" in done.output
    words[4] = "12x16"
    done = CliRunner().invoke(
        app, [*words, str(tmp_path / "run"), "--base", str(tmp_path)]
    )
    assert done.exit_code == 3  # what was given is refused, not how
    assert "no weights to start from" in done.output
