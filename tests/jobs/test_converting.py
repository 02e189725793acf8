"""Laws of converting a folder: every byte kept, the same bytes from any workers."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sets import photo

from fiberaug import convert
from fiberaug.errors import SampleBroken, StoreError, UsageError
from fiberaug.jobs import preparing
from fiberaug.jobs.crew import run_jobs
from fiberaug.jobs.journal import Journal
from fiberaug.jobs.preparing import Options
from fiberaug.jobs.sources.folder import list_folder
from fiberaug.jobs.sources.options import SourceOptions
from fiberaug.jobs.stores import LocalStore
from fiberaug.jobs.unit import Unit
from fiberaug.shards.manifest import Manifest
from fiberaug.shards.reader import ShardFile
from fiberaug.shards.resolve import resolve


def picture(path, i, kind=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo(i)).save(path, kind, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty pictures of two classes in two formats."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(40):
        suffix = "png" if i % 5 == 0 else "jpg"
        picture(folder / f"{('cat', 'dog')[i % 2]}/{i:03d}.{suffix}", i)
    return folder


def converted(src, dst, **options):
    return convert(
        src, dst, **{"shard_size": "20kB", "workers": 1, "progress": False} | options
    )


def read(folder):
    """Return key, members of every sample in order."""
    return [
        (file.index.key(i), {k: bytes(v) for k, v in file.read(i).items()})
        for file in map(ShardFile, resolve(folder).refs)
        for i in range(len(file.index))
    ]


def hashes(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
    }


def test_every_byte_is_kept_with_its_label(folder, tmp_path):
    manifest = converted(folder, tmp_path / "set")
    samples = dict(read(tmp_path / "set"))

    assert len(samples) == manifest.samples == 40
    for key, members in samples.items():
        (file,) = folder.glob(f"{key}.*")
        label = members.pop("cls")
        assert members == {file.suffix[1:]: file.read_bytes()}
        assert manifest.classes[int(label)] == key.partition("/")[0]


def test_the_data_set_states_what_it_holds(folder, tmp_path):
    manifest = converted(folder, tmp_path / "set", seed=3)
    shards = sorted((tmp_path / "set").glob("*.tar"))

    assert manifest == Manifest.read(tmp_path / "set")
    assert manifest.classes == ("cat", "dog")
    assert manifest.counts == {"cat": 20, "dog": 20}
    assert sum(e.counts.get("1", 0) for e in manifest.shards) == 20
    assert [e.name for e in manifest.shards] == [p.name for p in shards]
    assert len(shards) > 3
    assert manifest.producer["arguments"]["seed"] == 3
    assert manifest.fields["label"] == "cls"
    for entry, shard in zip(manifest.shards, shards, strict=True):
        assert entry.bytes == shard.stat().st_size
        assert entry.sha256 == hashlib.sha256(shard.read_bytes()).hexdigest()


def test_the_order_is_that_of_the_seed(folder, tmp_path):
    orders = {}
    for name, options in {
        "0": {},
        "1": {"seed": 1},
        "kept": {"keep_order": True},
    }.items():
        converted(folder, tmp_path / name, **options)
        orders[name] = [key for key, _ in read(tmp_path / name)]

    assert orders["kept"] == sorted(orders["kept"])
    assert orders["0"] != orders["1"]
    assert orders["0"] != orders["kept"]
    assert sorted(orders["0"]) == sorted(orders["1"]) == orders["kept"]
    first = [key.partition("/")[0] for key in orders["0"][:12]]
    assert set(first) == {"cat", "dog"}, "shards are not sorted by class"


def test_the_bytes_do_not_depend_on_the_workers(folder, tmp_path):
    for workers in (1, 2, 3):
        converted(folder, tmp_path / str(workers), workers=workers)

    assert hashes(tmp_path / "1") == hashes(tmp_path / "2") == hashes(tmp_path / "3")


def test_a_shard_is_as_large_as_it_may_be(folder, tmp_path):
    manifest = converted(folder, tmp_path / "set", shard_size="20kB")

    sizes = [entry.bytes for entry in manifest.shards]
    assert max(sizes) <= 30_720, "with the end of a tar, in records of 10 KiB"
    assert all(a + b > 20_000 for a, b in pairwise(sizes))


def test_images_are_encoded_and_made_smaller(tmp_path):
    for i in range(3):
        picture(tmp_path / f"in/{i}.png", i)  # 48x40 px
    converted(tmp_path / "in", tmp_path / "png", encode="png")
    converted(tmp_path / "in", tmp_path / "webp", encode="webp", resize=20)
    converted(tmp_path / "in", tmp_path / "same", resize=40)

    assert (
        dict(read(tmp_path / "png"))["1"]
        == dict(read(tmp_path / "same"))["1"]
        == {"png": (tmp_path / "in/1.png").read_bytes()}
    )
    for _, members in read(tmp_path / "webp"):
        with Image.open(io.BytesIO(members["webp"])) as image:
            assert (image.format, image.size) == ("WEBP", (24, 20))


def test_a_smaller_image_is_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(tmp_path / "in/a.jpg", 0, exif=exif, quality=95)
    converted(tmp_path / "in", tmp_path / "set", resize=20, quality=95)
    ((_, members),) = read(tmp_path / "set")
    with Image.open(io.BytesIO(members["jpg"])) as image:
        assert image.size == (20, 24)
        assert image.getexif().get(0x0112) is None
        expected = np.rot90(photo(0), -1)[::2, ::2][:24, :20].astype(float)
        assert np.abs(np.asarray(image) - expected).mean() < 30


def test_the_extension_says_what_the_bytes_are(tmp_path):
    picture(tmp_path / "in/a.JPEG", 0, "PNG")

    converted(tmp_path / "in", tmp_path / "set")

    assert [list(members) for _, members in read(tmp_path / "set")] == [["png"]]


def test_broken_files_are_listed_and_left_out(tmp_path):
    source = tmp_path / "in"
    picture(source / "cat/a.jpg", 1)
    picture(source / "dog/b.jpg", 2)
    (source / "dog/empty.jpg").touch()
    (source / "cat/text.png").write_text("no image")

    manifest = converted(source, tmp_path / "set")

    lines = (tmp_path / "set/convert_errors.jsonl").read_text().splitlines()
    errors = {error["key"]: error for error in map(json.loads, lines)}
    assert set(errors) == {"dog/empty", "cat/text"}
    assert errors["cat/text"]["path"] == str(source / "cat/text.png")
    assert "no image" in errors["cat/text"]["reason"]
    assert manifest.counts == {"cat": 1, "dog": 1}
    with pytest.raises(SampleBroken, match=r"cat/text|dog/empty"):
        converted(source, tmp_path / "strict", on_error="fail")
    assert not (tmp_path / "strict/dataset.json").exists()
    assert not list((tmp_path / "strict").glob("*.part"))


def test_a_folder_without_a_sound_image_is_no_data_set(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").touch()

    with pytest.raises(SampleBroken, match="none of 1 samples can be read"):
        converted(tmp_path / "in", tmp_path / "set")

    assert not (tmp_path / "set/dataset.json").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": 0}, "workers"),
        ({"encode": "avif"}, "encode"),
        ({"quality": 0}, "quality"),
        ({"quality": 101}, "quality"),
        ({"resize": 0}, "resize"),
        ({"on_error": "ignore"}, "on_error"),
        ({"shard_size": "big"}, "shard_size"),
        ({"seed": -1}, "seed"),
        ({"classes": ["cat"]}, "dog"),
    ],
    ids=list("abcdefghi"),
)
def test_an_argument_out_of_range_is_refused_before_anything_is_made(
    folder, tmp_path, options, words
):
    with pytest.raises(UsageError, match=words):
        converted(folder, tmp_path / "set", **options)

    assert not (tmp_path / "set").exists()


def test_a_data_set_and_foreign_files_are_never_written_over(folder, tmp_path):
    converted(folder, tmp_path / "set")
    before = hashes(tmp_path / "set")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.tex").write_text("precious")

    other = tmp_path / "in"
    shutil.copytree(folder, other)
    picture(other / "cat/more.jpg", 1)
    with pytest.raises(UsageError, match="already holds a data set of another source"):
        converted(other, tmp_path / "set")
    with pytest.raises(UsageError, match=r"already .* of other arguments"):
        converted(folder, tmp_path / "set", seed=5)
    assert converted(folder, tmp_path / "set") == Manifest.read(tmp_path / "set")
    with pytest.raises(UsageError, match=r"not empty \(thesis\.tex"):
        converted(folder, tmp_path / "other")
    with pytest.raises(UsageError, match="inside of"):
        converted(folder, folder / "shards")

    assert hashes(tmp_path / "set") == before
    assert [p.name for p in (tmp_path / "other").iterdir()] == ["thesis.tex"]
    assert not (folder / "shards").exists()


def test_what_an_interrupted_run_left_is_begun_again(folder, tmp_path):
    converted(folder, tmp_path / "clean")
    dirty = tmp_path / "dirty"
    dirty.mkdir()
    (dirty / ".converting.json").write_text("{}")
    (dirty / "..converting.json.77.part").write_text("{")
    for name in ("shard-000000.tar", "shard-000099.tar", "shard-000099.tar.idx",
                 ".shard-000001.tar.77.part", "convert_errors.jsonl"):  # fmt: skip
        (dirty / name).write_text("of the dead")

    converted(folder, dirty)

    assert hashes(dirty) == hashes(tmp_path / "clean")


def test_a_run_that_died_as_it_began_is_begun_again(folder, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/..converting.json.77.part").write_text("{")

    assert converted(folder, tmp_path / "set").samples == 40


SLOW = """
    import sys, time
    import fiberaug
    from fiberaug.jobs import preparing

    recode = preparing.recode
    def slow(data, **options):
        time.sleep(0.03)
        return recode(data, **options)
    preparing.recode = slow
    fiberaug.convert(sys.argv[1], sys.argv[2], shard_size="20kB", workers=2)
"""


def children_of(pid):
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in text.split()]


def gone(pid):
    """Return whether a process has ended; a zombie nobody waits for has, too."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split()[2]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def in_the_middle(folder, tmp_path):
    """Start a conversion in a process of its own; return it when one shard is done."""
    target = tmp_path / "set"
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SLOW), str(folder), str(target)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    try:
        wait_until(lambda: list(target.glob("shard-*.tar")) or process.poll())
        assert process.poll() is None
        assert not (target / "dataset.json").exists()
        yield process, target
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # workers too, should any be left
        process.communicate()


def test_a_killed_run_leaves_no_worker_and_is_begun_again(
    in_the_middle, folder, tmp_path
):
    process, target = in_the_middle
    workers = children_of(process.pid)
    process.kill()
    process.wait()
    wait_until(lambda: all(map(gone, workers)))
    assert not (target / "dataset.json").exists()
    assert (target / ".converting.json").exists()

    converted(folder, target)
    converted(folder, tmp_path / "undisturbed")

    assert hashes(target) == hashes(tmp_path / "undisturbed")


def inodes(folder):
    return {
        p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.glob("*.tar*")
    }


def test_a_rerun_keeps_what_is_finished_and_writes_the_rest(
    in_the_middle, folder, tmp_path
):
    process, target = in_the_middle
    wait_until(lambda: len(list(target.glob(".converting/*.json"))) >= 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    noted = {path.stem for path in target.glob(".converting/*.json")}
    before = {name: file for name, file in inodes(target).items() if name in noted}

    converted(folder, target, workers=2)

    assert before.items() <= inodes(target).items()
    assert len(before) < len(list(target.glob("*.tar")))
    assert not list(target.glob(".converting*"))


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        ({"shard_size": "19kB"}, "all"),
        ({"seed": 1}, "all"),
        ({"encode": "png"}, "all"),
        ({"workers": 3}, "none"),
    ],
    ids=str,
)
def test_a_finished_shard_of_other_arguments_is_written_anew(
    folder, tmp_path, change, anew
):
    left_unfinished(folder, tmp_path / "set")
    before = inodes(tmp_path / "set")
    converted(folder, tmp_path / "set", **change)
    converted(folder, tmp_path / "fresh", **change)
    after = inodes(tmp_path / "set")

    assert hashes(tmp_path / "set") == hashes(tmp_path / "fresh")
    kept = [name for name, inode in before.items() if after.get(name) == inode]
    assert bool(kept) == (anew == "none")


def left_unfinished(source, target):
    """Convert, and make the set what it was before its last shard was written."""
    converted(source, target)
    target.rename(target.with_name("done"))
    manifest = Manifest.read(target.with_name("done"))

    class Stopped(Exception):
        pass

    real = preparing.prepare
    count = 0

    def prepare(raw, item, options):
        nonlocal count
        count += 1
        if count > manifest.samples - 2:
            raise Stopped
        return real(raw, item, options)

    with pytest.MonkeyPatch.context() as patch, suppress(Stopped):
        patch.setattr("fiberaug.jobs.unit.prepare", prepare)
        converted(source, target)
    assert not (target / "dataset.json").exists()


def test_a_source_that_changed_meanwhile_is_read_again(folder, tmp_path):
    source = tmp_path / "in"
    shutil.copytree(folder, source)
    left_unfinished(source, tmp_path / "set")
    victim = sorted(source.rglob("*.jpg"))[3]
    picture(victim, 77, quality=30)
    converted(source, tmp_path / "set")
    converted(source, tmp_path / "fresh")

    assert hashes(tmp_path / "set") == hashes(tmp_path / "fresh")


@pytest.mark.parametrize("harm", ["shard", "index", "note", "cut", "other"])
def test_a_finished_shard_that_was_harmed_is_written_anew(folder, tmp_path, harm):
    target = tmp_path / "set"
    left_unfinished(folder, target)
    first = target / "shard-000000.tar"
    note = target / ".converting" / "shard-000000.tar.json"
    if harm == "shard":
        first.unlink()
    elif harm == "index":
        first.with_name("shard-000000.tar.idx").write_bytes(bytes(2000))
    elif harm == "note":
        note.write_bytes(note.read_bytes()[:50])
    elif harm == "cut":
        first.write_bytes(first.read_bytes()[:-512])
    else:
        shutil.copy(target / ".converting" / "shard-000001.tar.json", note)
    converted(folder, target)
    converted(folder, tmp_path / "fresh")

    assert hashes(target) == hashes(tmp_path / "fresh")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_source_that_vanishes_stops_the_conversion_and_loses_nothing(
    folder, tmp_path, workers, monkeypatch
):
    """Each file that is gone would else be one more that was left out."""
    source = tmp_path / "in"
    shutil.copytree(folder, source)
    real, target = preparing.prepare, tmp_path / "set"

    def prepare(raw, item, options):
        if list(target.glob(".converting/*.json")) and source.exists():
            source.rename(tmp_path / "away")
        return real(raw, item, options)

    with monkeypatch.context() as patch:
        patch.setattr("fiberaug.jobs.unit.prepare", prepare)
        with pytest.raises(StoreError, match=r"cannot read .*: No such file"):
            converted(source, target, workers=workers)
    assert not (target / "dataset.json").exists()
    (tmp_path / "away").rename(source)
    converted(source, target)
    converted(folder, tmp_path / "fresh")

    assert dict(read(target)) == dict(read(tmp_path / "fresh"))


def test_a_shard_that_lost_all_its_samples_goes(folder, tmp_path):
    source = list_folder(folder, SourceOptions())
    journal = Journal(LocalStore(tmp_path))

    def unit(reader):
        return Unit(
            name="a.tar", root=str(folder), items=source.items.take(np.arange(4)),
            reader=reader, options=Options(),
        )  # fmt: skip

    def broken(_):
        raise SampleBroken("no image")

    assert journal.write(unit(source.reader)).images == 4
    assert (tmp_path / "a.tar").exists()
    assert journal.write(unit(broken)).entry is None
    assert not list(tmp_path.glob("a.tar*"))


def test_a_finished_set_is_not_looked_through_again(folder, tmp_path, monkeypatch):
    options = {"split": {"train": 0.5, "val": 0.5}}
    manifest = converted(folder, tmp_path / "set", **options)
    monkeypatch.setattr("fiberaug.jobs.conversion.find_copies", None)

    assert converted(folder, tmp_path / "set", **options) == manifest


def test_shards_that_are_no_longer_wanted_go(folder, tmp_path):
    left_unfinished(folder, tmp_path / "set")
    count = len(list((tmp_path / "set").glob("*.tar")))
    converted(folder, tmp_path / "set", shard_size="60kB")

    left = {path.name for path in (tmp_path / "set").glob("*.tar")}
    assert len(left) < count
    assert left == {e.name for e in Manifest.read(tmp_path / "set").shards}


def test_a_run_that_was_killed_as_it_ended_is_complete(folder, tmp_path):
    manifest = converted(folder, tmp_path / "set")
    before = hashes(tmp_path / "set")
    (tmp_path / "set/.converting").mkdir()
    (tmp_path / "set/.converting/shard-000003.tar.json").write_text("{}")
    (tmp_path / "set/.converting.json").write_text("{}")

    assert converted(folder, tmp_path / "set") == manifest
    assert hashes(tmp_path / "set") == before


def test_the_bar_counts_every_image_however_it_was_done(folder, tmp_path):
    for workers in (1, 2):
        seen = []
        source = list_folder(folder, SourceOptions())
        units = [
            (
                Unit(
                    name=f"{workers}-{i}.tar", root=str(folder),
                    items=source.items.take(np.arange(4 * i, 4 * i + 4)),
                    reader=source.reader, options=Options(),
                ),
            )
            for i in range(10)
        ]  # fmt: skip
        target = tmp_path / str(workers)
        target.mkdir()
        for _ in range(2):  # the second time all are there
            list(
                run_jobs(
                    Journal(LocalStore(target)).write,
                    units,
                    workers=workers,
                    told=seen.append,
                )
            )
            assert seen[-1].images == 40
        assert max(done.bytes for done in seen) == int(source.items.sizes.sum())


def test_an_interrupt_ends_the_workers_and_leaves_no_temporary_file(in_the_middle):
    """Ctrl-C goes to every process of the terminal."""
    process, target = in_the_middle
    workers = children_of(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)

    assert process.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert errors.count("Traceback") == 1, "that of the parent"
    assert all(map(gone, workers))
    assert not list(target.glob("*.part")) + list(target.glob(".*.part"))
    assert not (target / "dataset.json").exists()
