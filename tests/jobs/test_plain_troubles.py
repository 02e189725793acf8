"""Whatever is wrong with a plain set is said, and one line what shards would gain."""

import logging
import os

import albumentations as A
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plainsets import (
    KINDS,
    folder,
    jpeg,
    noise,
    own_cache,
    photos_in,
    png,
    put,
    voc,
    yolo,
)
from sets import cut_jpeg

import fiberaug
from fiberaug.errors import SampleBroken, StoreError, UsageError
from fiberaug.jobs.plain import is_plain, resolve_any
from fiberaug.jobs.plain_shard import HEAD, TAIL
from fiberaug.shards.opening import open_shard

CROP = A.Compose([A.RandomResizedCrop((24, 24)), A.HorizontalFlip(), A.GaussNoise()])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    return own_cache(tmp_path, monkeypatch)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    return photos_in(tmp_path, monkeypatch)


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


def test_a_photo_that_is_turned_after_indexing_is_its_samples_error(tmp_path):
    """Nothing tells now what its labels are for: that is no mistake of the caller."""
    src = yolo(tmp_path / "src")
    dataset = fiberaug.StreamingDataset(src, train=False)
    change(src / "images" / "03.jpg", jpeg(3, 6))

    rows = list(dataset)

    assert [r["__key__"][-2:] for r in rows if r["is_pad"]] == ["03"]


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


def test_a_file_of_that_name_is_that_file(tmp_path):
    src = folder(tmp_path / "src")
    path = put(src / "plain-000000.shard", "")

    assert not is_plain(path)
    assert is_plain(src / "plain-000001.shard")


def test_a_cache_that_cannot_be_made_is_said(tmp_path):
    src = folder(tmp_path / "src")
    put(tmp_path / "file", "")

    with pytest.raises(StoreError, match="cache_dir"):
        fiberaug.StreamingDataset(src, cache_dir=tmp_path / "file" / "cache")
    with pytest.raises(StoreError, match="index_dir"):
        fiberaug.StreamingDataset(src, index_dir=tmp_path / "file" / "indexes")


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
