"""The user's side of a batch: places, texts, tuples."""

import json
import queue
import threading

import numpy as np
import pytest
import torch
from sets import photo, samples

import fiberaug


def batch_of(shards, dataset=None, **options):
    loader = fiberaug.DataLoader(
        fiberaug.StreamingDataset(shards, **(dataset or {})), 4, **options
    )
    return next(iter(loader))


def test_records_are_objects_text_or_absent(write_set):
    shards = write_set(4)
    packed = batch_of(shards)["record"]
    text = batch_of(shards, {"record": "text"})["record"]

    assert [r.to_json() for r in packed] == text
    assert json.loads(text[0])["v"] == 1
    assert "record" not in batch_of(shards, {"record": "none"})


def test_tensors_go_to_the_device_and_keys_stay(write_set):
    content = ({**s, "bboxes": [[1, 2, 3, 4]], "bbox_labels": [1]} for s in samples(4))
    batch = batch_of(write_set(content), device="meta")

    assert batch["image"].device.type == "meta"
    assert batch["is_pad"].device.type == "meta"
    assert {b.device.type for b in batch["bboxes"]} == {"meta"}
    assert sorted(batch["__key__"]) == ["k000", "k001", "k002", "k003"]


def test_a_name_that_is_no_field_is_named(write_set):
    with pytest.raises(KeyError, match="pixels"):
        batch_of(write_set(4), output=("pixels",))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_pinned_batches_arrive_on_the_gpu(write_set):
    batch = batch_of(write_set(4), device="cuda", pin_memory=True)

    assert batch["image"].is_cuda


def pictures(count=48):
    for i, sample in enumerate(samples(count)):
        yield {**sample, "image": photo(i, 120, 160)}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loop_uses_the_memory_of_its_batches_again(write_set, num_workers):
    """Two places: of the batch that the loop has, and of the one that is made."""
    options = {"multiprocessing_context": "fork"} if num_workers else {}
    dataset = fiberaug.StreamingDataset(write_set(pictures()))
    places = set()
    with fiberaug.DataLoader(dataset, 4, num_workers=num_workers, **options) as loader:
        for _ in range(2):
            for batch in loader:
                places.add(batch["image"].untyped_storage().data_ptr())
    assert len(places) == 2


@pytest.mark.parametrize("num_workers", [0, 2])
def test_whatever_is_kept_of_a_batch_keeps_its_pixels(write_set, num_workers):
    """A tensor, a view, an array; in another thread; until nobody has it."""
    options = {"multiprocessing_context": "fork"} if num_workers else {}
    dataset = fiberaug.StreamingDataset(write_set(pictures()), shuffle=False)
    ways = (
        lambda t: t, lambda t: t[2:], lambda t: t.numpy()[2:],
        lambda t: t[3].permute(1, 2, 0)[None],
    )  # fmt: skip
    handed, seen = queue.Queue(), []

    def look():
        for number, kept in iter(handed.get, None):
            seen.append((number, kept, np.asarray(kept).copy()))

    thread = threading.Thread(target=look)
    thread.start()
    with fiberaug.DataLoader(dataset, 4, num_workers=num_workers, **options) as loader:
        for number, batch in enumerate(loader):
            handed.put((number, ways[number % 4](batch["image"])))
            del batch
    handed.put(None)
    thread.join()
    assert len(seen) == 12
    for number, kept, copied in seen:
        first = 4 * number + (0, 2, 2, 3)[number % 4]
        for row, picture in enumerate(np.asarray(kept)):
            expected = photo(first + row, 120, 160)
            if number % 4 != 3:
                expected = expected.transpose(2, 0, 1)
            assert np.array_equal(picture, expected)
        assert np.array_equal(kept, copied)
