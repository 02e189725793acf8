"""Broken samples are events: replaced, masked or raised, counted and written down."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sets import cut_jpeg, photo, samples

import fiberaug
from fiberaug.engine import first_visit_of_stand_in

BROKEN = (3, 11)


@pytest.fixture
def shards(write_set):
    """Forty samples, of which two have cut JPEGs."""

    def content():
        for i, sample in enumerate(samples(40)):
            image = cut_jpeg(i) if i in BROKEN else photo(i, 120, 160)
            yield {**sample, "image": image}

    return write_set(content(), shard_size="200kB")


def run(shards, *, batch_size=8, log=None, num_workers=0, **dataset):
    loader = fiberaug.DataLoader(
        fiberaug.StreamingDataset(shards, **dataset),
        batch_size,
        log=log,
        num_workers=num_workers,
    )
    return loader, list(loader)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_broken_sample_is_replaced_and_written_down(shards, tmp_path, num_workers):
    """Batches keep their size; position and attempt decide who stands in."""
    loader, batches = run(shards, log=tmp_path / "run", num_workers=num_workers)
    rows = [r for b in batches for r in b["record"]]
    stand_ins = [r for r in rows if r.visit]
    lines = (tmp_path / "run/quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    written = [json.loads(line) for line in lines]

    assert [len(b["image"]) for b in batches] == [8] * 5
    assert not any(b["is_pad"].any() for b in batches)
    assert {w["key"] for w in written} == {f"k{i:03d}" for i in BROKEN}
    assert all(w["stage"] == "decode" and w["shard"].endswith(".tar") for w in written)
    assert len(stand_ins) == len(BROKEN)
    assert all(r.visit == first_visit_of_stand_in(r.position, 0) for r in stand_ins)
    assert loader.stats()["quarantined"] == len(BROKEN)
    assert torch.equal(
        fiberaug.replay(stand_ins[0], loader)["image"],
        next(
            b["image"][i]
            for b in batches
            for i, r in enumerate(b["record"])
            if r == stand_ins[0]
        ),
    )


def test_stand_ins_do_not_depend_on_who_makes_them(shards):
    one = [r.to_json() for b in run(shards, batch_size=7)[1] for r in b["record"]]
    other = [r.to_json() for b in run(shards, num_workers=2)[1] for r in b["record"]]

    assert one == other


def test_in_evaluation_a_broken_sample_is_a_padding_row_with_its_key(shards):
    _, batches = run(shards, train=False)
    padded = [
        k for b in batches for k, p in zip(b["__key__"], b["is_pad"], strict=True) if p
    ]
    counted = [
        k
        for b in batches
        for k, p in zip(b["__key__"], b["is_pad"], strict=True)
        if not p
    ]

    assert padded == [f"k{i:03d}" for i in BROKEN]
    assert counted == [f"k{i:03d}" for i in range(40) if i not in BROKEN]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_raise_names_shard_key_and_stage(shards, num_workers):
    with pytest.raises(fiberaug.SampleBroken, match="cannot be decoded") as caught:
        run(shards, on_error="raise", num_workers=num_workers)

    assert caught.value.key in {f"k{i:03d}" for i in BROKEN}
    assert caught.value.shard.endswith(".tar")
    assert caught.value.stage == "decode"


def test_a_function_of_the_error_chooses_the_policy(shards):
    seen = []

    def choose(error):
        seen.append(error.key)
        return "mask" if error.key == "k003" else "replace"

    _, batches = run(shards, on_error=choose)

    assert sorted(set(seen)) == ["k003", "k011"]
    assert sum(int(b["is_pad"].sum()) for b in batches) == 1


def test_more_broken_samples_than_the_budget_stop_the_run(write_set):
    def content():
        for i, sample in enumerate(samples(60)):
            yield {**sample, "image": cut_jpeg(i) if i < 12 else photo(i, 120, 160)}

    shards = write_set(content(), shard_size="1MB")
    with pytest.raises(fiberaug.BudgetExceeded, match=r"11 samples .* allows 10"):
        run(shards)
    assert len(run(shards, max_errors=0.5)[1]) == 8


def test_where_all_are_broken_the_run_stops_instead_of_an_empty_epoch(write_set):
    content = ({**s, "image": cut_jpeg(i)} for i, s in enumerate(samples(20)))
    with pytest.raises(fiberaug.SampleBroken, match="16 stand-ins"):
        run(write_set(content))


def test_a_flipped_byte_in_a_member_is_found_by_its_checksum(write_set):
    """A JPEG with a flipped bit usually decodes without an error, to other pixels."""
    shards = write_set(12)
    path = fiberaug.StreamingDataset(shards).shard_set.refs[0].path
    from fiberaug.shards.reader import ShardFile, ShardRef

    file = ShardFile(ShardRef(path=path, index=path + ".idx"))
    field = next(f for f in file.index.fields(2) if f.extension == "png")
    with Path(path).open("r+b") as tar:
        tar.seek(field.offset + field.size // 2)
        byte = tar.read(1)
        tar.seek(-1, 1)
        tar.write(bytes([byte[0] ^ 4]))

    with pytest.raises(fiberaug.SampleBroken, match="CRC-32") as caught:
        run(shards, on_error="raise", train=False)
    assert caught.value.offset == field.offset


def test_damage_to_the_shard_itself_is_raised_whatever_the_policy(write_set):
    shards = write_set(12)
    path = fiberaug.StreamingDataset(shards).shard_set.refs[0].path
    with Path(path).open("r+b") as tar:
        tar.truncate(2048)

    with pytest.raises(fiberaug.ShardDamaged, match="its index says"):
        run(shards)


def test_a_sample_without_a_required_field_is_that_samples_error(write_set):
    def content():
        for i, sample in enumerate(samples(12)):
            yield (
                sample if i != 5 else {k: v for k, v in sample.items() if k != "label"}
            )

    with pytest.raises(
        fiberaug.SampleBroken, match=r"'label' <- cls is missing.*'label\?'"
    ):
        run(write_set(content()), on_error="raise")


def test_another_visit_of_a_sample_is_another_draw(write_set):
    import albumentations as A

    dataset = fiberaug.StreamingDataset(
        write_set(8), transform=A.Compose([A.GaussNoise(p=1)]), seed=4
    )
    from fiberaug.engine import Engine

    engine = Engine(dataset.setup)
    images = [
        engine.make(0, 1, 0, 0, visit=visit).fields["image"] for visit in (0, 1, 0)
    ]

    assert not np.array_equal(images[0], images[1])
    assert np.array_equal(images[0], images[2])


def test_a_policy_that_does_not_exist_is_named(shards):
    with pytest.raises(
        fiberaug.UsageError, match=r"on_error must give one of .* 'skip'"
    ):
        run(shards, on_error=lambda _: "skip")


def test_a_broken_first_sample_does_not_hide_the_fields(write_set):
    """``auto`` looks at the first sample that can be read."""
    shards = write_set(12)
    path = fiberaug.StreamingDataset(shards).shard_set.refs[0].path
    content = bytearray(Path(path).read_bytes())
    content[content.index(b"\x89PNG") + 40] ^= 1
    Path(path).write_bytes(content)

    _, batches = run(shards)
    assert sum(len(b["label"]) for b in batches) == 12
