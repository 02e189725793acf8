"""Augmenting that is stopped leaves nothing half, and begun again it is the same."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from foldered import augmented, png, put, summed, tree
from PIL import Image

from fiberaug.errors import StoreError, UsageError
from fiberaug.foldering.place import Place

RECIPE = """
version: 1
cpu:
  - HorizontalFlip: {p: 0.5}
  - Affine: {rotate: [-20, 20], p: 1}
  - MedianBlur: {blur_limit: [7, 7], p: 1}
"""


def voc(src, count=200, size=(120, 160)):
    """Noisy photos with a box and a mask each, in several units."""
    for i in range(count):
        noise = np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8)
        put(src / f"JPEGImages/{i:03d}.png", png(noise))
        put(src / f"SegmentationClass/{i:03d}.png", png(noise[..., 0]))
        put(src / f"Annotations/{i:03d}.xml", (
            "<annotation><object><name>cat</name><bndbox><xmin>20</xmin><ymin>30</ymin>"
            f"<xmax>{60 + i % 90}</xmax><ymax>99</ymax></bndbox></object></annotation>"
        ))  # fmt: skip
    return src


def command(src, out, recipe, *arguments):
    return [
        sys.executable, "-c", "import fiberaug.cli.main as cli; cli.main()", "augment",
        str(src), str(out), "--recipe", str(recipe), *arguments,
    ]  # fmt: skip


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A function that starts the command on a set of photos."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    src, recipe = voc(tmp_path / "in"), put(tmp_path / "recipe.yaml", RECIPE)

    def start(name, *arguments, **options):
        return subprocess.Popen(
            command(src, tmp_path / name, recipe, *arguments),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
        )  # fmt: skip

    return start


def finished(process):
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return out


def assert_whole(folder):
    """Every file under a final name is whole."""
    for path in folder.rglob("*"):
        if ".augmenting" in path.parts or not path.is_file():
            continue
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
        elif path.suffix == ".xml":
            assert path.read_bytes().endswith(b"</annotation>\n")
        elif path.suffix == ".json":
            json.loads(path.read_bytes())
        else:
            assert path.suffix in {".jsonl", ".yaml"}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("each", [(), ("--each",)], ids=["whole", "each"])
def test_killed_at_random_moments_it_is_never_half_and_goes_on(tmp_path, job, each):
    """The moments are drawn over the time in which files are written."""
    clean = job("clean", "--workers", "2", *each)
    while not (tmp_path / "clean/.augmenting/job.json").exists():
        assert clean.poll() is None
        time.sleep(0.005)
    begun = time.perf_counter()
    finished(clean)
    whole = time.perf_counter() - begun
    expected, draw, partial = summed(tmp_path / "clean"), random.Random(0), 0
    for number in range(4):
        out = tmp_path / f"out{number}"
        for _ in range(3):
            process = job(out.name, "--workers", "2", *each)
            while (
                not (out / ".augmenting/job.json").exists() and process.poll() is None
            ):
                time.sleep(0.005)
            time.sleep(draw.random() * whole * 0.6)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            partial += (out / ".augmenting").exists() and bool(list(out.rglob("*.png")))
            assert_whole(out)
        finished(job(out.name, *each))
        assert summed(out) == expected
    assert partial, "some were killed in the middle"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ctrl_c_is_code_5_and_the_same_command_goes_on(tmp_path, job):
    process = job("out", "--workers", "2", start_new_session=True)
    while not list((tmp_path / "out").rglob("unit-*.json")):
        assert process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 5
    assert "the same command goes on" in err
    assert_whole(tmp_path / "out")
    assert not list((tmp_path / "out/.augmenting").glob("tmp-*"))
    finished(job("out"))
    finished(job("clean"))
    assert summed(tmp_path / "out") == summed(tmp_path / "clean")


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_disk_that_takes_no_more_is_code_4_and_leaves_nothing_half(
    tmp_path, monkeypatch, workers
):
    """RLIMIT_FSIZE stands for a full disk where nobody may mount one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    src = voc(tmp_path / "in", 3, (700, 900))  # PNG files of 1.9 MB
    recipe = put(
        tmp_path / "recipe.yaml", "version: 1\ncpu: [{HorizontalFlip: {p: 1}}]"
    )

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))

    done = subprocess.run(
        command(src, tmp_path / "out", recipe, "--workers", workers), preexec_fn=limit,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert "with space there the same command goes on" in done.stderr
    files = tree(tmp_path / "out")
    assert set(files) <= {".augmenting/job.json", ".augmenting/lock"}
    for name in ("out", "clean"):
        subprocess.run(
            command(src, tmp_path / name, recipe), check=True, capture_output=True
        )
    assert summed(tmp_path / "out") == summed(tmp_path / "clean")


def unfinished(tmp_path, monkeypatch, stop):
    """Write in this process until ``stop`` files are there."""
    write, done = Place.write, [0]

    def until(self, name, data):
        done[0] += ".augmenting" not in name
        if done[0] > stop:
            raise KeyboardInterrupt
        return write(self, name, data)

    monkeypatch.setattr(Place, "write", until)
    with pytest.raises(KeyboardInterrupt):
        augmented(tmp_path / "in", tmp_path / "out", tmp_path / "recipe.yaml")
    monkeypatch.setattr(Place, "write", write)


@pytest.mark.parametrize("stop", [0, 1, 100, 191, 192, 193, 209, 210, 211, 212])
def test_finished_units_are_not_touched_and_the_rest_is_written(
    tmp_path, monkeypatch, stop
):
    """64 photos of three files are a unit; 70 photos are two of them."""
    voc(tmp_path / "in", 70, (20, 30))
    put(tmp_path / "recipe.yaml", RECIPE)
    augmented(tmp_path / "in", tmp_path / "clean", tmp_path / "recipe.yaml")
    unfinished(tmp_path, monkeypatch, stop)
    times = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*")
        if ".augmenting" not in path.parts
    }  # fmt: skip
    summary = augmented(tmp_path / "in", tmp_path / "out", tmp_path / "recipe.yaml")

    assert (summary.pictures, summary.known) == (70, False)
    assert tree(tmp_path / "out") == tree(tmp_path / "clean")
    kept = [p for p, then in times.items() if p.stat().st_mtime_ns == then]
    units = 0 if stop < 192 else 192 if stop < 210 else 210
    assert len([p for p in kept if p.suffix in {".png", ".xml"}]) == units


def test_a_file_that_is_gone_or_cut_is_written_again(tmp_path, monkeypatch):
    voc(tmp_path / "in", 70, (20, 30))
    put(tmp_path / "recipe.yaml", RECIPE)
    augmented(tmp_path / "in", tmp_path / "clean", tmp_path / "recipe.yaml")
    unfinished(tmp_path, monkeypatch, 200)
    put(
        tmp_path / "out/JPEGImages/000.png", b""
    )  # as a machine without power leaves it
    augmented(tmp_path / "in", tmp_path / "out", tmp_path / "recipe.yaml")

    assert tree(tmp_path / "out") == tree(tmp_path / "clean")


def test_unfinished_work_of_another_command_is_refused(tmp_path, monkeypatch):
    voc(tmp_path / "in", 70, (20, 30))
    put(tmp_path / "recipe.yaml", RECIPE)
    unfinished(tmp_path, monkeypatch, 200)
    before = summed(tmp_path / "out")
    with pytest.raises(UsageError, match=r"unfinished work of another.*copies"):
        augmented(tmp_path / "in", tmp_path / "out", tmp_path / "recipe.yaml", copies=2)
    with pytest.raises(UsageError, match="unfinished work of another"):
        augmented(
            tmp_path / "in", tmp_path / "out", tmp_path / "recipe.yaml", each=True
        )

    assert summed(tmp_path / "out") == before


def test_two_processes_do_not_write_one_folder(tmp_path):
    src, out = voc(tmp_path / "in", 3, (20, 30)), tmp_path / "out"
    refused = pytest.raises(StoreError, match="another process is writing")
    with Place(out).alone(), refused:
        augmented(src, out)
    augmented(src, out)
