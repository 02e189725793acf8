"""Laws of an export that is stopped: the same call goes on, another one is refused."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from exports import exported, jpeg, tree

import fiberaug
from fiberaug.errors import StoreError, UsageError
from fiberaug.jobs.export_target import ExportTarget
from fiberaug.jobs.exporting import export

COUNT = 400
SCRIPT = """
import sys
from fiberaug.jobs.exporting import export
export(sys.argv[1], sys.argv[2], to=sys.argv[3], workers=int(sys.argv[4]),
       progress=False)
"""


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """A set of eight shards, with an odd box in some samples."""
    folder = tmp_path_factory.mktemp("set") / "shards"
    rows = (
        {"__key__": f"x{i % 3}/k{i:04d}", "image": jpeg(i), "caption": f"no {i}",
         "json": {"objects": [{"bbox": [i % 40, 1, 40, i % 7], "label": i % 2}]}}
        for i in range(COUNT)
    )  # fmt: skip
    fiberaug.convert(rows, folder, classes=["a", "b"], shard_size="100kB",
                     progress=False)  # fmt: skip
    assert len(list(folder.glob("*.tar"))) >= 8
    return folder


@pytest.fixture(scope="module")
def wanted(shards, tmp_path_factory):
    """What an export writes that nobody stops, by format."""
    folder = tmp_path_factory.mktemp("whole")
    for to in ("coco", "voc", "yolo"):
        exported(shards, folder / to, to)
    return {to: tree(folder / to) for to in ("coco", "voc", "yolo")}


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("to", ["coco", "voc", "yolo"])
def test_the_files_do_not_depend_on_the_workers(shards, wanted, tmp_path, to, workers):
    exported(shards, tmp_path / "out", to, workers=workers)

    assert tree(tmp_path / "out") == wanted[to]


def started(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)], start_new_session=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("to", ["coco", "voc", "yolo"])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_export_that_is_killed_goes_on_and_ends_the_same(
    shards, wanted, tmp_path, to, workers
):
    """Killed whenever a tenth more has its name; what has one is never cut."""
    out, killed = tmp_path / "out", 0
    for files in range(1, COUNT, COUNT // 8):
        running = started(shards, out, to, workers)
        while running.poll() is None and len(_images(out)) < files:
            time.sleep(0.002)
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            killed += 1
        running.wait()
        there = tree(out)
        whole = {name: sha for name, sha in there.items() if ".exporting" not in name}
        assert whole.items() <= wanted[to].items()
    assert killed >= 3
    exported(shards, out, to)

    assert tree(out) == wanted[to]
    assert not (out / ".exporting").exists()


def _images(out):
    return list(out.rglob("*.jpg"))


def test_shards_that_are_done_are_not_written_again(shards, tmp_path, monkeypatch):
    """The disk is full half-way: what was done stays as it was, to the inode."""
    out, put, files = tmp_path / "out", ExportTarget.put, []

    def full(self, path, data):
        files.append(path)
        if len(files) > 300:
            raise StoreError("cannot write: No space left on device", stage="write")
        put(self, path, data)

    monkeypatch.setattr(ExportTarget, "put", full)
    with pytest.raises(StoreError, match="No space left"):
        exported(shards, out, "yolo")
    monkeypatch.undo()
    notes = {path.name for path in (out / ".exporting").glob("*.tar.json")}
    assert 1 <= len(notes) < 8
    before = {path: path.stat().st_ino for path in _images(out)}
    exported(shards, out, "yolo")
    kept = [path for path in before if path.stat().st_ino == before[path]]

    assert len(kept) >= 100
    assert len(before) - len(kept) <= COUNT / 8 + 10  # those of one shard


def test_the_same_call_does_nothing_and_another_one_is_refused(shards, tmp_path):
    out = tmp_path / "out"
    first = exported(shards, out, "voc")
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = exported(shards, out, "voc")

    assert again == first._replace(again=True)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times
    for options in ({"to": "yolo"}, {"to": "voc", "origin": 1},
                    {"to": "voc", "classes": ["x", "y"]}):  # fmt: skip
        with pytest.raises(UsageError, match="already holds an export of other"):
            export(shards, out, progress=False, **options)


def test_a_folder_that_holds_something_else_is_left_alone(shards, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"is not empty \(mine.txt"):
        exported(shards, out, "voc")

    assert [path.name for path in out.rglob("*")] == ["mine.txt"]


def test_an_unfinished_export_is_not_gone_on_with_by_another_call(shards, tmp_path):
    out = tmp_path / "out"
    ExportTarget(out).begin({"to": "voc"})
    with pytest.raises(UsageError, match="holds an unfinished export of other"):
        exported(shards, out, "voc")


def test_a_disk_that_refuses_is_told_with_the_file(shards, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot (read|write) .*file"):
        exported(shards, tmp_path / "file", "voc")
    with pytest.raises(StoreError, match=r"cannot read .*File name too long"):
        exported(shards, tmp_path / ("x" * 300), "voc")


def test_other_data_under_the_same_name_is_another_export(shards, tmp_path):
    copy = tmp_path / "shards"
    shutil.copytree(shards, copy)
    exported(copy, tmp_path / "out", "voc")
    shutil.rmtree(copy)
    objects = {"objects": [{"bbox": [0, 0, 1, 1], "label": 0}]}
    rows = [{"__key__": "a", "image": jpeg(), "caption": "x", "json": objects}]
    fiberaug.convert(rows, copy, classes=["a", "b"], progress=False)

    with pytest.raises(UsageError, match="already holds an export of other data"):
        exported(copy, tmp_path / "out", "voc")
