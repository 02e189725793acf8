"""Samples that were delivered become a pool; none is lost, whatever is killed when."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onlines import CLASSES, Licensed, Paint, make, pixels_of, processes, right

import fiberaug
from fiberaug.errors import UsageError
from fiberaug.shards.reader import ShardFile, ShardRef
from fiberaug.synthetic import online_collecting, online_pool
from fiberaug.synthetic.online import OnlineGenerator
from fiberaug.synthetic.pool import Pool
from fiberaug.synthetic.truth import verify


def make_online(tmp_path, factory=make, **options):
    options = {"classes": CLASSES, "keep": tmp_path / "pool", **options}
    return OnlineGenerator(factory, tmp_path / "buffer", **options)


def members_of(pool):
    """Members of the samples of a pool by key."""
    found = {}
    for entry in pool.manifest.shards:
        path = str(pool.path / entry.name)
        ref = ShardRef(path=path, index=f"{path}.idx", samples=entry.samples)
        shard = ShardFile(ref)
        for i in range(len(shard.index)):
            key = shard.index.key(i)
            assert key not in found
            found[key] = {e: bytes(data) for e, data in shard.read(i).items()}
    return found


def deliver(source, *addresses):
    for address in addresses:
        assert right(source.take(*address), *address)
        source.confirm(*address)


def test_a_kept_pool_is_what_a_written_one_would_be(tmp_path):
    taken = [(label, index) for index in range(6) for label in range(3)]
    with make_online(tmp_path, seed=0) as source:
        deliver(source, *taken)
        source.take(1, 50)  # taken, and never delivered
    kept = Pool.open(tmp_path / "pool")
    written = Pool.write(Paint(), tmp_path / "w", per_class=6, progress=False)

    own, theirs = members_of(kept), members_of(written)
    assert own.keys() == theirs.keys()
    for key, members in own.items():
        assert members["png"] == theirs[key]["png"]
        assert members["cls"] == theirs[key]["cls"]
    assert kept.counts == written.counts == dict.fromkeys(CLASSES, 6)
    assert kept.classes == written.classes
    assert kept.size == written.size == (16, 16)
    assert kept.generator == written.generator
    for key, label, stated in kept.samples():
        assert verify(stated, own[key]["png"], label=label) == []


def test_a_data_set_streams_it(tmp_path):
    with make_online(tmp_path) as source:
        deliver(source, (0, 4), (2, 1))
    data = fiberaug.StreamingDataset(tmp_path / "pool", train=False)

    found = {s["__key__"]: (s["label"], np.asarray(s["image"])) for s in data}
    assert {key: label for key, (label, _) in found.items()} == {
        "disc-000004": 0, "bar-000001": 2,
    }  # fmt: skip
    image = found["bar-000001"][1]
    image = image.transpose(1, 2, 0) if image.shape[0] == 3 else image
    assert (image == pixels_of(2, 1)).all()


def test_a_later_run_adds_to_it_and_takes_nothing_twice(tmp_path):
    with make_online(tmp_path) as source:
        deliver(source, (0, 0), (0, 1))
    first = members_of(Pool.open(tmp_path / "pool"))
    with make_online(tmp_path) as source:
        deliver(source, (0, 1), (0, 2), (1, 0))
        source.confirm(0, 2)
    both = members_of(Pool.open(tmp_path / "pool"))

    assert sorted(both) == [
        "disc-000000",
        "disc-000001",
        "disc-000002",
        "square-000000",
    ]
    assert all(both[key] == members for key, members in first.items())
    assert Pool.open(tmp_path / "pool").counts == {"disc": 3, "square": 1, "bar": 0}


def test_a_sample_that_was_dropped_before_it_was_confirmed_is_made_again(tmp_path):
    with make_online(tmp_path, most_bytes=6000, ahead=1) as source:
        for i in range(30):
            assert right(source.take(0, i), 0, i)
        assert not (tmp_path / "buffer/ready/0/2").exists()
        source.confirm(0, 2)

    assert list(members_of(Pool.open(tmp_path / "pool"))) == ["disc-000002"]
    assert list((tmp_path / "buffer/again").iterdir()) == []


def test_what_cannot_be_made_again_now_is_made_by_the_next_run(tmp_path):
    source = make_online(tmp_path)
    source.confirm(0, 2)  # nobody has started it
    assert source.collect() == 0
    with source:
        deliver(source, (1, 1))

    assert sorted(members_of(Pool.open(tmp_path / "pool"))) == [
        "disc-000002", "square-000001",
    ]  # fmt: skip


def test_what_a_kill_left_half_written_is_removed(tmp_path):
    source = make_online(tmp_path)
    filled(source, {0})
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool/.converting.json").write_text("{}")
    (tmp_path / "pool/.synth-000000.tar.1.part").write_bytes(b"half")
    source.collect()

    assert sorted(path.name for path in (tmp_path / "pool").iterdir()) == [
        "dataset.json", "pool.json", "synth-000000.tar", "synth-000000.tar.idx",
    ]  # fmt: skip


def test_nothing_is_written_where_nothing_was_confirmed(tmp_path):
    with make_online(tmp_path) as source:
        source.take(0, 0)

    assert not (tmp_path / "pool").exists()


def test_without_keep_confirming_does_nothing(tmp_path):
    with make_online(tmp_path, keep=None) as source:
        deliver(source, (0, 0))

    assert not (tmp_path / "buffer/kept").exists()


def test_after_a_kill_of_everything_what_was_confirmed_is_there(tmp_path):
    code = (
        "import os, sys, signal, onlines\n"
        "from fiberaug.synthetic.online import OnlineGenerator\n"
        "buffer, pool = sys.argv[1:]\n"
        "one = OnlineGenerator('onlines:make', buffer, classes=onlines.CLASSES,\n"
        "    keep=pool).start()\n"
        "for i in range(40):\n"
        "    assert onlines.right(one.take(i % 3, i), i % 3, i)\n"
        "    one.confirm(i % 3, i)\n"
        "os.kill(onlines.processes()[0].pid, signal.SIGKILL)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "buffer", tmp_path / "pool"],
        check=False, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    source = make_online(tmp_path, "onlines:make")

    assert source.collect() == 40
    found = members_of(Pool.open(tmp_path / "pool"))
    assert sorted(found) == sorted(f"{CLASSES[i % 3]}-{i:06d}" for i in range(40))
    assert source.collect() == 0


class Stopped(Exception):
    """What stands for a kill at some step."""


STEPS = {
    "publish": online_pool.ShardFileWriter,
    "write": online_collecting.LocalStore,
    "unlink": Path,
}


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(STEPS)),
    st.integers(0, 4),
    st.sets(st.integers(0, 8), min_size=1),
)
def test_collecting_can_be_interrupted_anywhere(tmp_path_factory, step, calls, second):
    tmp_path = tmp_path_factory.mktemp("kept")
    source = make_online(tmp_path, Edited)
    filled(source, {0, 1, 2})
    source.collect()
    filled(source, second)
    with pytest.MonkeyPatch.context() as patch:
        plain, left = getattr(STEPS[step], step), [calls]

        def interrupted(self, *args, **options):
            if ".lock" not in str(self):
                left[0] -= 1
                if left[0] < 0:
                    raise Stopped
            return plain(self, *args, **options)

        patch.setattr(STEPS[step], step, interrupted)
        with contextlib.suppress(Stopped):
            source.collect()
    source.collect()

    pool = Pool.open(tmp_path / "pool")
    wanted = {0, 1, 2} | second
    assert sorted(members_of(pool)) == [f"disc-{i:06d}" for i in sorted(wanted)]
    assert pool.counts["disc"] == len(pool) == len(wanted)
    assert pool.file.parents == {
        "samples": len(wanted), "splits": {"train": len(wanted)}
    }  # fmt: skip
    assert source.collect() == 0
    assert [p for p in (tmp_path / "pool").iterdir() if p.name[0] == "."] == []


def filled(source, indexes):
    """Puts samples where the generator's process and takers leave them."""
    from fiberaug.synthetic.online_files import pack, write_whole
    from fiberaug.synthetic.online_making import Maker

    place = source._place
    place.claim(source._task)
    maker = Maker(source._task, lambda: None)
    place.made_by(maker.about)
    for address, members in maker.make([(0, i) for i in sorted(indexes)]):
        write_whole(place.kept_sample(*address), pack(members))


@pytest.mark.parametrize("what", ["set", "seed", "file"])
def test_a_folder_that_holds_something_else_is_refused(tmp_path, write_set, what):
    keep = tmp_path / "set"
    if what == "set":
        write_set(3)
    elif what == "file":
        keep.mkdir()
        (keep / "notes.txt").write_text("mine")
    else:
        Pool.write(Paint(), keep, per_class=1, seed=9, progress=False)
    before = sorted(keep.iterdir())

    with pytest.raises(UsageError, match=r"set (holds|is not empty)"):
        make_online(tmp_path, keep=keep).start()
    assert processes() == []
    assert sorted(keep.iterdir()) == before


def test_samples_to_keep_are_not_dropped_by_another_generator(tmp_path):
    source = make_online(tmp_path, wait=60)
    with source:
        source.take(0, 0)
    filled(source, {5})
    with make_online(tmp_path, Licensed, wait=60, restarts=0) as other:
        assert other.take(0, 0) is None
        assert "another generator" in other.why()

    assert (tmp_path / "pool").exists()


class Edited(Paint):
    def sample_notes(self, seeds, labels):
        return [{"parents": [{"key": "k", "split": "train"}]} for _ in seeds]


def test_samples_of_another_seed_do_not_come_into_the_pool(tmp_path):
    filled(make_online(tmp_path, seed=1), {5})
    other = make_online(tmp_path, seed=2)

    for refused in (other.collect, other.start):
        with pytest.raises(UsageError, match="seed 1 and not 2 left samples there"):
            refused()
