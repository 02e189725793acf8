"""``fiberaug doctor --synthesis``: its table, its JSON, codes, commands that work."""

import json
import shlex

import numpy as np
import pytest
from typer.testing import CliRunner

import fiberaug
from fiberaug.cli.main import app
from fiberaug.errors import UsageError
from fiberaug.feasibility import trainings


class PlanOf:
    """What a trainer would say, without tracing its step."""

    peak, disk, said, warned, seconds = 10**9, 10**6, (), (), 60.0


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(trainings, "_planned", lambda *_, **__: PlanOf())


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Photos of two classes with a box each."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("a set") / "shards"
    with fiberaug.ShardWriter(folder, classes=("ant", "bee")) as writer:
        for i in range(24):
            image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            box = {"bbox": [4, 4, 20, 20], "label": i % 2}
            writer.write({
                "__key__": f"{i:03d}", "image": image, "label": i % 2,
                "json": {"objects": [box]},
            })  # fmt: skip
    return folder


def doctor(shards, *words):
    call = ["doctor", str(shards), "--synthesis", "--device", "cpu", *words]
    return CliRunner().invoke(app, call)


def test_a_table_says_what_fits_and_what_to_begin_with(quick, shards):
    done = doctor(shards, "--memory", "8GB")
    assert done.exit_code == 0, done.output
    assert "photos: 24, median 32x32 px" in done.output
    assert "regions: 24 boxes" in done.output
    assert "classes: 2, from 12 (ant) photos" in done.output
    assert "begin with: " in done.output
    assert "need not help" in done.output


def test_json_has_the_figures_of_the_table(quick, shards):
    told = json.loads(doctor(shards, "--memory", "8GB", "--json").stdout)
    assert told["budget_bytes"] == 8 * 10**9
    assert told["data"]["counts"] == {"ant": 12, "bee": 12}
    assert [one["name"] for one in told["routes"]] == [
        "gan", "diffusion", "lora", "edit", "paste", "augment"
    ]  # fmt: skip
    assert all(one["evidence"] for one in told["routes"])


def test_where_nothing_but_augmentation_fits_the_code_is_3(monkeypatch, shards):
    def refuse(*_, **__):
        raise UsageError("the training does not fit into 100.0 MB")

    monkeypatch.setattr(trainings, "_planned", refuse)
    done = doctor(shards, "--memory", "100MB")
    assert done.exit_code == 3
    assert "begin with: augment" in done.output


@pytest.mark.parametrize(
    "words",
    [["--memory", "8 apples"], ["--size", "63x84"], ["--device", "tpu"],
     ["another/set", "--memory", "8GB"]],
)  # fmt: skip
def test_what_cannot_be_is_one_line_and_code_2(quick, shards, words):
    done = doctor(shards, *words)
    assert done.exit_code == 2, done.output
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("option", ["--memory", "--size", "--device"])
def test_options_of_synthesis_alone_are_refused(shards, option):
    done = CliRunner().invoke(app, ["doctor", str(shards), option, "8GB"])
    assert done.exit_code == 2
    assert "--synthesis" in done.stderr


def test_an_empty_folder_is_one_line(quick, tmp_path):
    done = doctor(tmp_path)
    assert done.exit_code in {2, 3}
    assert len(done.stderr.splitlines()) == 1


RECIPE = "version: 1\ncpu:\n  - HorizontalFlip: {p: 0.5}\n"


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_the_commands_that_it_prints_are_commands(quick, shards, tmp_path, monkeypatch):
    """Each runs with --dry-run; words in capitals are filled in."""
    pytest.importorskip("diffusers")
    pytest.importorskip("peft")
    from tiny_pipelines import write_stable_diffusion

    from fiberaug.models import Generator
    from fiberaug.synthetic.gans import GANGenerator

    monkeypatch.chdir(tmp_path)
    write_stable_diffusion(tmp_path / "base")
    made = GANGenerator(
        Generator("8x8", classes=2, width=4, z_dim=8), classes=("ant", "bee")
    )
    made.save(tmp_path / "runs/gan/best")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    told = json.loads(doctor(shards, "--memory", "16GB", "--json").stdout)
    filled = {"BASE": "base", "RECIPE": "recipe.yaml", "PROMPT": "a photo"}
    for one in told["routes"]:
        assert one["fits"], one["why"]
        words = [filled.get(word, word) for word in shlex.split(one["command"])]
        assert words[0] == "fiberaug"
        if words[1:3] == ["train", "lora"]:
            words[words.index("512x512")] = "32x32"  # of the tiny base
        done = CliRunner().invoke(app, [*words[1:], "--dry-run"])
        assert done.exit_code == 0, (one["name"], done.output, done.stderr)
