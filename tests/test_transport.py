"""Messages between processes: errors arrive whole, large arrays are shared."""

import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from sets import photo, samples

import fiberaug
from fiberaug.transport import Request, read_error, share, unshare


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


def test_large_arrays_travel_in_shared_memory_and_small_ones_do_not(write_set):
    def content():
        for i, sample in enumerate(samples(4)):
            yield {**sample, "image": photo(i, 120, 160)}

    loader = fiberaug.DataLoader(fiberaug.StreamingDataset(write_set(content())), 4)
    message = share(loader._builder.build(Request(0, 0, 4, 0, 1, drop_last=False)))

    assert isinstance(message.data["image"], torch.Tensor)
    assert not isinstance(message.data["label"], torch.Tensor)
    assert unshare(message).data["image"].shape == (4, 3, 120, 160)


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
