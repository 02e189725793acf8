"""``fiberaug train gan``: what it prints, resumes, refuses."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import fiberaug
from fiberaug.cli.main import app
from fiberaug.training.states import latest

WIDTH = ["--width", "4", "--batch-size", "8", "--memory", "20GB", "--no-judge"]


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


def train(shards, out, *more, size="12x16"):
    words = ["train", "gan", str(shards), "--size", size, "--out", str(out)]
    return CliRunner().invoke(app, [*words, *WIDTH, *map(str, more)])


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(shards, tmp_path):
    done = train(shards, tmp_path / "run", "--train-images", 1000, "--dry-run")
    assert done.exit_code == 0, done.output
    for said in ("height 12, width 16, landscape", "weights: ", "memory: ", "time: "):
        assert said in done.output
    assert not (tmp_path / "run").exists()


def test_the_same_command_goes_on_and_what_it_made_is_generated_from(shards, tmp_path):
    out = tmp_path / "run"
    first = train(shards, out, "--train-images", 40, "--json")
    assert json.loads(first.stdout)["generator"] == str(out / "generator")
    again = train(shards, out, "--train-images", 64)
    assert again.exit_code == 0, again.output
    assert latest(out).facts["step"] == 8
    made = CliRunner().invoke(
        app,
        ["generate", str(out / "generator"), "--per-class", "3", "--out",
         str(tmp_path / "pool"), "--truncation", "1.5", "--keep-duplicates"],
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    pool = fiberaug.Pool.open(tmp_path / "pool")
    assert pool.counts == {"dark": 3, "light": 3}


def test_what_is_asked_for_is_what_is_trained_with(shards, tmp_path):
    out = tmp_path / "run"
    done = train(
        shards, out, "--train-images", 16, "--loss", "bce", "--seed", 2**40, "--gamma",
        "cosine 0.5 0.25", "--lr", "linear 0.004 0", "--licence", "CC0-1.0",
        "--unconditional", "--held-out", 0, "--channels", 1, "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    told = json.loads((out / "generator" / "generator.json").read_text())
    notes, options = told["notes"], told["notes"]["options"]
    assert (options["loss"], options["seed"]) == ("bce", 2**40)
    assert (options["gamma"], options["lr"]) == ("cosine 0.5 0.25", "linear 0.004 0")
    assert notes["licence"] == "CC0-1.0"
    assert notes["trained_on"]["photos"] == 210
    assert told["classes"] == []
    assert [told["config"][name] for name in ("classes", "channels", "width")] == [
        0, 1, 4,
    ]  # fmt: skip
    identity = latest(out).facts["identity"]
    assert identity["batch_size"] == 8
    assert identity["data"]["seed"] == 2**40


def test_the_first_weights_are_of_the_seed(shards, tmp_path):
    found = []
    for number, seed in enumerate((1, 1, 2)):
        torch.manual_seed(number)  # whatever the program drew before
        out = tmp_path / str(number)
        done = train(shards, out, "--train-images", 8, "--seed", seed)
        assert done.exit_code == 0, done.output
        found.append(latest(out).tensors["generator"]["basis"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_a_plan_is_read_by_scripts(shards, tmp_path):
    done = train(shards, tmp_path / "run", "--dry-run", "--json", "--unconditional")
    told = json.loads(done.stdout)
    assert told["peak_bytes"] < told["budget_bytes"] == 20 * 10**9
    assert told["images"] == 1_000_000


@pytest.mark.parametrize(
    ("more", "size", "said"),
    [
        ([], "13x16", "nearest"),
        (["--memory", "80MB"], "12x16", "does not fit"),
        (["--loss", "hinge"], "12x16", "rpgan"),
        (["--batch-size", "1"], "12x16", "batch_size"),
        (["--lr", "up"], "12x16", "ramp"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(shards, tmp_path, more, size, said):
    done = train(shards, tmp_path / "run", *more, size=size)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert not (tmp_path / "run" / "state").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    done = train(tmp_path / "none", tmp_path / "run")
    assert done.exit_code in {2, 4}
    assert "none" in done.stderr
