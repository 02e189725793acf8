"""Messages between processes: errors arrive whole, large arrays are shared."""

import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from sets import photo, samples

import fiberaug
from fiberaug.slots import NO_SLOT, Slots
from fiberaug.transport import Request, pack, read_error, unpack


class Unpicklable(Exception):
    """Cannot be sent to another process."""

    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")
        self.handle = sys.stdout


def decoder_that_raises(error):
    def decode(_):
        raise error

    return decode


def transform_that_raises(_sample):
    raise Unpicklable("one", "two")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_exception_that_does_not_pickle_arrives_as_its_text(write_set, num_workers):
    dataset = fiberaug.StreamingDataset(write_set(4), transform=transform_that_raises)
    loader = fiberaug.DataLoader(
        dataset, 2, num_workers=num_workers,
        **({"multiprocessing_context": "fork"} if num_workers else {}),
    )  # fmt: skip
    with pytest.raises(RuntimeError, match="Unpicklable: one and two") as caught:
        list(loader)
    assert "in transform_that_raises" in str(caught.value)


def test_an_error_of_ours_arrives_with_its_type_place_and_traceback(write_set):
    error = fiberaug.SampleBroken("no good", stage="decode")
    dataset = fiberaug.StreamingDataset(
        write_set(4), decoders={"png": decoder_that_raises(error)}, on_error="raise"
    )
    with pytest.raises(fiberaug.SampleBroken) as caught:
        list(
            fiberaug.DataLoader(
                dataset, 2, num_workers=1, multiprocessing_context="fork"
            )
        )

    assert caught.value.key.startswith("k00")
    assert caught.value.stage == "decode"
    assert "in decode" in "\n".join(caught.value.__notes__)


@pytest.fixture
def message(write_set):
    """A batch of four pictures of 120 x 160 px with masks of their own."""
    content = samples(
        4,
        image=lambda i: photo(i, 120, 160),
        mask=lambda i: np.full((120, 160), i, np.uint8),
        bboxes=lambda i: np.array([[1, 2, 30, 40.0]] * i).reshape(-1, 4),
        bbox_labels=lambda i: [1] * i,
    )
    dataset = fiberaug.StreamingDataset(write_set(content), shuffle=False)
    loader = fiberaug.DataLoader(dataset, 4)
    return loader._builder.build(Request(0, 0, 4, 0, 1, drop_last=False))


@pytest.mark.parametrize("way", ["slot", "no slot", "no slots"])
def test_arrays_travel_in_shared_memory_and_small_things_in_the_message(message, way):
    slots = None if way == "no slots" else Slots(2)
    sent = pickle.dumps(pack(message, slots, 1 if way == "slot" else NO_SLOT).keys)
    assert pickle.loads(sent) == [f"k{i:03d}" for i in range(4)]
    data = message.data
    assert message.shared_bytes >= 4 * 120 * 160 * 4
    if way == "slot":
        assert message.slot == 1
        assert len(pickle.dumps(message)) < 4000
    else:
        assert message.slot == NO_SLOT
        assert isinstance(data["image"], torch.Tensor)
        assert data["image"].is_shared()
    assert isinstance(data["label"], np.ndarray)
    found = unpack(message, slots).data
    assert found["image"].shape == (4, 120, 160, 3)
    for i in range(4):
        assert np.array_equal(found["image"][i], photo(i, 120, 160))
        assert (found["mask"][i] == i).all()
    assert found["bboxes"].flat.tolist() == [[1, 2, 30, 40]] * 6
    assert found["label"].tolist() == [0, 1, 2, 3]


def test_what_is_larger_than_a_slot_travels_all_the_same(message, monkeypatch):
    monkeypatch.setattr("fiberaug.slots._STRIDE", 65_536)
    slots = Slots(1)
    found = unpack(pack(message, slots, 0), slots)
    assert found.slot == NO_SLOT
    assert np.array_equal(found.data["image"][3], photo(3, 120, 160))


def test_what_is_no_exception_is_still_one():
    assert isinstance(read_error(pickle.dumps("text")), RuntimeError)


def test_a_request_beyond_the_end_is_answered_with_over(write_set):
    loader = fiberaug.DataLoader(fiberaug.StreamingDataset(write_set(10)), 4)
    build = loader._builder.build

    assert build(Request(0, 8, 4, 0, 1, drop_last=False)).end == 10
    assert build(Request(0, 8, 4, 0, 1, drop_last=True)).over
    assert build(Request(0, 12, 4, 0, 1, drop_last=False)).over


@pytest.mark.timeout(60)
def test_a_worker_that_does_not_answer_in_time_is_an_error(write_set):
    dataset = fiberaug.StreamingDataset(write_set(8), decoders={"png": _sleep})
    loader = fiberaug.DataLoader(
        dataset, 4, num_workers=1, timeout=1, multiprocessing_context="fork"
    )
    with pytest.raises(fiberaug.WorkerDied, match="timed out after 1"):
        next(iter(loader))


def _sleep(_):
    time.sleep(30)


MAIN = """
import sys, time
import fiberaug
shards, collate = sys.argv[1:]
loader = fiberaug.DataLoader(
    fiberaug.StreamingDataset(shards), 2, num_workers=2, collate=collate,
    prefetch_factor=20,
)
next(iter(loader))
print(*(w.pid for w in loader._workers._messages._workers), flush=True)
time.sleep(60)
"""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("collate", ["stack", "list"])
def test_workers_end_with_a_main_process_that_is_killed(write_set, collate):
    """Also those that have more to send than a pipe holds."""
    shards = write_set(
        {**s, "image": photo(i, 200, 300)} for i, s in enumerate(samples(60))
    )
    main = subprocess.Popen(
        [sys.executable, "-c", MAIN, shards, collate], stdout=subprocess.PIPE, text=True
    )
    pids = main.stdout.readline().split()
    time.sleep(1)
    main.kill()
    main.communicate()
    end = time.monotonic() + 5

    assert len(pids) == 2
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < end, "a worker is left"
        time.sleep(0.05)
