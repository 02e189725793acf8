"""Laws of the command line: one line for a mistake, an exit code, nothing heavy."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from sets import cut_jpeg, photo
from typer.testing import CliRunner

from fiberaug.cli.main import app
from fiberaug.jobs.encoding import encode_image

VERBS = ["convert", "demo", "doctor", "index", "info", "replay", "verify"]
PROGRAM = Path(sys.executable).with_name("fiberaug")
LIGHT = """
    import sys
    import fiberaug.cli.main
    heavy = {"torch", "albumentations", "cv2", "webdataset", "kornia", "numpy", "PIL"}
    sys.exit(" ".join(heavy & sys.modules.keys()) or 0)
"""


def ran(*arguments, **options):
    return CliRunner().invoke(app, [str(a) for a in arguments], **options)


def done(*arguments):
    """Return what a command printed that went well."""
    result = ran(*arguments)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def failed(code, words, *arguments):
    """Check that a command ends with a code and one line that says why."""
    result = ran(*arguments)
    assert result.exit_code == code, result.output
    assert all(
        re.match("folder: |to write: ", told) for told in result.stdout.splitlines()
    )
    (line,) = result.stderr.splitlines()
    assert line.startswith("fiberaug: ")
    assert re.search(words, line), line


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for i in range(8):
        path = folder / f"{('cat', 'dog')[i % 2]}/{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(photo(i), "jpeg"))
    return folder


@pytest.fixture
def shards(photos, tmp_path):
    done("convert", photos, tmp_path / "set", "--shard-size", "10kB", "--workers", 1)
    return tmp_path / "set"


def test_a_folder_becomes_a_data_set_and_says_so(photos, tmp_path):
    out = done("convert", photos, tmp_path / "a", "--shard-size", "10kB", "--seed", 3)

    assert out.splitlines()[0] == "folder: 8 images in 2 class folders"
    lines = out.splitlines()[2:]
    assert re.fullmatch(rf"8 images in \d shards, [\d.]+ kB: {tmp_path}/a", lines[0])
    assert [line.split() for line in lines[1:]] == [["4", "cat"], ["4", "dog"]]
    manifest = json.loads((tmp_path / "a/dataset.json").read_bytes())
    assert manifest["producer"]["arguments"]["seed"] == 3


def test_the_options_of_convert_reach_it(photos, tmp_path):
    done("convert", photos, tmp_path / "a", "--encode", "webp", "--resize", 20,
         "--quality", 50, "--keep-order", "--from", "folder")  # fmt: skip

    arguments = json.loads((tmp_path / "a/dataset.json").read_bytes())["producer"]
    assert len(arguments["arguments"].pop("items")) == 32
    assert arguments["arguments"] | {"source": ""} == {
        "source": "", "from": "folder", "shard_size": 256_000_000, "seed": 0,
        "keep_order": True, "resize": 20, "encode": "webp", "quality": 50,
        "annotation_frame": None, "split": {}, "stratify": False, "group_by": None,
        "near_copies": None, "dedupe": False, "srgb": False,
    }  # fmt: skip


def test_refused_files_are_told(photos, tmp_path):
    (photos / "cat/text.jpg").write_text("no image")

    out = done("convert", photos, tmp_path / "a")

    assert "1 file was refused; the reasons are in" in out.splitlines()[-1]
    failed(3, "cat/text", "convert", photos, tmp_path / "b", "--on-error", "fail")


def test_index_says_what_it_wrote_and_what_was_there(shards):
    (shards / "shard-000000.tar.idx").unlink()

    lines = done("index", shards).splitlines()

    assert re.search(r"shard-000000\.tar\.idx: \d samples, \d members$", lines[0])
    assert all(line.endswith(", was there") for line in lines[1:-1])
    assert re.fullmatch(r"\d shards, 8 samples, [\d.]+ kB", lines[-1])


def test_info_for_people_and_for_programs(shards):
    out = done("info", shards)
    figures = json.loads(done("info", shards, "--json"))

    assert out.startswith("8 samples in ")
    assert "image <- jpg, label <- cls" in out
    assert "width_px: min 48, median 48, max 48" in out
    assert figures["classes"] == {"cat": 4, "dog": 4}
    assert figures["fields"] == "image <- jpg, label <- cls"


def test_several_shards_may_be_named(shards):
    tars = sorted(shards.glob("*.tar"))[:2]
    figures = json.loads(done("info", *tars, "--json"))

    assert figures["shards"] == 2
    assert "2 shards" in done("verify", *tars)
    assert done("index", *tars).splitlines()[-1].startswith("2 shards")


def test_info_without_an_index_says_so(shards):
    for side_car in shards.glob("*.idx"):
        side_car.unlink()

    assert "not counted (no index)" in done("info", f"{shards}/*.tar")


def test_verify_says_that_all_is_well(shards):
    assert re.fullmatch(
        r"\d shards, 8 samples, 8 decoded, [\d.]+ kB: no problems\n",
        done("verify", shards, "--decode"),
    )
    assert json.loads(done("verify", shards, "--json"))["problems"] == []


def test_verify_names_the_place_of_a_problem_and_ends_with_3(shards):
    shard = shards / "shard-000000.tar"
    content = bytearray(shard.read_bytes())
    content[1024 + 512 + 200] ^= 1
    shard.write_bytes(content)

    result = ran("verify", shards)
    listed = ran("verify", shards, "--json")

    assert (result.exit_code, listed.exit_code) == (3, 3)
    assert "shard-000000.tar: SHA-256 differs from dataset.json\n" in result.stdout
    assert re.search(
        r"shard-000000\.tar (cat|dog)/\d at byte \d+: crc32", result.stdout
    )
    assert result.stdout.splitlines()[-1].endswith("2 problems")
    problems = json.loads(listed.stdout)["problems"]
    assert problems[1]["offset"] == 1536
    assert "crc32" in problems[1]["reason"]


def test_verify_goes_on_where_a_shard_is_missing(shards):
    (shards / "shard-000000.tar").unlink()

    result = ran("verify", shards)

    assert result.exit_code == 3
    assert "cannot read" in result.stdout
    assert result.stdout.splitlines()[-1].endswith("1 problem")


def test_a_mistake_of_the_user_is_code_2(shards, photos, tmp_path):
    failed(2, "already holds a data set", "convert", photos, shards, "--seed", 9)
    failed(2, "no folder", "convert", tmp_path / "no", tmp_path / "b")
    failed(2, "source must be auto, folder", "convert", photos, "b", "--from", "tar")
    failed(2, r"no \.tar file.*fiberaug convert", "verify", photos)
    failed(2, "shard-size", "convert", photos, tmp_path / "b", "--shard-size", "big")
    assert ran("convert", photos).exit_code == 2
    assert ran("sharpen").exit_code == 2


def test_refused_data_is_code_3(shards, tmp_path):
    with (shards / "shard-000000.tar").open("ab") as shard:
        shard.write(bytes(512))
    failed(3, "its index says", "info", f"{shards}/*.tar")
    (tmp_path / "empty").mkdir()
    failed(3, "no image", "convert", tmp_path / "empty", tmp_path / "b")
    failed(3, "runs a command", "info", "pipe:cat a.tar")


def test_trouble_with_files_is_code_4(tmp_path):
    failed(4, "No such file", "info", tmp_path / "no.tar")
    failed(4, "No such file", "verify", tmp_path / "no.tar")
    failed(4, "No such file", "index", tmp_path / "no.tar")
    (tmp_path / "file").touch()
    failed(4, "file", "index", tmp_path / "no.tar", "--index-dir", tmp_path / "file")


def test_the_traceback_is_for_those_who_ask(tmp_path, monkeypatch):
    shown = ran("--debug", "info", tmp_path / "no.tar")
    assert shown.exit_code == 4
    assert shown.stderr.startswith("Traceback")
    assert shown.stderr.splitlines()[-1].startswith("fiberaug: cannot read")
    failed(4, "cannot read", "info", tmp_path / "no.tar")  # not for the next command

    monkeypatch.setenv("FIBERAUG_DEBUG", "1")
    assert ran("info", tmp_path / "no.tar").stderr.startswith("Traceback")


def test_an_error_of_the_program_is_not_made_pretty(monkeypatch, tmp_path):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("fiberaug.jobs.summary.summarize", broken)

    assert isinstance(ran("info", tmp_path).exception, ZeroDivisionError)


def test_the_version_is_that_of_the_package():
    assert done("--version") == f"{version('fiberaug')}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb):
    usage, _, description = done(verb, "--help").splitlines()[:3]
    out = done(verb, "--help")

    assert re.match(rf"Usage: \S+ {verb} ", usage)
    assert description.strip().endswith(".")
    assert not re.search(r"--no-\w", out), "a switch has one name"


def test_the_help_lists_every_verb_and_plain_switches():
    out = done("--help")

    assert all(re.search(rf"^  {verb} ", out, re.MULTILINE) for verb in VERBS)
    assert "--debug" in out
    assert "--no-" not in out


def test_the_command_starts_without_anything_heavy():
    subprocess.run([sys.executable, "-c", textwrap.dedent(LIGHT)], check=True)


def test_the_installed_program_works(photos, tmp_path):
    converted = subprocess.run(
        [PROGRAM, "convert", photos, tmp_path / "a"],
        capture_output=True,
        text=True,
        check=False,
    )
    wrong = subprocess.run(
        [PROGRAM, "info", tmp_path / "no.tar"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (converted.returncode, converted.stderr) == (0, "")
    assert "\n8 images in 1 shard, " in converted.stdout
    assert (wrong.returncode, wrong.stdout) == (4, "")
    assert wrong.stderr.startswith("fiberaug: cannot read")
    assert wrong.stderr.count("\n") == 1


def test_ctrl_c_is_one_line_and_code_5(tmp_path):
    """And no worker, no temporary file; the same command begins again."""
    photos, target = tmp_path / "photos", tmp_path / "set"
    photos.mkdir()
    large = encode_image(photo(0, 1500, 2000), "jpeg", quality=99)
    for i in range(60):
        (photos / f"{i}.jpg").write_bytes(large)
    process = subprocess.Popen(
        [PROGRAM, "convert", photos, target, "--encode", "png", "--shard-size", "2MB",
         "--workers", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + 60
    while not list(target.glob("*.tar")):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    out, errors = process.communicate(timeout=60)

    assert process.returncode == 5
    assert out.startswith("folder: 60 images, no class\nto write: ")
    assert errors == "interrupted; the same command goes on\n"
    assert not list(target.glob(".*.part"))
    assert not (target / "dataset.json").exists()


def test_a_reader_that_has_seen_enough_is_no_error(shards):
    command = f"{PROGRAM} verify {shards} --json | head -c 1"
    piped = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],  # noqa: S607  # any bash
        capture_output=True,
        text=True,
        check=False,
    )

    assert piped.stdout == "{"
    assert piped.stderr == ""


def test_samples_that_do_not_decode_are_listed(tmp_path, photos):
    (photos / "cat/cut.jpg").write_bytes(cut_jpeg(1))
    done("convert", photos, tmp_path / "set")

    assert ran("verify", tmp_path / "set").exit_code == 0
    result = ran("verify", tmp_path / "set", "--decode")
    assert result.exit_code == 3
    assert "cat/cut at byte" in result.stdout
