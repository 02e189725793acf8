"""``fiberaug audit``: a table, a verdict, and an exit code that CI can read."""

import json

import albumentations as A
import pytest
from audited import edit, make_run
from typer.testing import CliRunner

from fiberaug.cli.main import app

PIPELINE = A.Compose([A.HorizontalFlip(p=0.5), A.RandomGamma(p=1)])


@pytest.fixture
def run(write_set, tmp_path):
    return make_run(write_set(40), tmp_path / "run", PIPELINE)


def call(*arguments):
    return CliRunner().invoke(app, ["audit", *map(str, arguments)])


def test_a_run_as_asked_for_ends_with_0_and_says_so(run):
    result = call(run)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == f"{run}: 40 records, 40 that count, 1 epoch, 1 rank, 1 pass"
    assert lines[-1] == (
        "OK: nothing is outside of its bounds (2 of 2 rates, 1 of 1 parameter could be"
        " judged)"
    )
    (flips,) = [line.split() for line in lines if "HorizontalFlip" in line]
    assert flips[3] == "40"
    assert flips[5] == "50.00"


def test_a_deviation_ends_with_3_and_is_marked(run):
    def change(line):
        if line["position"] == 7:
            line["applied_transforms"][-1]["params"]["gamma"] = 2.0

    edit(run, change)
    result = call(run)
    assert result.exit_code == 3
    assert result.output.splitlines()[-1].startswith("OUTSIDE: 1 finding (")
    assert "gamma !" in result.output
    assert "1 of 40 values outside of 0.8 to 1.2, first 2 at epoch 0" in result.output


def test_json_holds_all_of_it(run):
    result = call(run, "--json", "--confidence", "0.9")
    found = json.loads(result.output)
    assert found["ok"] is True
    assert found["confidence"] == 0.9
    assert [rate["asked"] for rate in found["rates"]] == [0.5, 1.0]
    assert found["epochs"][0]["delivered"] == 40


def test_all_shows_classes(run):
    assert "delivered and asked for" not in call(run).output
    assert call(run, "--all").output.count("real") == 5


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--confidence", "2"], 2, "confidence must be above 0 and below 1, got 2.0"),
        (["--import", "no.such.module"], 2, "cannot import no.such.module"),
    ],
)
def test_a_mistake_is_one_line_and_a_code(run, arguments, code, text):
    result = call(run, *arguments)
    assert result.exit_code == code
    assert text in result.output
    assert len(result.output.splitlines()) == 1


def test_a_folder_without_a_log_ends_with_4(run, tmp_path):
    assert call(tmp_path / "nothing").exit_code == 4
    (run / "records-0.jsonl.zst").unlink()
    result = call(run)
    assert result.exit_code == 4
    assert "it is no log" in result.output
