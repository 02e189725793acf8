"""Files that processes share: read whole or not at all, and no count is ever lost."""

import contextlib
import multiprocessing
import os
import random
import signal
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import StoreError
from fiberaug.synthetic import online_board
from fiberaug.synthetic.online import OnlineGenerator
from fiberaug.synthetic.online_board import Taker, bury, counted, read_takers
from fiberaug.synthetic.online_files import pack, read_sample, unpack, write_whole
from fiberaug.synthetic.online_place import Place, Trouble
from fiberaug.synthetic.online_told import Told, read_told

MEMBERS = st.fixed_dictionaries(
    {"cls": st.binary(max_size=4), "json": st.binary(max_size=40)}
).flatmap(
    lambda rest: st.builds(
        lambda extension, image: {extension: image, **rest},
        st.sampled_from(["png", "webp", "jpg"]),
        st.binary(max_size=300),
    )
)


@given(MEMBERS)
def test_a_sample_is_read_as_it_was_written(members):
    assert unpack(pack(members)) == members


@given(MEMBERS, st.data())
def test_a_damaged_file_is_no_sample(members, data):
    whole = pack(members)
    cut = data.draw(st.integers(0, len(whole) - 1))
    at = data.draw(st.integers(0, len(whole) - 1))
    other = bytearray(whole)
    other[at] ^= data.draw(st.integers(1, 255))

    assert unpack(whole[:cut]) is None
    assert unpack(whole + b"\0") is None
    assert unpack(bytes(other)) is None


@given(st.binary(max_size=100))
def test_other_bytes_are_no_sample(data):
    assert unpack(data) is None


def test_a_damaged_file_is_removed_when_it_is_read(tmp_path):
    path = tmp_path / "7"
    path.write_bytes(pack({"png": b"x", "cls": b"0", "json": b"{}"})[:-1])

    assert read_sample(path) is None
    assert not path.exists()
    assert read_sample(path) is None


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "3").mkdir()

    with pytest.raises(StoreError, match="cannot write"):
        write_whole(tmp_path / "3", b"data")
    assert [path.name for path in tmp_path.rglob("*")] == ["3"]


@pytest.mark.parametrize("removed", ["file", "folder"])
def test_what_is_removed_under_its_hands_is_written_again(
    tmp_path, monkeypatch, removed
):
    path, replace, told = tmp_path / "0/3", os.replace, []

    def emptied(source, target):
        if not told:
            told.append(source)
            source.unlink()
            if removed == "folder":
                path.parent.rmdir()
        replace(source, target)

    monkeypatch.setattr(os, "replace", emptied)
    write_whole(path, b"data")

    assert told
    assert path.read_bytes() == b"data"
    assert [one.name for one in path.parent.iterdir()] == ["3"]


def test_what_takers_tell_is_read_by_others(tmp_path):
    first, second = Taker(tmp_path / "t", 3), Taker(tmp_path / "t", 3)
    first.at(1, 7)
    first.at(2, 2**40 - 1)
    first.wait_for(2, 2**40 - 1)
    for _ in range(3):
        second.count(taken=True)
    second.count(taken=False)
    second.waited(1.5)

    rows = {tuple(row.positions): row for row in read_takers(tmp_path / "t", 3)}
    assert set(rows) == {(-1, 7, 2**40 - 1), (-1, -1, -1)}
    assert rows[-1, 7, 2**40 - 1].waiting == (2, 2**40 - 1)
    assert rows[-1, -1, -1].waiting is None
    assert rows[-1, -1, -1].counts == (3, 1, 1_500_000)
    first.settled()
    assert all(row.waiting is None for row in read_takers(tmp_path / "t", 3))
    first.close()
    second.close()


def test_files_of_other_lengths_are_being_made(tmp_path):
    (tmp_path / "1-a").write_bytes(b"\0" * 24)

    assert read_takers(tmp_path, 3) == []
    assert read_takers(tmp_path / "none", 3) == []


def test_the_counts_of_takers_that_ended_are_kept(tmp_path):
    folder, totals = tmp_path / "t", tmp_path / "totals.json"
    takers = [Taker(folder, 2) for _ in range(4)]
    for number, taker in enumerate(takers):
        for _ in range(number + 1):
            taker.count(taken=True)
    for taker in takers[:3]:
        taker.close()
    bury(folder, totals, 2)

    assert len(read_takers(folder, 2)) == 1
    assert takers[3].usable
    assert counted(folder, totals, 2).taken == 10
    takers[3].close()
    bury(folder, totals, 2)
    assert counted(folder, totals, 2).taken == 10
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("removed", range(4))
def test_a_kill_while_they_are_kept_counts_none_twice(tmp_path, removed, monkeypatch):
    folder, totals = tmp_path / "t", tmp_path / "totals.json"
    for _ in range(3):
        taker = Taker(folder, 2)
        taker.count(taken=False)
        taker.close()
    plain, left = online_board.Path.unlink, [removed]

    def unlink(self, **options):
        left[0] -= 1
        if left[0] < 0:
            raise InterruptedError
        plain(self, **options)

    monkeypatch.setattr(online_board.Path, "unlink", unlink)
    with contextlib.suppress(InterruptedError):
        bury(folder, totals, 2)
    monkeypatch.undo()
    assert counted(folder, totals, 2).late == 3
    later = Taker(folder, 2)
    later.count(taken=False)
    bury(folder, totals, 2)
    bury(folder, totals, 2)

    assert counted(folder, totals, 2).late == 4
    later.close()


def test_a_taker_whose_file_was_removed_knows_it(tmp_path):
    taker = Taker(tmp_path, 1)
    assert taker.usable
    next(tmp_path.iterdir()).unlink()

    assert not taker.usable
    taker.close()


def test_a_forked_process_is_another_taker_and_its_end_is_not_its_parents(tmp_path):
    taker = Taker(tmp_path, 1)
    results = multiprocessing.get_context("fork").SimpleQueue()

    def run():
        results.put(taker.usable)
        taker.close()

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join()
    bury(tmp_path, tmp_path.with_suffix(".json"), 1)

    assert results.get() is False
    assert taker.usable
    taker.close()


def _count(folder, totals):
    rng = random.Random(os.getpid())
    while True:
        taker = Taker(folder, 1)
        for _ in range(rng.randrange(5)):
            taker.count(taken=True)
        taker.close()


def test_counts_only_grow_while_takers_come_and_go(tmp_path):
    folder, totals = tmp_path / "t", tmp_path / "totals.json"
    child = multiprocessing.get_context("fork").Process(
        target=_count, args=(folder, totals)
    )
    child.start()
    seen, end = [0], time.monotonic() + 1
    while time.monotonic() < end:
        bury(folder, totals, 1)
        seen.append(counted(folder, totals, 1).taken)
    os.kill(child.pid, signal.SIGKILL)
    child.join()

    assert seen == sorted(seen)
    assert seen[-1] > 0


def test_what_the_generator_tells_outlives_it(tmp_path):
    path = tmp_path / "generator"
    assert read_told(path) == (0, 0.0, 0, 0.0, 0)
    for ended in (True, False, True):
        told = Told(path)
        told.begin()
        told.made(2)
        told.worked(0.25)
        told.holds(77)
        told.beat()
        if ended:
            told.end()
        del told

    seen = read_told(path)
    assert (seen.made, seen.busy_s, seen.buffer_bytes, seen.restarts) == (
        6,
        0.75,
        77,
        1,
    )
    assert abs(time.time() - seen.beat_s) < 60


def test_trouble_is_told_on_a_full_disk_too(tmp_path):
    task = OnlineGenerator("a:b", tmp_path / "f", classes=["x"])._task
    place = Place(tmp_path / "f")
    place.claim(task)
    before = {p: (p.stat().st_ino, p.stat().st_blocks) for p in tmp_path.rglob("*")}
    assert place.trouble == ("", False)

    for why, final in (("\0" * 20_000, False), ("short", False), ("ends\n", True)):
        place.tell(Trouble(why, final=final))
        assert place.trouble == (why[-10_000:], final)
    place.tell(None)  # what was final stays
    assert place.trouble == ("ends\n", True)
    after = {p: (p.stat().st_ino, p.stat().st_blocks) for p in tmp_path.rglob("*")}
    assert after == before
    place.claim(task)
    assert place.trouble == ("", False)


def test_trouble_that_has_passed_is_forgotten(tmp_path):
    place = Place(tmp_path)
    place.claim(OnlineGenerator("a:b", tmp_path, classes=["x"])._task)
    place.tell(Trouble("once", final=False))
    place.tell(None)

    assert place.trouble == ("", False)
