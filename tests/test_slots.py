"""Slots of shared memory: whose they are, how they grow, and what is left of them."""

import multiprocessing
import os
import pickle
import resource
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sets import photo, samples

import fiberaug
from fiberaug.placing import found, place
from fiberaug.slots import NO_SLOT, Placed, Slots, open_slots
from fiberaug.stacks import Stack


def test_slots_are_given_out_once_and_the_last_one_returned_comes_first():
    slots = Slots(3)
    taken = [slots.take() for _ in range(4)]
    assert sorted(taken[:3]) == [0, 1, 2]
    assert taken[3] == NO_SLOT
    slots.give_back(taken[1])
    slots.give_back(NO_SLOT)
    assert (slots.take(), slots.take()) == (taken[1], NO_SLOT)
    slots.free_all()
    assert slots.free == 3


def test_arrays_of_two_slots_do_not_touch_each_other_and_grow():
    slots = Slots(2)
    small = slots.array(0, Placed(64, (10,), "<f4"))
    small[:] = 1
    other = slots.array(1, Placed(0, (50_000_000,), "|u1"))
    other[:] = 2
    large = slots.array(0, Placed(0, (50_000_000,), "|u1"))
    assert large[64:104].view("<f4").tolist() == [1] * 10
    large[:] = 3
    assert small.view(np.uint8).tolist() == [3] * 40  # one memory
    assert (other == 2).all()
    slots.close()


def test_memory_is_what_was_written_and_no_more():
    slots = Slots(100)
    for _ in range(5):
        slots.array(7, Placed(0, (3_000_000,), "|u1"))[:] = 1
    taken = os.fstat(slots._fd).st_blocks * 512
    assert 3_000_000 <= taken <= 3_000_000 + 65_536
    slots.close()


ARRAYS = st.lists(
    st.tuples(
        st.sampled_from(["u1", "f4", "i8", "?", "f8", "u2"]),
        st.lists(st.integers(0, 40), min_size=0, max_size=4),
    ),
    min_size=1,
    max_size=6,
)


@given(ARRAYS, st.booleans(), st.integers(0, 2**32 - 1))
def test_what_is_placed_is_found_again(forms, listed, seed):
    """Whatever shapes and dtypes: small ones travel beside, all are equal."""
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(0, 2, shape).astype(kind) for kind, shape in forms]
    data = {f"a{i}": array for i, array in enumerate(arrays)}
    data |= {"all": arrays, "text": ["a", None], "one": 1}
    if listed:
        rows = [array[:3] for array in arrays if array.ndim and len(array)][:1] * 3
        if rows:
            shape = tuple(side + 2 for side in rows[0].shape)
            data["stack"] = Stack(rows, shape, rows[0].dtype, 1)
    slots = Slots(1)
    laid, size = place(data, slots, 0)
    sent = pickle.loads(pickle.dumps(laid))
    again = found(sent, slots, 0, size) if size else sent
    for name in (n for n in data if n.startswith("a") and n != "all"):
        assert np.array_equal(again[name], data[name])
        assert again[name].dtype == data[name].dtype
    for array, copy in zip(arrays, again["all"], strict=True):
        assert np.array_equal(array, copy)
    if "stack" in data:
        rows, shape = data["stack"].rows, data["stack"].shape
        expected = np.ones((3, *shape), rows[0].dtype)
        expected[(slice(None), *(slice(s) for s in rows[0].shape))] = rows[0]
        assert np.array_equal(again["stack"], expected)
    assert (again["text"], again["one"]) == (["a", None], 1)
    ends = sorted(
        (p.offset, p.offset + int(np.prod(p.shape)) * np.dtype(p.dtype).itemsize)
        for p in (*laid.values(), *laid["all"])
        if isinstance(p, Placed)
    )
    assert all(a[1] <= b[0] for a, b in pairwise(ends))
    slots.close()


def _write(slots, slot, size):
    slots.array(slot, Placed(0, (size,), "|u1"))[:] = slot % 100 + 1


SLOW = pytest.mark.slow
METHODS = ["fork", *(pytest.param(m, marks=SLOW) for m in ("spawn", "forkserver"))]


@pytest.mark.parametrize("method", METHODS)
def test_other_processes_write_what_this_one_reads(method):
    context = multiprocessing.get_context(method)
    slots = Slots(300)
    for slot, size in ((299, 100_000), (299, 5_000_000)):
        process = context.Process(target=_write, args=(slots, slot, size))
        process.start()
        process.join()
        assert process.exitcode == 0
        read = slots.array(slot, Placed(0, (size,), "|u1"))
        assert (read == slot % 100 + 1).all()
    slots.close()


def test_what_is_closed_is_gone_and_what_is_still_shown_can_be_read():
    """A debugger shows arrays of a batch that failed: no bus error."""
    slots = Slots(2)
    shown = slots.array(0, Placed(0, (1000,), "|u1"))
    shown[:] = 5
    slots.close()
    slots.close()
    assert (shown == 5).all()
    with pytest.raises(OSError, match="file descriptor"):
        os.fstat(slots._fd)


def test_a_forked_child_that_ends_takes_nothing_away():
    slots = Slots(1)
    array = slots.array(0, Placed(0, (100_000,), "|u1"))
    array[:] = 9
    pid = os.fork()
    if not pid:
        del array
        slots.close()
        os._exit(0)
    os.waitpid(pid, 0)
    assert (array == 9).all()
    assert os.fstat(slots._fd).st_size


def test_where_the_system_has_no_such_memory_there_are_no_slots(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    assert open_slots(3) is None


def test_where_files_may_not_be_long_there_are_no_slots():
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, hard))
    try:
        before = len(list(Path("/proc/self/fd").iterdir()))
        assert open_slots(3) is None
        assert len(list(Path("/proc/self/fd").iterdir())) == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# What loaders make of them.


def detection(count=42):
    """Pictures of several sizes with masks, boxes and masks of objects."""
    for i, sample in enumerate(samples(count)):
        height, width = 90 + 10 * (i % 3), 100 + 20 * (i % 2)
        yield {
            **sample,
            "image": photo(i, height, width),
            "mask": np.full((height, width), i, np.uint8),
            "bboxes": [[1.0 + j, 2.0, 20.0 + j, 30.0] for j in range(i % 3)],
            "bbox_labels": list(range(i % 3)),
        }


def with_masks(sample):
    boxes, (height, width) = sample["bboxes"], sample["image"].shape[:2]
    return {**sample, "masks": np.full((len(boxes), height, width), 3, np.uint8)}


def as_float(sample):
    return {**sample, "image": sample["image"].astype(np.float32) / 7}


def with_a_pair(sample):
    return {**sample, "depth": np.full((64, 80), len(sample.key), np.float64)}


CROP = A.Compose([A.RandomCrop(64, 80), A.Normalize()])
FORMS = {
    "normalised": ({"transform": CROP}, {}),
    "bytes": ({"transform": A.Compose([A.RandomCrop(64, 80)])}, {}),
    "float": ({"transform": [A.Compose([A.RandomCrop(64, 80)]), as_float]}, {}),
    "views": ({"transform": CROP, "views": 2}, {"targets": "padded"}),
    "pad": ({}, {"collate": "pad"}),
    "pad normalised": ({"transform": A.Compose([A.Normalize()])}, {"collate": "pad"}),
    "list": ({"transform": A.Compose([A.Normalize()])}, {"collate": "list"}),
    "masks of objects": (
        {"transform": with_masks},
        {"collate": "list", "targets": "torchvision"},
    ),
    "yolo": ({"transform": CROP}, {"targets": "yolo", "drop_last": True}),
    "a field of the user's": ({"transform": [CROP, with_a_pair]}, {}),
    "tuples": ({"transform": CROP}, {"output": ("image", "mask", "label")}),
    "function": ({"transform": CROP}, {"collate_fn": list}),
}


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b) and a.is_contiguous()
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    if hasattr(a, "to_json"):
        return a.to_json() == b.to_json()
    if hasattr(a, "texts"):
        return a.texts() == b.texts()
    return a == b


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slots") / "set"
    fiberaug.convert(detection(), folder, shard_size="300kB", progress=False)
    return str(folder)


def loader_of(shards, dataset=None, batch_size=4, **options):
    dataset = fiberaug.StreamingDataset(shards, seed=3, **(dataset or {}))
    if options.get("num_workers"):
        options = {"multiprocessing_context": "fork", **options}
    return fiberaug.DataLoader(dataset, batch_size, **options)


@pytest.mark.parametrize("form", FORMS)
def test_batches_are_the_same_without_workers_in_slots_and_without_slots(
    shards, form, monkeypatch
):
    """And kept in a list they are what they were one by one."""
    dataset, options = FORMS[form]
    kept = list(loader_of(shards, dataset, **options))
    with loader_of(shards, dataset, num_workers=2, **options) as loader:
        one_by_one = iter(loader)
        for number, expected in enumerate(kept):
            assert equal(next(one_by_one), expected), number
        assert next(one_by_one, None) is None
    with loader_of(shards, dataset, num_workers=2, **options) as loader:
        for got, expected in zip(list(loader), kept, strict=True):
            assert equal(got, expected)
    monkeypatch.delattr(os, "memfd_create")
    with loader_of(shards, dataset, num_workers=1, **options) as loader:
        for got, expected in zip(list(loader), kept, strict=True):
            assert equal(got, expected)


def test_a_pass_over_slots_uses_each_again_and_leaves_all_free(shards):
    slots_seen = []
    with loader_of(
        shards, {"transform": CROP}, 2, num_workers=2, persistent_workers=True
    ) as loader:
        for _ in range(3):
            for _ in loader:
                workers = loader._workers
                slots_seen.append([r.slot for r in workers._waiting])
                assert len(set(slots_seen[-1])) == len(slots_seen[-1])
            slots = workers._slots
        assert slots.free == 6
        assert {s for seen in slots_seen for s in seen} <= set(range(6))
        assert NO_SLOT not in {s for seen in slots_seen for s in seen}
        memory = os.fstat(slots._fd).st_blocks * 512
    assert memory <= 6 * (2 * 64 * 80 * (3 + 1) + 65_536)


class Slow:
    """A transform that takes as long as it is told at some samples."""

    def __call__(self, sample):
        import time

        time.sleep(0.03 * (int(sample.key[1:]) % 3))
        return sample


@pytest.mark.parametrize("persistent", [True, False])
def test_a_pass_that_is_broken_off_gives_no_slot_away_that_is_written(
    shards, persistent
):
    """Wherever it is broken off: the next pass has its own pixels."""
    dataset = {"transform": [A.Compose([A.RandomCrop(64, 80)]), Slow()]}
    reference = loader_of(shards, dataset, 3)
    passes = [list(reference) for _ in range(5)]
    options = {"num_workers": 2, "persistent_workers": persistent}
    with loader_of(shards, dataset, 3, prefetch_factor=3, **options) as loader:
        for number, expected in enumerate(passes):
            stop = (1, 3, 0, 5, None)[number]
            loader.set_epoch(number)
            got = []
            for batch in loader:
                got.append(batch)
                slots = [request.slot for request in loader._workers._waiting]
                assert NO_SLOT not in slots
                assert len(set(slots)) == len(slots)
                if stop is not None and len(got) > stop:
                    break
            for a, b in zip(got, expected, strict=stop is None):
                assert equal(a, b)


def test_two_loaders_at_once_do_not_write_into_each_other_s_slots(shards):
    first, second = (
        {"transform": CROP},
        {"transform": A.Compose([A.RandomCrop(50, 50)])},
    )
    expected = [list(loader_of(shards, d, 3)) for d in (first, second)]
    options = {"num_workers": 2}
    with (
        loader_of(shards, first, 3, **options) as one,
        loader_of(shards, second, 3, **options) as two,
    ):
        pairs = list(zip(one, two, strict=True))
    for number, (a, b) in enumerate(pairs):
        assert equal(a, expected[0][number])
        assert equal(b, expected[1][number])


COUNT = textwrap.dedent("""
    import os, sys
    import albumentations as A
    import fiberaug

    def mine():
        found = set()
        for name in os.listdir("/proc/self/fd"):
            try:
                if "memfd:fiberaug" in os.readlink(f"/proc/self/fd/{name}"):
                    found.add(os.stat(f"/proc/self/fd/{name}").st_ino)
            except OSError:
                pass  # the folder's own
        return len(found)

    def main():
        dataset = fiberaug.StreamingDataset(
            sys.argv[1], transform=A.Compose([A.RandomCrop(64, 80)]))
        options = {"num_workers": 2, "multiprocessing_context": sys.argv[2]}
        loader = fiberaug.DataLoader(dataset, 4, persistent_workers=True, **options)
        other = fiberaug.DataLoader(dataset, 4, **options)
        for _ in range(2):
            list(loader)
            next(iter(other))
        print(mine())
        loader.close()
        other.close()
        print(mine())
        list(loader)  # dropped without being closed
        del loader, other
        print(mine())

    if __name__ == "__main__":
        main()
""")


@pytest.mark.parametrize("method", METHODS)
def test_a_loader_has_one_file_and_leaves_none(shards, tmp_path, method):
    script = tmp_path / "count.py"
    script.write_text(COUNT)
    done = subprocess.run(
        [sys.executable, str(script), shards, method],
        capture_output=True, text=True, check=True, timeout=200,
    )  # fmt: skip
    assert done.stdout.split() == ["2", "0", "0"]
