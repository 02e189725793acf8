"""A plain set is taken where shards are, and every law of shards holds for it."""

import json
import pickle
import shutil
from io import BytesIO
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch
from conversions import streamed
from PIL import Image
from plainsets import (
    KINDS,
    assert_equal,
    indexes,
    jpeg,
    noise,
    own_cache,
    photos_in,
    put,
    voc,
)
from sets import DATA

import fiberaug
from fiberaug.jobs.plain import is_plain, resolve_any
from fiberaug.jobs.plain_looking import _whole, look_at
from fiberaug.jobs.plain_shard import HEAD, TAIL
from fiberaug.jobs.sources.finding import find_source
from fiberaug.shards.opening import open_shard
from fiberaug.shards.resolve import resolve

CROP = A.Compose([A.RandomResizedCrop((24, 24)), A.HorizontalFlip(), A.GaussNoise()])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    return own_cache(tmp_path, monkeypatch)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    return photos_in(tmp_path, monkeypatch)


def batches(source, *, epochs=2, workers=0, context=None, skip=0, **options):
    """All that a loader delivers: keys, pixels and labels, a list a batch."""
    dataset = fiberaug.StreamingDataset(str(source), **options)
    loader = fiberaug.DataLoader(
        dataset, 4, num_workers=workers, multiprocessing_context=context
    )
    found = [
        (batch["__key__"], batch["image"].numpy().tobytes(), batch["label"].tolist())
        for _ in range(epochs)
        for batch in loader
    ]
    loader.close()
    return found[skip:]


# What is delivered


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_set_has_the_samples_of_its_conversion(kind, tmp_path):
    src = KINDS[kind](tmp_path / "src")
    fiberaug.convert(src, tmp_path / "shards", source=kind, progress=False)

    plain_ones, converted = streamed(src), streamed(tmp_path / "shards")

    assert len(plain_ones) >= 10
    assert_equal(plain_ones, converted)


def test_evaluation_has_the_order_of_the_conversion_however_both_are_cut(
    photos, tmp_path
):
    fiberaug.convert(photos, tmp_path / "shards", shard_size="20kB", progress=False)
    cuts = {len(resolve_any(src).refs) for src in (photos, tmp_path / "shards")}

    assert len(cuts) == 2
    assert_equal(streamed(photos), streamed(tmp_path / "shards"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_set_has_the_index_of_its_conversion(kind, tmp_path):
    src = KINDS[kind](tmp_path / "src")
    fiberaug.convert(src, tmp_path / "shards", source=kind, progress=False)
    ours, theirs = resolve_any(src), resolve(tmp_path / "shards")
    (one,), (other,) = indexes(ours), indexes(theirs)

    names = ("label", "class_rank", "width", "height", "orientation", "boxes", "group",
             "weight", "key_offset", "keys", "members", "size")  # fmt: skip
    for name in names:
        assert one.columns[name].tolist() == other.columns[name].tolist(), name
    assert ours.manifest.classes == theirs.manifest.classes
    assert ours.manifest.counts == theirs.manifest.counts
    assert ours.manifest.fields == theirs.manifest.fields
    assert ours.manifest.about == theirs.manifest.about
    assert ours.manifest.shards[0].counts == theirs.manifest.shards[0].counts


def test_the_boxes_of_a_turned_photo_are_where_they_were_drawn(tmp_path):
    """By hand: 48x40 px stored, orientation 6 turns x, y to 40 - y, x."""
    src = voc(tmp_path / "src")

    sample = streamed(src)["JPEGImages/01"]  # stated as stored: 1, 4, 20, 30

    assert sample["image"].shape == (3, 48, 40)
    assert sample["bboxes"].tolist() == [[10, 1, 36, 20]]


def test_a_single_file_is_a_set(tmp_path):
    src = KINDS["coco"](tmp_path / "src")

    dataset = fiberaug.StreamingDataset(src / "annotations" / "a.json", train=False)

    assert len(dataset) == 10
    assert dataset.classes == ("cable", "plug")


def test_what_is_said_of_a_large_photo_is_what_a_look_at_all_of_it_says(tmp_path):
    for i in range(8):
        put(tmp_path / "src" / "abc"[i % 3] / f"{i}.jpg", noise(i, i + 1))
    source = find_source(tmp_path / "src")

    assert min(item.size for item in source.items) > HEAD + TAIL
    for item in source.items:
        assert look_at(source, item) == _whole(source, item)


def test_a_header_that_is_longer_than_what_is_read_first_is_read(tmp_path):
    """A JPEG's frame header behind 200 kB of comments; a PNG's EXIF at its end."""
    plain_one = jpeg(3, 6)
    comment = b"\xff\xfe\xff\xff" + b"x" * 65533
    put(tmp_path / "src" / "a.jpg", plain_one[:2] + 3 * comment + plain_one[2:])
    exif = Image.Exif()
    exif[0x0112] = 6
    file = BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    data = file.getvalue()
    chunk = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    import struct
    import zlib

    exif_chunk = struct.pack(">I", len(chunk) - 4) + chunk
    exif_chunk += struct.pack(">I", zlib.crc32(chunk))
    put(tmp_path / "src" / "b.png", data[:-12] + exif_chunk + data[-12:])
    assert len(data) > HEAD + TAIL

    (index,) = indexes(resolve_any(tmp_path / "src"))
    rows = [index.find("a"), index.find("b")]

    assert index.columns["width"][rows].tolist() == [40, 200]
    assert index.columns["height"][rows].tolist() == [48, 300]
    assert index.columns["orientation"][rows].tolist() == [6, 6]


# The laws of the loader


def test_order_length_and_pixels_do_not_depend_on_workers(photos):
    alone = batches(photos, transform=CROP, seed=3)

    assert len(alone) == 2 * 11
    assert batches(photos, transform=CROP, seed=3, workers=2) == alone


@pytest.mark.slow
def test_spawned_workers_deliver_the_same(photos):
    alone = batches(photos, transform=CROP, epochs=1)

    assert (
        batches(photos, transform=CROP, epochs=1, workers=2, context="spawn") == alone
    )


@pytest.mark.parametrize("position", [1, 7, 12])
def test_a_run_goes_on_where_it_was(photos, position):
    whole = batches(photos, transform=CROP)
    loader = fiberaug.DataLoader(
        fiberaug.StreamingDataset(photos, transform=CROP), 4, num_workers=1
    )
    passes = (batch for _ in range(2) for batch in loader)
    for _ in range(position):
        next(passes)
    state = loader.state_dict()
    loader.close()

    other = fiberaug.DataLoader(fiberaug.StreamingDataset(photos, transform=CROP), 4)
    other.load_state_dict(state)
    rest = [b["image"].numpy().tobytes() for b in other]
    if position < 11:
        rest += [b["image"].numpy().tobytes() for b in other]

    assert rest == [pixels for _, pixels, _ in whole[position:]]


def test_parts_by_hash_are_those_of_the_shards(photos, tmp_path):
    """A sample's part goes by its key: how it is stored changes nothing."""
    fiberaug.convert(photos, tmp_path / "shards", progress=False)
    options = {"train": False, "split": ("val", 0.3)}

    ours = {s["__key__"] for s in fiberaug.StreamingDataset(photos, **options)}
    shards = fiberaug.StreamingDataset(tmp_path / "shards", **options)
    train = fiberaug.StreamingDataset(photos, train=False, split=("train", 0.7))

    assert ours == {sample["__key__"] for sample in shards}
    assert 0 < len(ours) < 42
    assert ours.isdisjoint({sample["__key__"] for sample in train})
    assert len(ours) + len(train) == 42


def test_subsets_and_balance_go_by_the_index(photos):
    few = fiberaug.StreamingDataset(photos, train=False, subset=2)
    wide = fiberaug.StreamingDataset(photos, train=False, subset="width == 40")
    named = fiberaug.StreamingDataset(photos, train=False, subset=["c0/00", "c2/41"])
    weighted = fiberaug.StreamingDataset(
        photos, balance={"c0": 1.0, "c1": 0.0, "c2": 0}
    )

    assert sorted(int(s["label"]) for s in few) == [0, 0, 1, 1, 2, 2]
    assert {int(s["__key__"][3:]) % 8 for s in wide} == {4, 5, 6, 7}
    assert {s["__key__"] for s in named} == {"c0/00", "c2/41"}
    assert {int(s["label"]) for s in weighted} == {0}


def test_ranks_share_a_set_without_gap_or_overlap(photos):
    parts = [
        [s["__key__"] for s in fiberaug.StreamingDataset(photos, train=False, rank=r,
                                                         world_size=3)]
        for r in range(3)
    ]  # fmt: skip

    assert sorted(key for part in parts for key in part) == sorted(streamed(photos))


def test_a_plain_torch_loader_takes_it(photos):
    dataset = fiberaug.StreamingDataset(photos, transform=CROP, batch_size=4)
    theirs = torch.utils.data.DataLoader(dataset, 4, num_workers=2)

    keys = [key for batch in theirs for key in batch["__key__"]]

    assert sorted(keys) == sorted(streamed(photos))


def test_what_goes_to_workers_does_not_grow_with_the_set(tmp_path):
    def size(count):
        for i in range(count):
            put(tmp_path / "src" / f"{i:04d}.jpg", jpeg(0))
        setup = fiberaug.StreamingDataset(tmp_path / "src").setup
        return len(pickle.dumps(setup.refs))

    few, many = size(10), size(600)

    assert many - few < 50  # of a number with more digits
    assert many < 3000


def test_a_record_is_replayed_from_the_run_folder(photos, tmp_path):
    dataset = fiberaug.StreamingDataset(photos, transform=CROP, seed=9, pixel_hash=True)
    loader = fiberaug.DataLoader(dataset, 8, num_workers=1, log=tmp_path / "run")
    batch = next(iter(loader))
    loader.close()

    for i, record in enumerate(batch["record"]):
        again = fiberaug.replay(record.to_json(), tmp_path / "run")
        assert torch.equal(again["image"], batch["image"][i])
        assert again["label"] == int(batch["label"][i])
    assert batch["record"][0].url.startswith("plain-00000")


def test_the_places_of_a_run_are_the_set_again(photos):
    found = resolve_any(photos)
    places = [ref.place for ref in found.refs]

    assert len(places) == 5
    assert resolve_any(places) == found
    assert resolve_any(places[2]).refs == found.refs[2:3]


def test_a_copy_elsewhere_is_the_same_set(photos, tmp_path):
    """A state goes from one machine to the next, whose files are as new."""
    loader = fiberaug.DataLoader(fiberaug.StreamingDataset(photos, transform=CROP), 4)
    next(iter(loader))
    shutil.copytree(photos, tmp_path / "elsewhere" / "other", copy_function=shutil.copy)

    copied = fiberaug.StreamingDataset(tmp_path / "elsewhere" / "other", transform=CROP)
    other = fiberaug.DataLoader(copied, 4)
    other.load_state_dict(loader.state_dict())

    assert copied.shard_set.fingerprint == loader.dataset.shard_set.fingerprint


# What other parts build on


def test_a_shard_tells_where_its_samples_come_from(tmp_path):
    src = voc(tmp_path / "src")
    (ref,) = resolve_any(src).refs
    shard = open_shard(ref)

    assert shard.source.kind == "voc"
    numbers = set()
    for i in range(len(shard.index)):
        item, key = shard.item(i), shard.index.key(i)
        number = int(key.rpartition("/")[2])
        assert item.place == str(Path("JPEGImages") / f"{number:02d}.jpg")
        raw = shard.raw(i)
        assert raw.image == (Path(shard.source.root) / item.place).read_bytes()
        assert raw.notes["objects"][0]["bbox"] == [number, 4, 20, 30]
        assert shard.row(i).number == number  # listed in sorted order
        numbers.add(shard.row(i).number)
    assert numbers == set(range(10))


def test_shards_are_resolved_as_ever(write_set):
    shards = write_set(20)

    assert not is_plain(shards)
    assert resolve_any(shards) == resolve(shards)
    assert resolve_any(f"{shards}/*.tar") == resolve(f"{shards}/*.tar")


def test_real_photos_are_those_of_their_conversion(tmp_path):
    if not (DATA / "bccd").exists():
        pytest.skip("needs the real data")
    fiberaug.convert(DATA / "bccd", tmp_path / "shards", progress=False)

    assert_equal(streamed(DATA / "bccd"), streamed(tmp_path / "shards"))


def test_the_manifest_of_a_run_is_json(photos):
    dataset = fiberaug.StreamingDataset(photos)

    assert json.loads(json.dumps(dataset.manifest()))["shards"] == [
        str(photos / f"plain-{i:06d}.shard") for i in range(5)
    ]
