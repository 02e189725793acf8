"""The job on photos of cabinets: its photos, its cap on memory, and all its stages."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("not in a checkout", allow_module_level=True)
if not sys.platform.startswith("linux"):
    pytest.skip("/proc and prlimit are Linux's", allow_module_level=True)
sys.path.append(str(BENCHMARKS))  # scripts, no package

import cabinet_photos  # noqa: E402  # its folder is known now
from cabinet_memory import folder_bytes, run_capped  # noqa: E402  # same

from fiberaug.demo.scene import Canvas  # noqa: E402  # same

SMALL = (160, 212)
MB = 10**6
CAP = 200 * MB


def run(tmp_path, code, cap=CAP):
    log = tmp_path / "log"
    taken = run_capped([sys.executable, "-c", code], cap=cap, log=log, every_s=0.02)
    return taken, log.read_text()


def test_a_photo_is_a_function_of_its_number():
    first, again = (cabinet_photos.photo(4, size=SMALL) for _ in range(2))
    assert first.shape == (*SMALL, 3)
    np.testing.assert_array_equal(first, again)


def test_no_two_photos_are_the_same_and_states_differ_in_colour():
    photos = [cabinet_photos.photo(number, size=SMALL) for number in range(9)]
    assert len({photo.tobytes() for photo in photos}) == 9
    warmth = [float((p[..., 0].astype(float) - p[..., 2]).mean()) for p in photos]
    clean, dusty, rusty = (np.array(warmth[state::3]) for state in range(3))
    assert clean.max() < min(dusty.min(), rusty.min())


def test_a_scene_photographed_again_is_another_photo_of_the_same_state(tmp_path):
    sizes = list(cabinet_photos.render_all(tmp_path, 9, size=SMALL, scenes=3))
    assert len(sizes) == 9
    paths = [cabinet_photos.photo_path(tmp_path, number) for number in range(9)]
    assert len({path.read_bytes() for path in paths}) == 9
    assert [paths[k].parent.name for k in (0, 3, 6)] == ["clean"] * 3
    first = cabinet_photos.photo(1, size=SMALL)
    again = [cabinet_photos.photographed_again(first, 4) for _ in range(2)]
    np.testing.assert_array_equal(*again)
    assert np.abs(again[0].astype(int) - first).mean() > 2
    with pytest.raises(ValueError, match="multiple of 3, got 4"):
        list(cabinet_photos.render_all(tmp_path, 9, size=SMALL, scenes=4))


def test_the_quick_canvas_paints_what_the_canvas_paints():
    plain, quick = Canvas(SMALL), cabinet_photos.QuickCanvas(SMALL)
    shape = np.array([[100, 100], [900, 200], [500, 900]], np.float32)
    for canvas in (plain, quick):
        canvas.image[:] = 200
        canvas.fill(shape, (250, 40, 90), to=(10, 90, 200), ident=3)
        canvas.fill(shape / 2, (9, 8, 7), opacity=0.5)
    np.testing.assert_array_equal(plain.ids, quick.ids)
    gap = np.abs(plain.image.astype(int) - quick.image)
    assert gap.max() <= 2
    for canvas in (plain, quick):
        canvas.shade(shape, strength=0.5, blur=40.0)
        canvas.shade(shape, strength=0.5, blur=10.0, width=20.0)
    gap = np.abs(plain.image.astype(int) - quick.image)
    assert gap.mean() < 3


def test_rendering_goes_on_and_leaves_what_is_there(tmp_path):
    sizes = list(cabinet_photos.render_all(tmp_path, 3, size=SMALL, processes=1))
    paths = [cabinet_photos.photo_path(tmp_path, number) for number in range(4)]
    assert [path.parent.name for path in paths] == ["clean", "dusty", "rusty", "clean"]
    assert sizes == [path.stat().st_size for path in paths[:3]]
    paths[0].write_bytes(b"kept")
    before = paths[1].read_bytes()
    paths[1].unlink()
    again = list(cabinet_photos.render_all(tmp_path, 4, size=SMALL, processes=1))
    assert again[:3] == [4, *sizes[1:]]
    assert paths[0].read_bytes() == b"kept"
    assert paths[1].read_bytes() == before
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(paths)


def test_a_command_tells_what_it_held(tmp_path):
    code = "import time; held = b'1' * 120_000_000; time.sleep(1); print('done')"
    taken, said = run(tmp_path, code)
    assert (taken.exit_code, taken.capped, taken.processes) == (0, False, 1)
    assert said == "done\n"
    assert 120 * MB < taken.peak_tree_bytes < 150 * MB
    assert taken.peak_tree_bytes <= taken.peak_with_files_bytes
    assert taken.peak_process_bytes > 120 * MB


def test_the_kernel_refuses_a_process_more_than_the_cap(tmp_path):
    taken, said = run(tmp_path, "held = b'1' * 250_000_000")
    assert taken.exit_code == 1
    assert "MemoryError" in said
    assert taken.peak_tree_bytes < CAP


def test_processes_that_hold_more_than_the_cap_together_are_ended(tmp_path):
    code = """
import os, time
child = os.fork()
held = b"1" * 120_000_000
time.sleep(60)
"""
    taken, _ = run(tmp_path, code)
    assert taken.capped
    assert taken.exit_code == -9
    assert taken.processes == 2


def test_memory_that_processes_share_counts_once_and_files_do_not_count(tmp_path):
    (tmp_path / "file").write_bytes(b"1" * 150 * MB)
    code = f"""
import mmap, os, time
shared = mmap.mmap(-1, 150_000_000)
for start in range(0, len(shared), 1_000_000):
    shared[start : start + 1_000_000] = b"1" * 1_000_000
with open({str(tmp_path / "file")!r}, "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
child = os.fork()
assert sum(mapped[::4096]) and sum(shared[::4096])
time.sleep(1)
if child:
    os.waitpid(child, 0)
"""
    taken, said = run(tmp_path, code, cap=400 * MB)
    assert (taken.exit_code, taken.processes, said) == (0, 2, "")
    assert 150 * MB < taken.peak_tree_bytes < 200 * MB
    assert taken.peak_with_files_bytes > taken.peak_tree_bytes


def test_the_bytes_of_a_folder_are_those_of_its_files(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/one").write_bytes(b"123")
    (tmp_path / "two").write_bytes(b"4567")
    assert folder_bytes(tmp_path) == 7
    assert folder_bytes(tmp_path / "absent") == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_job_runs_in_its_memory_and_goes_on(tmp_path):
    out, work = tmp_path / "out", tmp_path / "work"
    command = [
        sys.executable, str(BENCHMARKS / "cabinets.py"), "--photos", "12",
        "--photo-size", "756x1008", "--size", "32x32", "--images", "64",
        "--batch-size", "8", "--width", "8", "--no-judge", "--per-class", "4",
        "--classifier-images", "48", "--memory", "3GiB",
        "--work", str(work), "--out", str(out),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads((out / "cabinets.json").read_text())
    rows = figures["stages"]
    assert list(rows) == ["render", "convert", "train", "pool", "classify"]
    assert all(0 < r["peak_tree_bytes"] < 3 * 2**30 for r in rows.values())
    assert all(rows[s]["disk_bytes"] > 0 for s in rows if s != "classify")
    assert rows["convert"]["found"]["samples"] == 12
    assert rows["pool"]["found"]["samples"] == 12
    assert rows["pool"]["found"]["size"] == [32, 32]
    assert abs(rows["classify"]["found"]["share/synthetic"] - 0.25) < 1 / 48
    planned = rows["train"]["found"]["planned"]
    assert planned["peak_bytes"] < planned["budget_bytes"] < 3 * 2**30
    assert rows["train"]["found"]["loss"]["nimg"] == "64"
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stdout == done.stdout
