"""A plain set is taken where shards are, and every law of shards holds for it."""

import json
import logging
import multiprocessing
import os
import pickle
import shutil
from io import BytesIO
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch
from conversions import streamed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from plainsets import KINDS, folder, jpeg, noise, png, put, voc, yolo
from sets import DATA, cut_jpeg, photo

import fiberaug
from fiberaug.errors import SampleBroken, StoreError, UsageError
from fiberaug.jobs import plain, plain_index
from fiberaug.jobs.plain import is_plain, resolve_any
from fiberaug.jobs.plain_looking import _whole, look_at
from fiberaug.jobs.plain_shard import HEAD, TAIL
from fiberaug.jobs.sources.finding import find_source
from fiberaug.shards.index import ShardIndex
from fiberaug.shards.opening import open_shard
from fiberaug.shards.resolve import resolve

CROP = A.Compose([A.RandomResizedCrop((24, 24)), A.HorizontalFlip(), A.GaussNoise()])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of this test's own, and a process in which nothing was said so far."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plain._told.clear()
    return tmp_path / "cache" / "fiberaug" / "fiberaug-1" / "plain"


def assert_equal(one, other):
    """The same samples: keys in the same order, fields bit by bit."""
    assert list(one) == list(other)
    for key, sample in one.items():
        assert sample.keys() == other[key].keys()
        for name in sample.keys() - {"__url__", "record"}:
            left, right = sample[name], other[key][name]
            assert type(left) is type(right), (key, name)
            if hasattr(left, "dtype"):
                assert left.dtype == right.dtype, (key, name)
                assert np.array_equal(np.asarray(left), np.asarray(right)), (key, name)
            else:
                assert left == right, (key, name)


def indexes(found):
    return [ShardIndex.open(Path(ref.index), shard=ref.name) for ref in found.refs]


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
        put(tmp_path / "src" / "a" / f"{i}.jpg", noise(i, i + 1))
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


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of 42 photos in several virtual shards."""
    monkeypatch.setattr(plain_index, "SAMPLES", 10)
    for i in range(42):
        put(tmp_path / "src" / f"c{i % 3}" / f"{i:02d}.jpg", jpeg(i, i % 8 + 1))
    return tmp_path / "src"


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


# Indexed once


def files_of(cache):
    """Which files an index is: another one has others, or of another time."""
    return {
        (path.relative_to(cache), path.stat().st_ino, path.stat().st_mtime_ns)
        for path in cache.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_is_indexed_once(kind, tmp_path, cache):
    src = KINDS[kind](tmp_path / "src")
    first = resolve_any(src)
    made = files_of(cache)

    assert resolve_any(src) == first
    assert files_of(cache) == made


def side_file(kind, src):
    """A file that the reader reads beside the photo, and other content for it."""
    nines = png(np.full((40, 48), 9, np.uint8))
    return {
        "voc": (src / "SegmentationClass" / "03.png", nines),
        "yolo": (src / "labels" / "03.txt", "0 0.5 0.5 0.25 0.99\n"),
        "masks": (src / "masks" / "03.png", png(np.full((40, 48), 255, np.uint8))),
        "csv": (src / "masks" / "03.png", nines),
    }[kind]  # fmt: skip


@pytest.mark.parametrize("kind", ["voc", "yolo", "masks", "csv"])
def test_another_annotation_is_another_set(kind, tmp_path):
    src = KINDS[kind](tmp_path / "src")
    path, content = side_file(kind, src)
    before = streamed(src)
    first = resolve_any(src)
    put(path, content)

    assert resolve_any(src).fingerprint != first.fingerprint
    after = streamed(src)
    (key,) = (key for key in before if key.endswith("03"))
    name = "bboxes" if kind == "yolo" else "mask"
    assert not np.array_equal(after[key][name], before[key][name])


def test_another_photo_of_the_same_size_is_another_set(tmp_path):
    """Bitmaps have one size whatever they show, so only their bytes tell."""
    first = cv2_bmp(photo(1))
    path = put(tmp_path / "src" / "a.bmp", first)
    one = resolve_any(tmp_path / "src")
    second = cv2_bmp(photo(2))
    assert len(second) == len(first)
    put(path, second)
    os.utime(path, ns=(1, 1))

    other = resolve_any(tmp_path / "src")

    assert other.fingerprint != one.fingerprint
    assert np.array_equal(streamed(tmp_path / "src")["a"]["image"],
                          photo(2).transpose(2, 0, 1))  # fmt: skip


def cv2_bmp(pixels):
    file = BytesIO()
    Image.fromarray(pixels).save(file, "BMP")
    return file.getvalue()


def test_the_index_lies_where_index_dir_says(tmp_path, cache):
    src = folder(tmp_path / "src")

    found = resolve_any(src, index_dir=tmp_path / "indexes")

    assert not cache.exists()
    assert Path(found.refs[0].index).is_relative_to(tmp_path / "indexes")
    dataset = fiberaug.StreamingDataset(src, index_dir=tmp_path / "indexes")
    assert dataset.shard_set == found


def test_an_indexing_that_was_stopped_goes_on(photos, cache, monkeypatch):
    """Shards that were indexed are not looked at again, and the index is the same."""
    expected = [index.to_bytes() for index in indexes(resolve_any(photos))]
    shutil.rmtree(cache)
    source = find_source(photos)
    last = int(source.items.shuffled(0)[-1])
    looked = []

    def stopped(one, item):
        looked.append(item.key)
        if len(looked) <= 42 and item.key == source.items[last].key:
            raise KeyboardInterrupt
        return look_at(one, item)

    monkeypatch.setattr(plain_index, "look_at", stopped)
    with pytest.raises(KeyboardInterrupt):
        resolve_any(photos)
    (part,) = cache.glob(".plain-*.part")
    kept = {row[1:] for row in files_of(part)}
    assert len(kept) == 2 * 4  # of 5 shards the last is missing
    del looked[:-42]
    looked += [""] * 42  # from now on nothing stops

    again = resolve_any(photos)

    assert [index.to_bytes() for index in indexes(again)] == expected
    assert kept <= {row[1:] for row in files_of(cache)}
    assert len([key for key in looked if key]) == 42 + 2
    assert not part.exists()


def open_in_turn(src, results):
    results.put(resolve_any(src).fingerprint)


def test_processes_that_open_a_set_at_once_make_one_index(photos, cache):
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    others = [
        context.Process(target=open_in_turn, args=(photos, results)) for _ in range(4)
    ]
    for other in others:
        other.start()
    found = {results.get() for _ in others}
    for other in others:
        other.join(30)

    assert found == {resolve_any(photos).fingerprint}
    assert len(list(cache.glob("plain-*"))) == 1
    assert not list(cache.glob("*.part"))


def test_a_damaged_index_is_said_and_can_be_made_again(photos, cache):
    found = resolve_any(photos)
    rows = Path(found.refs[0].index).with_suffix(".rows")
    data = bytearray(rows.read_bytes())
    data[100] ^= 1
    rows.write_bytes(data)

    with pytest.raises(fiberaug.errors.ShardDamaged, match="delet") as caught:
        open_shard(found.refs[0])
    assert str(cache) in caught.value.message

    rows.unlink()  # one of its files is enough
    assert len(streamed(photos)) == 42


# What is wrong with a set


def raised(source, **options):
    return list(fiberaug.StreamingDataset(source, on_error="raise", **options))


def change(path, content):
    put(path, content)
    os.utime(path, ns=(7, 7))


@pytest.mark.parametrize(
    "what",
    ["other pixels", "same bytes, another time", "other label", "gone", "a mask"],
)
def test_a_file_that_changes_after_indexing_is_never_silent(what, tmp_path):
    src = voc(tmp_path / "src") if what == "a mask" else yolo(tmp_path / "src")
    dataset = fiberaug.StreamingDataset(src, train=False, on_error="raise")
    image = src / "images" / "03.jpg"
    if what == "other pixels":
        change(image, jpeg(99))
    elif what == "same bytes, another time":
        change(image, image.read_bytes())
    elif what == "other label":
        change(src / "labels" / "03.txt", "1 0.5 0.5 0.25 0.05\n")
    elif what == "a mask":
        change(src / "SegmentationClass" / "03.png", png(np.zeros((40, 48), np.uint8)))
    else:
        image.unlink()

    with pytest.raises(SampleBroken, match=r"changed after|No such file") as caught:
        list(dataset)

    assert caught.value.key.endswith("03")
    assert caught.value.shard == "plain-000000.shard"
    assert caught.value.stage == "read"


def test_a_photo_that_changes_is_another_set_when_it_is_opened_again(tmp_path):
    src = yolo(tmp_path / "src")
    first = fiberaug.StreamingDataset(src, train=False)
    change(src / "images" / "03.jpg", jpeg(99))
    second = fiberaug.StreamingDataset(src, train=False)

    assert len(list(second)) == 11
    assert second.shard_set.fingerprint != first.shard_set.fingerprint


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.integers(0, HEAD - 1) | st.integers(1, TAIL).map(lambda n: -n),
    bit=st.integers(0, 7),
)
def test_no_flipped_bit_of_what_is_indexed_is_silent(tmp_path_factory, at, bit):
    """Also where size and time of the file stay."""
    root = tmp_path_factory.mktemp("flip")
    data = bytearray(noise(1, 6))
    path = put(root / "a.jpg", bytes(data))
    found = resolve_any(root, index_dir=root / ".index")
    status = path.stat()
    data[at] ^= 1 << bit
    put(path, bytes(data))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    with pytest.raises(SampleBroken):
        open_shard(found.refs[0]).read(0)


def test_a_broken_photo_is_an_event_as_in_shards(tmp_path):
    src = folder(tmp_path / "src")
    put(src / "c0" / "cut.jpg", cut_jpeg(1))
    put(src / "c0" / "text.jpg", "no image")
    evaluation = fiberaug.StreamingDataset(src, train=False)

    rows = list(evaluation)
    masked = {row["__key__"] for row in rows if row["is_pad"]}

    assert len(rows) == 16
    assert masked == {"c0/cut", "c0/text"}
    loader = fiberaug.DataLoader(fiberaug.StreamingDataset(src, transform=CROP), 16)
    (batch,) = loader
    assert not {"c0/cut", "c0/text"} & set(batch["__key__"])
    assert loader.stats()["quarantined"] == 2


def test_a_broken_photo_is_named_in_the_line(tmp_path, caplog):
    src = folder(tmp_path / "src")
    put(src / "c0" / "text.jpg", "no image")

    resolve_any(src)

    assert "1 cannot be read, the first c0/text.jpg" in caplog.text


def test_a_set_that_is_gone_is_said(photos):
    dataset = fiberaug.StreamingDataset(photos, train=False)
    photos.rename(photos.with_name("moved"))

    with pytest.raises(StoreError, match="src is gone"):
        list(dataset)
    with pytest.raises(StoreError, match="is gone, or was moved"):
        resolve_any([ref.place for ref in dataset.shard_set.refs])


def test_an_unknown_frame_is_asked_for_before_anything_is_delivered(tmp_path):
    src = yolo(tmp_path / "src")
    put(src / "images" / "half.jpg", jpeg(5, 3))
    put(src / "labels" / "half.txt", "0 0.25 0.25 0.5 0.5\n")

    with pytest.raises(UsageError, match="--annotation-frame stored") as caught:
        fiberaug.StreamingDataset(src)

    assert str(src / "images" / "half.jpg") in caught.value.message


def test_links_that_leave_a_folder_are_passed_over_and_said(tmp_path, caplog):
    src = folder(tmp_path / "src")
    outside = put(tmp_path / "secret.jpg", jpeg(1))
    (src / "c0" / "link.jpg").symlink_to(outside)

    assert len(fiberaug.StreamingDataset(src)) == 14
    assert "passed over: 1 link out of it" in caplog.text


def test_a_link_that_leads_out_later_is_no_sample(tmp_path):
    src = folder(tmp_path / "src")
    dataset = fiberaug.StreamingDataset(src, train=False, on_error="raise")
    outside = put(tmp_path / "secret.jpg", jpeg(70))
    (src / "c0" / "img.00.jpg").unlink()
    (src / "c0" / "img.00.jpg").symlink_to(outside)

    with pytest.raises(SampleBroken, match="changed after"):
        list(dataset)


@pytest.mark.parametrize("content", [{}, {"notes.txt": b"a"}, {"x/.hidden.jpg": b""}])
def test_a_folder_without_an_image_is_a_users_mistake(content, tmp_path):
    (tmp_path / "src").mkdir()
    for name, data in content.items():
        put(tmp_path / "src" / name, data)

    with pytest.raises(UsageError, match=r"no \.tar file and no image \(avif.*convert"):
        fiberaug.StreamingDataset(tmp_path / "src")


def test_a_set_that_can_be_understood_in_two_ways_is_a_users_mistake(tmp_path):
    src = KINDS["voc"](KINDS["coco"](tmp_path / "src"))

    with pytest.raises(UsageError, match=r"coco and as voc.*fiberaug convert"):
        fiberaug.StreamingDataset(src)


@pytest.mark.parametrize("made", [".converting.json", "dataset.json", "a.tar"])
def test_a_folder_of_shards_is_never_taken_for_photos(made, tmp_path):
    src = folder(tmp_path / "src")
    put(src / made, "{}")

    assert not is_plain(src)


def test_a_cache_that_cannot_be_made_is_said(tmp_path):
    src = folder(tmp_path / "src")
    put(tmp_path / "file", "")

    with pytest.raises(StoreError, match="cache_dir"):
        fiberaug.StreamingDataset(src, cache_dir=tmp_path / "file" / "cache")
    with pytest.raises(StoreError, match="index_dir"):
        fiberaug.StreamingDataset(src, index_dir=tmp_path / "file" / "indexes")


# What is said


def test_one_line_says_what_was_found_and_what_shards_would_gain(tmp_path, caplog):
    src = folder(tmp_path / "my photos")

    for _ in range(3):
        fiberaug.StreamingDataset(src)

    (line,) = [r for r in caplog.records if r.name == "fiberaug"]
    assert line.levelno == logging.WARNING
    text = line.getMessage()
    assert f"{src}: plain folder, 14 images in 3 class folders" in text
    assert f"fiberaug convert '{src}' DST" in text
    assert "sequential reads" in text
    assert "checksum" in text


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
