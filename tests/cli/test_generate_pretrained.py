"""``fiberaug generate`` with a pipeline that others trained, end to end."""

import json

import pytest
from tiny_pipelines import write_stable_diffusion
from typer.testing import CliRunner

from fiberaug.cli.main import app
from fiberaug.synthetic.pool import Pool


def call(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_stable_diffusion(tmp_path_factory.mktemp("sd") / "base")


def test_a_pool_is_written_and_the_same_command_goes_on(base, tmp_path):
    command = (
        "generate", base, "--out", tmp_path / "pool", "--per-class", 2, "--classes",
        "cat, dog", "--prompt", "a red {label}", "--negative", "blue", "--size",
        "16x24", "--steps", 2, "--sampler", "euler", "--guidance", 3, "--json",
        "--memory", "8GB",
    )  # fmt: skip
    first, second = call(*command), call(*command)
    pool = Pool.open(tmp_path / "pool")
    stated = [one for _, _, one in pool.samples()]

    assert first.exit_code == second.exit_code == 0, first.output
    assert json.loads(first.stdout)["state"] == "complete"
    assert (pool.size, pool.classes) == ((16, 24), ("cat", "dog"))
    assert {one.params.prompt for one in stated} == {"a red cat", "a red dog"}
    assert {
        (one.params.steps, one.params.guidance, one.params.scheduler) for one in stated
    } == {(2, 3.0, "EulerDiscreteScheduler")}


def test_a_dry_run_prints_the_plan_and_writes_nothing(base, tmp_path):
    command = ("generate", base, "--out", tmp_path / "pool", "--count", 2, "--dry-run")
    told = call(*command, "--prompt", "a cat", "--memory", "2GB")
    plain = call(*command, "--size", "64x32", "--json")

    assert told.exit_code == plain.exit_code == 0, told.output
    assert "of 2.0 GB" in told.stdout
    assert json.loads(plain.stdout)["size"] == [64, 32]
    assert not (tmp_path / "pool").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--count", 1], "a prompt is needed"),
        (["--count", 1, "--prompt", "a", "--size", "big"], "must be HEIGHTxWIDTH"),
        (["--count", 1, "--prompt", "a", "--size", "20x20"], "multiples of 8"),
        (["--count", 1, "--prompt", "a", "--memory", "10MB"], "does not fit into"),
        (["--count", 1, "--prompt", "a", "--revision", "main"], "a folder of this"),
        (["--count", 1, "--prompt", "a", "--safety"], "needs a safety checker"),
        (["--count", 1, "--prompt", "a", "--truncation", 1], "takes no truncation"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_one_line_and_code_2(base, tmp_path, more, message):
    result = call("generate", base, "--out", tmp_path / "pool", *more)

    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_an_id_of_the_hub_needs_a_commit(tmp_path):
    out = ("--out", tmp_path / "pool", "--count", 1, "--prompt", "a")
    result = call("generate", "me/tiny", *out, "--revision", "main", "--download")
    assert result.exit_code == 2
    assert "hash of a commit, 40 hex digits" in " ".join(result.output.split())


@pytest.mark.parametrize(
    "more", [["--prompt", "a"], ["--memory", "8GB"], ["--safety"], ["--dry-run"]]
)
def test_other_generators_refuse_what_is_for_pipelines(tmp_path, more):
    from fiberaug.models import Generator
    from fiberaug.synthetic.gans import GANGenerator

    GANGenerator(Generator(8, 2, 1, width=2, z_dim=4)).save(tmp_path / "gan")
    result = call(
        "generate", tmp_path / "gan", "--out", tmp_path / "p", "--count", 1, *more
    )
    assert result.exit_code == 2
    assert f"{more[0]} is for a pretrained pipeline" in " ".join(result.output.split())
    steps = call(
        "generate",
        tmp_path / "gan",
        "--out",
        tmp_path / "p",
        "--count",
        1,
        "--steps",
        3,
    )
    assert steps.exit_code == 2
    assert "a GAN has no condition steps" in " ".join(steps.output.split())
