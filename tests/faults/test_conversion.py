"""Converting that is stopped leaves nothing half, and begun again it is the same."""

import hashlib
import io
import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sets import photo, samples

import fiberaug
from fiberaug.errors import DataRefused, StoreError, UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.verifying import verify
from fiberaug.shards.reader import ShardFile, ShardRef
from fiberaug.shards.resolve import resolve

FORK = multiprocessing.get_context("fork")


def photos(folder, count=30, size=(120, 160)):
    """Noisy pictures of three classes, so that files are large."""
    for i in range(count):
        path = folder / "in" / ("cat", "dog", "eel")[i % 3] / f"{i:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8)
        path.write_bytes(encode_image(noise, "jpeg"))
    return folder / "in"


def converted(source, target, **options):
    return fiberaug.convert(
        source,
        target,
        **{"shard_size": "60kB", "workers": 1, "progress": False} | options,
    )


def hashes(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.is_file()
    }


def read(folder):
    """Return {key: members} as every reader sees them, without an index."""
    refs = (ShardRef(path=ref.path) for ref in resolve(folder).refs)
    return {
        file.index.key(i): {k: bytes(v) for k, v in file.read(i).items()}
        for file in map(ShardFile, refs)
        for i in range(len(file.index))
    }


def assert_nothing_half(folder):
    """What has a final name is whole, has its index, and no list claims a set."""
    assert not (folder / "dataset.json").exists()
    for path in folder.glob("*.tar"):
        assert verify(str(path), decode=True, progress=False).problems == []
        assert path.with_name(f"{path.name}.idx").exists()
    with pytest.raises((UsageError, DataRefused)):
        fiberaug.StreamingDataset(str(folder))


CONVERT = """
    import resource, signal, sys
    import fiberaug.cli.main as cli
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit = int(sys.argv.pop(1))
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.argv[0] = "fiberaug"
    cli.main()
"""


def run(limit, *arguments):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(CONVERT), str(limit),
         *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_cannot_grow_is_code_4_names_the_space_and_leaves_nothing(
    tmp_path, workers
):
    """RLIMIT_FSIZE stands for a full disk where nobody may mount one."""
    source, target = photos(tmp_path), tmp_path / "set"
    done = run(
        100_000, "convert", source, target, "--shard-size", "300kB",
        "--workers", workers,
    )  # fmt: skip

    needed = sum(path.stat().st_size for path in source.rglob("*.jpg"))
    assert done.returncode == 4, done.stderr
    assert f"the images have {needed} bytes" in done.stderr
    assert "bytes are free" in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in target.iterdir()] == [".converting.json"]
    converted(source, target, shard_size="300kB")
    converted(source, tmp_path / "clean", shard_size="300kB")
    assert hashes(target) == hashes(tmp_path / "clean")


@pytest.mark.parametrize("workers", [1, 2])
def test_of_a_shard_that_a_broken_photo_stops_nothing_is_left(tmp_path, workers):
    source, target = photos(tmp_path), tmp_path / "set"
    last = max(source.rglob("*.jpg"))
    last.write_bytes(b"no photo")
    with pytest.raises(DataRefused, match="no image"):
        converted(
            source, target, workers=workers, on_error="fail", keep_order=True,
            shard_size="10MB",
        )  # fmt: skip
    assert [path.name for path in target.iterdir()] == [".converting.json"]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk],  # noqa: S607
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip("mounting needs root")
    yield disk
    subprocess.run(["umount", disk], check=True)  # noqa: S607


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_keeps_whole_shards_and_no_half_one(tmp_path, small_disk, workers):
    source = photos(tmp_path, 120, (160, 200))
    target = small_disk / "set"
    with pytest.raises(StoreError, match=r"No space left.*are free") as caught:
        converted(source, target, shard_size="500kB", workers=workers)
    assert caught.value.stage == "write"
    assert list(target.glob("*.tar"))
    assert not [path for path in target.iterdir() if path.suffix == ".part"]
    assert_nothing_half(target)


def killed_after(seconds, source, target):
    """Convert in a process of its own and kill it; return whether it had finished."""
    process = FORK.Process(target=converted, args=(source, target))
    process.start()
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode == 0


@pytest.mark.timeout(120)
def test_killed_at_20_random_moments_it_is_never_half_and_begins_again(tmp_path):
    """The moments are drawn over the time of a whole run, of which the last is one."""
    source = photos(tmp_path, 60)
    start = time.perf_counter()
    converted(source, tmp_path / "clean")
    whole = time.perf_counter() - start
    clean, draw, partial = hashes(tmp_path / "clean"), random.Random(0), 0
    for number in range(20):
        target = tmp_path / f"set{number}"
        killed_after(draw.random() * whole, source, target)
        if (target / "dataset.json").exists():
            # It may have been killed before it took its notes away.
            found = hashes(target).items()
            assert {name: h for name, h in found if name[0] != "."} == clean
        elif target.exists():
            partial += bool(list(target.glob("*.tar")))
            assert_nothing_half(target)
            converted(source, target)
            assert hashes(target) == clean
    assert partial, "some were killed in the middle"


@pytest.mark.parametrize("kind", ["bad value", "program"])
def test_a_bad_field_in_sample_k_publishes_no_shard_that_holds_it(tmp_path, kind):
    def content():
        yield from samples(10)
        bad = object() if kind == "bad value" else 1 / 0
        yield {"__key__": "bad", "image": photo(0), "label": bad}

    with pytest.raises(UsageError if kind == "bad value" else ZeroDivisionError):
        fiberaug.convert(content(), tmp_path / "set", progress=False)
    assert [p.name for p in (tmp_path / "set").iterdir()] == [".converting.json"]

    bad = {"__key__": "bad", "image": np.zeros((2, 2, 7), np.uint8)}
    with pytest.raises(UsageError):
        write_all(tmp_path / "two", [*samples(4), bad])
    assert [p.name for p in (tmp_path / "two").iterdir()] == [".converting.json"]


def write_all(folder, rows):
    with fiberaug.ShardWriter(folder) as writer:
        for row in rows:
            writer.write(row)


keys = st.lists(
    st.text(
        st.characters(exclude_categories=("C", "Zl", "Zp"), exclude_characters="\\")
        | st.sampled_from("./_é̈\0\n"),
        min_size=1,
        max_size=30,
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=50, deadline=None)
@given(keys=keys)
@example(keys=["a.b"])
def test_whatever_key_is_accepted_is_read_back(tmp_path_factory, keys):
    """Refused are those that would not: empty, with dots, twice, unsafe."""
    folder = tmp_path_factory.mktemp("keys") / "set"
    written = []
    with fiberaug.ShardWriter(folder) as writer:
        writer.write({"__key__": "always", "label": 0})
        for i, key in enumerate(keys):
            try:
                writer.write({"__key__": key, "label": i, "note": str(i)})
            except UsageError:
                continue
            written.append((key, i))
    found = read(folder)

    assert len(found) == len(written) + 1
    assert sorted(int(m["note.txt"]) for m in found.values() if "note.txt" in m) == [
        i for _, i in written
    ]
    for key, _ in written:
        assert any(same(key, other) for other in found)


def same(one, other):
    import unicodedata

    return unicodedata.normalize("NFC", one) == other


@pytest.mark.parametrize("key", ["", ".hidden", "__meta__/x", "img.v2", "a/", "/a"])
def test_a_key_that_other_writers_lose_is_refused_at_once(tmp_path, key):
    with fiberaug.ShardWriter(tmp_path / "set") as writer:
        writer.write({"__key__": "good", "label": 1})
        with pytest.raises(UsageError, match="key"):
            writer.write({"__key__": key, "label": 1})


def test_a_record_is_a_field_like_any_other_and_comes_back(tmp_path):
    """What webdataset's writer drops with all names that begin with two underscores."""
    source = fiberaug.StreamingDataset(
        str(converted(photos(tmp_path, 4), tmp_path / "set") and tmp_path / "set")
    )
    (batch,) = fiberaug.DataLoader(source, 4)
    rows = [
        {"__key__": f"v{i}", "image": image.permute(1, 2, 0).numpy(),
         "record.json": record.to_dict()}
        for i, (image, record) in enumerate(
            zip(batch["image"], batch["record"], strict=True)
        )
    ]  # fmt: skip
    fiberaug.convert(rows, tmp_path / "kept", progress=False)

    for row, (key, members) in zip(rows, read(tmp_path / "kept").items(), strict=True):
        assert key == row["__key__"]
        found = fiberaug.Record.from_json(members["record.json"].decode())
        assert found.to_dict() == row["record.json"]


@pytest.mark.timeout(60)
def test_two_runs_are_the_same_bytes_whoever_works_and_whenever(tmp_path, monkeypatch):
    source = photos(tmp_path)
    made = {}
    for name, workers in (("1", 1), ("2", 2), ("3", 3), ("again", 1)):
        if name == "again":
            for path in source.rglob("*.jpg"):
                os.utime(path, (1, 1))
            monkeypatch.setenv("TZ", "Asia/Tokyo")
            os.umask(0o077)
        try:
            converted(source, tmp_path / name, workers=workers)
        finally:
            os.umask(0o022)
        made[name] = hashes(tmp_path / name)

    assert made["1"] == made["2"] == made["3"] == made["again"]
    assert len([name for name in made["1"] if name.endswith(".tar")]) > 3


def test_a_class_without_a_sound_image_is_refused_unless_allowed(tmp_path):
    source = photos(tmp_path, 9)
    for path in (source / "eel").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(DataRefused, match=r"1 of 3 classes.*'eel'"):
        converted(source, tmp_path / "set")
    assert not (tmp_path / "set/dataset.json").exists()
    lines = (tmp_path / "set/convert_errors.jsonl").read_text().splitlines()
    assert {json.loads(line)["key"].partition("/")[0] for line in lines} == {"eel"}

    manifest = converted(source, tmp_path / "set", allow_empty_class=True)
    assert manifest.classes == ("cat", "dog", "eel")
    assert manifest.counts == {"cat": 3, "dog": 3}
    with pytest.raises(DataRefused, match="'fox'"):
        converted(source, tmp_path / "other", classes=["cat", "dog", "eel", "fox"])


@pytest.mark.timeout(60)
def test_an_empty_class_and_no_image_at_all_are_code_3(tmp_path):
    source = photos(tmp_path, 6)
    for path in (source / "cat").iterdir():
        path.write_bytes(b"")
    done = run(0, "convert", source, tmp_path / "set")
    assert (done.returncode, "'cat'" in done.stderr) == (3, True), done.stderr
    assert (
        run(0, "convert", source, tmp_path / "b", "--allow-empty-class").returncode == 0
    )

    (tmp_path / "none").mkdir()
    done = run(0, "convert", tmp_path / "none", tmp_path / "c")
    assert (done.returncode, "has no image" in done.stderr) == (3, True)


def test_a_limit_of_the_file_size_is_a_real_one(tmp_path):
    """So that what the first test sees is the disk and not the program."""

    def grow():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            Path(tmp_path / "a").write_bytes(bytes(2000))
        except OSError:
            os._exit(7)

    process = FORK.Process(target=grow)
    process.start()
    process.join()
    assert process.exitcode == 7
    assert io.BytesIO((tmp_path / "a").read_bytes()).getbuffer().nbytes == 1000
