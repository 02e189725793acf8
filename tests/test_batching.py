"""The user's side of a batch: places, texts, tuples."""

import json

import pytest
import torch
from sets import samples

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
