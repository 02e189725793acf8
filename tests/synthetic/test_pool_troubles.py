"""What goes wrong with a pool is said, and nothing is lost or taken over."""

import json
import os
import signal
from functools import partial

import numpy as np
import pytest
from generators import Edits, Shapes
from killed import digests, kill_at
from sets import photo

import fiberaug
from fiberaug.errors import (
    DataRefused,
    LimitExceeded,
    SampleBroken,
    StoreError,
    UsageError,
    WorkerDied,
)
from fiberaug.synthetic.poolfile import PoolFile, differences, read_pool_file


def write(folder, generator=None, **options):
    options = {"per_class": 3, "progress": False} | options
    return fiberaug.Pool.write(generator or Shapes(), folder, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_class": 0}, "per_class must be an integer >= 1, got 0"),
        ({"per_class": {"cow": 1}}, "no class 'cow': it has disc, square, bar"),
        ({"classes": ["cow"]}, "no class 'cow'"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1, got 0"),
        ({"processes": -1}, "processes must be an integer >= 1, got -1"),
        ({"encoding": "bmp"}, r"encoding must be one of .*, got 'bmp'"),
        ({"seed": -1}, r"seed must be an integer in \[0, 2\*\*64\)"),
        ({"shard_size": "big"}, "shard_size"),
        ({"generator": 7}, "or is a function that makes one; got builtins.int"),
        ({"conditions": {"light": 3}}, "light"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(tmp_path, options, message):
    with pytest.raises((UsageError, TypeError), match=message):
        write(tmp_path / "pool", **options)

    assert not (tmp_path / "pool").exists()


class Late(Shapes):
    """Goes wrong at its seventh call."""

    calls = 0

    def __init__(self, wrong):
        super().__init__()
        self._wrong = wrong

    def generate(self, seeds, labels, **conditions):
        Late.calls += 1
        made = super().generate(seeds, labels, **conditions)
        return self._wrong(made) if Late.calls == 7 else made


def stop(images):
    raise ZeroDivisionError("mine")


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        (stop, ZeroDivisionError, "mine"),
        (lambda x: x / 255, UsageError, "got float64"),
        (lambda x: x * np.nan, UsageError, "NaN or infinite"),
        (lambda x: x[:, :, :, 0], UsageError, r"got \[1, 24, 32\]"),
        (
            lambda x: x[:, :5],
            UsageError,
            r"of \[24, 32, 3\] and of \[5, 32, 3\]",
        ),
    ],
)
def test_a_generator_that_fails_is_named_and_what_was_made_is_kept(
    tmp_path, monkeypatch, processes, wrong, kind, message
):
    monkeypatch.setattr(Late, "calls", 0)
    good = write(tmp_path / "good", Late(lambda x: x))
    monkeypatch.setattr(Late, "calls", 0)
    options = {"batch_size": 1, "processes": processes}
    with pytest.raises(kind, match=message) as caught:
        write(tmp_path / "pool", Late(wrong), **options)
    told = str(caught.value) + "".join(getattr(caught.value, "__notes__", ()))

    assert "images of [" in told or "Late.generate(seeds=[" in told
    Late.calls = 100
    write(tmp_path / "pool", Late(wrong), **options)
    assert digests(tmp_path / "pool") == digests(good.path)


def test_a_process_that_is_killed_is_told(tmp_path):
    class Deadly(Shapes):
        def generate(self, seeds, labels, **conditions):
            if seeds[0] == deadly and os.getpid() != parent:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().generate(seeds, labels, **conditions)

    parent = os.getpid()
    deadly = fiberaug.synthetic.seeds.sample_seed(0, "bar", 2)
    with pytest.raises(WorkerDied, match="fewer processes or a smaller batch_size"):
        write(tmp_path / "pool", Deadly(), processes=2, batch_size=1)
    deadly = -1

    assert len(write(tmp_path / "pool", Deadly(), processes=2)) == 9


@pytest.mark.parametrize("limit", [3_000, 9_000])
def test_a_full_disk_is_an_error_and_the_rest_is_written_later(tmp_path, limit):
    """RLIMIT_FSIZE stands for a full disk where nobody may mount one."""
    import resource

    good = write(tmp_path / "good", per_class=8)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
    try:
        with pytest.raises(StoreError, match=r"cannot write .*pool"):
            write(tmp_path / "pool", per_class=8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert not list((tmp_path / "pool").glob("*.tar"))

    write(tmp_path / "pool", per_class=8)
    assert digests(tmp_path / "pool") == digests(good.path)


def test_nothing_else_is_written_over(tmp_path, write_set):
    with pytest.raises(UsageError, match="holds a data set that is no pool"):
        write(write_set(3))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        write(tmp_path / "notes")
    with pytest.raises(UsageError, match="is no folder"):
        write("s3://bucket/pool")


def test_an_unfinished_conversion_is_not_taken_over(tmp_path):
    work = partial(
        fiberaug.convert, [{"__key__": "k", "image": photo(1)}], tmp_path / "x"
    )
    assert kill_at(6, tmp_path / "x", work)
    with pytest.raises(UsageError, match="unfinished data set that is no pool"):
        write(tmp_path / "x")


def test_an_unfinished_pool_is_not_read(tmp_path):
    folder = tmp_path / "pool"
    options = {"per_class": 12, "shard_size": "20kB"}
    assert kill_at(20, folder, partial(write, folder, **options))
    with pytest.raises(DataRefused, match="the same call that began it goes on"):
        fiberaug.Pool.open(folder)
    with pytest.raises(DataRefused, match="unfinished"):
        fiberaug.StreamingDataset(str(folder))


def test_what_is_no_pool_is_not_opened(tmp_path, write_set):
    folder = write_set(3)
    with pytest.raises(DataRefused, match="is a data set, but no pool: it has no"):
        fiberaug.Pool.open(folder)
    assert read_pool_file(folder) is None
    with pytest.raises(UsageError, match="is no folder"):
        fiberaug.Pool.open(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda told: "{", DataRefused, "is not JSON"),
        (lambda told: "[]", DataRefused, "is no pool.json"),
        (lambda told: told | {"v": 2}, DataRefused, "version 2, this release reads 1"),
        (lambda told: told | {"v": "1"}, DataRefused, '"v" must be 1'),
        (lambda told: told | {"generator": []}, DataRefused, "generator is"),
        (lambda told: told | {"size": {}}, DataRefused, "size has no height"),
        (lambda told: told | {"counts": {"a": {"asked": -1}}}, DataRefused, "asked -1"),
        (lambda told: told | {"counts": {"a": 3}}, DataRefused, "asked None"),
        (lambda told: {"v": 1}, DataRefused, "missing"),
        (lambda told: "[" * 90_000, DataRefused, "not JSON"),
        (lambda told: " " * (64 * 2**20 + 1), LimitExceeded, "larger than"),
    ],
)
def test_a_pool_file_of_a_stranger_is_checked(tmp_path, change, kind, message):
    folder = write(tmp_path / "pool").path
    content = change(json.loads((folder / "pool.json").read_text()))
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "pool.json").write_text(text)

    with pytest.raises(kind, match=message):
        fiberaug.Pool.open(folder)
    with pytest.raises(kind, match=message):
        write(folder)


def test_a_pool_file_is_read_as_it_was_written(tmp_path):
    file = write(tmp_path / "pool").file

    assert PoolFile.parse(file.to_bytes(), "pool.json") == file


def test_fields_of_a_later_release_are_passed_over(tmp_path):
    folder = write(tmp_path / "pool").path
    told = json.loads((folder / "pool.json").read_text()) | {"more": 3}
    (folder / "pool.json").write_text(json.dumps(told))

    assert len(fiberaug.Pool.open(folder)) == 9


def test_a_sample_without_provenance_is_named(tmp_path):
    folder = write(tmp_path / "pool").path
    other = tmp_path / "other"
    fiberaug.convert([{"__key__": "k", "image": photo(1)}], other, progress=False)
    (other / "pool.json").write_bytes((folder / "pool.json").read_bytes())

    with pytest.raises(DataRefused, match="no sound provenance") as caught:
        list(fiberaug.Pool.open(other).samples())
    assert caught.value.key == "k"


def test_a_damaged_shard_is_told(tmp_path):
    pool = write(
        tmp_path / "pool", Edits([("s", "k", "t", photo(1), i) for i in range(3)])
    )
    path = pool.path / "synth-000000.tar"
    data = bytearray(path.read_bytes())
    data[1600:1620] = bytes(20)
    path.write_bytes(data)
    with pytest.raises(SampleBroken, match="CRC-32"):
        list(pool.parents())


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ({"parents": [{"name": "k"}]}, "name"),
        ({"parents": [{"key": 7}]}, "parents.key must be string"),
        ({"label_origin": "guessed"}, "label_origin must be one of"),
        ({"params": {"strength": 3}}, "params.strength must be from 0 to 1"),
        ({"colour": "red"}, "'colour' is unknown"),
        ({"parents": 3}, "not iterable"),
    ],
)
def test_what_a_generator_says_of_a_sample_is_checked(tmp_path, notes, message):
    class Says(Shapes):
        def sample_notes(self, seeds, labels, **conditions):
            return [notes for _ in seeds]

    with pytest.raises(UsageError, match=message) as caught:
        write(tmp_path / "pool", Says())
    assert caught.value.key == "disc-000000"


def test_a_hash_that_is_none_is_refused(tmp_path):
    class Says(Shapes):
        def describe(self):
            return {"sha256": "abc"}

    with pytest.raises(UsageError, match=r"generator\.sha256 must look"):
        write(tmp_path / "pool", Says())


def test_differences_are_named_by_their_place():
    there = {"a": {"b": 1, "c": 2}, "d": [1]}
    here = {"a": {"b": 1, "c": 3}, "d": [2], "e": None}

    assert differences(there, there) == []
    assert differences(there, here) == ["a.c is 2 there and 3 here",
                                        "d is [1] there and [2] here"]  # fmt: skip
