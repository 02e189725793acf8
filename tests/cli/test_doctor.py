"""Laws of the command: a table for people, JSON for programs, code 3 for problems."""

import json
import re
import sys

import pytest
from typer.testing import CliRunner

from fiberaug.cli.main import app


def ran(*arguments):
    return CliRunner().invoke(app, ["doctor", *map(str, arguments), "--workers", "1"])


@pytest.fixture
def folder(write_set):
    return write_set(60, shard_size="20kB")


def test_a_sound_set_is_a_table_and_code_0(folder):
    result = ran(folder, "--batch-size", 8)

    assert (result.exit_code, result.stderr) == (0, ""), result.output
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["ok", "samples", "60"]
    assert lines[-1].startswith("no problems, ")
    for topic in ("steps", "skew", "lanes", "cache", "memory", "shm", "files", "cpus"):
        assert any(line.split()[1] == topic for line in lines), topic
    starts = {line.index(line.split(maxsplit=2)[2]) for line in lines[:3]}
    assert len(starts) == 1  # columns


def test_a_problem_comes_with_its_remedy_below_and_code_3(folder, tmp_path):
    (tmp_path / "set/shard-000001.tar").unlink()

    result = ran(folder)
    assert result.exit_code == 3
    lines = result.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("problem"))
    assert "missing: shard-000001.tar" in lines[at]
    assert re.match(r" +-> restore it", lines[at + 1])
    assert lines[-1].startswith("1 problem, ")


def test_programs_get_json(folder, tmp_path):
    whole = json.loads(ran(folder, "--json").stdout)
    (tmp_path / "set/shard-000001.tar").unlink()
    result = ran(folder, "--json")

    levels = {row["topic"]: row["level"] for row in whole["findings"]}
    assert levels["samples"] == "ok"
    assert whole["level"] in {"ok", "note"}
    assert (result.exit_code, json.loads(result.stdout)["level"]) == (3, "problem")


def test_ranks_and_batch_size_are_taken(folder):
    found = json.loads(
        ran(folder, "--json", "--world-size", 3, "--batch-size", 4).stdout
    )
    (steps,) = (row for row in found["findings"] if row["topic"] == "steps")

    assert steps["figures"]["steps"] == 5
    assert steps["figures"]["global_batch"] == 12


def test_the_cache_limit_is_a_size_as_people_write_it(folder):
    (line,) = (
        line
        for line in ran(folder, "--cache-limit", "100kB").stdout.splitlines()
        if " cache " in line
    )
    assert line.startswith("note")
    assert "holds 100.0 kB" in line
    assert ran(folder, "--cache-limit", "large").exit_code == 2


def test_a_mistake_is_code_2_and_one_line(folder, tmp_path):
    for arguments, words in (
        ((tmp_path / "none-{0..1",), "do not close"),
        ((folder, "--recipe", tmp_path / "no.yaml"), "no.yaml"),
        ((folder, "--against", "no_colon"), "module:function"),
    ):
        result = ran(*arguments)
        assert result.exit_code in {2, 4}, result.output
        (line,) = result.stderr.splitlines()
        assert line.startswith("fiberaug: ")
        assert words in line


def test_the_user_s_loader_is_found_in_the_current_folder(
    folder, tmp_path, monkeypatch
):
    (tmp_path / "here_only.py").write_text(
        "import fiberaug\n"
        "def loader(augment=True):\n"
        f"    dataset = fiberaug.StreamingDataset({folder!r}, shuffle=False)\n"
        "    return fiberaug.DataLoader(dataset, 8)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(tmp_path)])

    result = ran(folder, "--against", "here_only:loader", "--batches", 2)
    assert result.exit_code == 0, result.output
    assert "60 in both, every key once" in result.stdout
    assert re.search(
        r"their speed .*images/s theirs [\d,]+, ours [\d,]+", result.stdout
    )
