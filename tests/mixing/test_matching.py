"""What tells mixed-in images from real ones is gone where matching is asked for."""

import io

import cv2
import numpy as np
import pytest
import torch
from mixsets import delivered, opened, rows
from PIL import Image

import fiberaug
from fiberaug import Mix
from fiberaug.errors import UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.matching import Kind, Matcher, jpeg_quality, kind_of


def smooth(i, size):
    """A picture of waves and a little grain: JPEG leaves its squares in it."""
    rng = np.random.default_rng(i)
    y, x = np.mgrid[:size, :size] / size
    waves = [
        np.sin(rng.uniform(3, 9) * x + rng.uniform(3, 9) * y + c) for c in range(3)
    ]
    image = 128 + 80 * np.stack(waves, axis=2) + rng.normal(0, 12, (size, size, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def squares(image):
    """How much more neighbours differ across the borders of 8 x 8 squares: about 1."""
    image = np.asarray(image, np.float64)
    steps = np.abs(np.diff(image, axis=1)).mean(axis=(0, 2))
    across = np.arange(1, len(steps) + 1) % 8 == 0
    return steps[across].mean() / steps[~across].mean()


@pytest.fixture
def write(tmp_path):
    """A function (name, count, size, quality) that writes pictures; None: PNG."""

    def written(name, count, size, quality=None, seed=0, larger=0):
        prefix = name[0]
        with fiberaug.ShardWriter(tmp_path / name, shard_size="200kB") as writer:
            for i in range(count):
                image, extension = (
                    smooth(seed + i, size * (2 if i >= count - larger else 1)),
                    "png",
                )
                if quality is not None:
                    image, extension = (
                        encode_image(image, "jpeg", quality=quality),
                        "jpg",
                    )
                writer.write(
                    {"__key__": f"{prefix}{i:02}", extension: image, "cls": "0"}
                    if quality is not None
                    else {"__key__": f"{prefix}{i:02}", "image": image, "label": 0}
                )
        return str(tmp_path / name)

    return written


def images(dataset):
    """Return the images of one epoch by origin and key."""
    found = {}
    for sample in dataset:
        found[sample["__source__"], sample["__key__"]] = np.asarray(sample["image"])
    return found


@pytest.mark.parametrize("quality", [4, 10, 23, 25, 49, 50, 51, 75, 90, 95, 100])
@pytest.mark.parametrize("library", ["ours", "opencv", "pillow"])
def test_the_quality_of_a_jpeg_is_read_from_its_tables(quality, library):
    image, stream = smooth(1, 64), io.BytesIO()
    if library == "pillow":
        Image.fromarray(image).save(stream, "jpeg", quality=quality)
        data = stream.getvalue()
    elif library == "opencv":
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        data = cv2.imencode(".jpg", image, options)[1].tobytes()
    else:
        data = encode_image(image, "jpeg", quality=quality)
    assert abs(jpeg_quality(data) - quality) <= 1


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xdb\0\x43\x10" + bytes(99)]
)
def test_a_jpeg_without_tables_of_8_bits_counts_as_90(data):
    assert jpeg_quality(data) == 90


def test_a_set_is_known_by_its_median_size_and_the_codec_of_its_first_image(write):
    for place, kind in (
        (write("mixed", 5, 64, 60, larger=2), Kind(64, "jpeg", 60)),
        (write("pool", 5, 32), Kind(32, "png", 0)),
    ):
        refs = fiberaug.StreamingDataset(place).shard_set.refs
        assert kind_of(refs, None) == kind


def test_pool_images_become_as_large_and_as_coded_as_real_ones(write):
    real, pool = write("real", 20, 64, 40), write("pool", 20, 32, seed=50)
    plain = images(opened(real, Mix(pool, 0.5), transform=None))
    alike = images(opened(real, Mix(pool, 0.5, match="real"), transform=None))
    assert plain.keys() == alike.keys()
    marks = {"real": [], "synthetic": []}
    for (origin, key), image in alike.items():
        assert image.shape == (3, 64, 64)
        picture = image.transpose(1, 2, 0)
        marks[origin].append(squares(picture))
        before = plain[origin, key].transpose(1, 2, 0)
        if origin == "real":
            assert np.array_equal(picture, before)
            continue
        assert before.shape == (32, 32, 3)
        large = cv2.resize(before, (64, 64), interpolation=cv2.INTER_CUBIC)
        options = [cv2.IMWRITE_JPEG_QUALITY, 40]
        coded = cv2.imencode(".jpg", large[:, :, ::-1], options)[1]
        expected = cv2.imdecode(coded, cv2.IMREAD_COLOR)[:, :, ::-1]
        assert np.abs(picture.astype(int) - expected).mean() < 1.5
        assert squares(picture) > squares(large) + 0.1
    assert len(marks["synthetic"]) == 10
    assert np.mean(marks["synthetic"]) > 1.1
    assert np.mean(marks["real"]) > 1.1


def test_real_images_shrink_and_are_coded_as_those_of_the_pool(write):
    real, pool = write("real", 20, 64), write("pool", 20, 32, 30, seed=50)
    plain = images(opened(real, Mix(pool, 0.5), transform=None))
    alike = images(opened(real, Mix(pool, 0.5, match="pool"), transform=None))
    for (origin, key), image in alike.items():
        assert image.shape == (3, 32, 32)
        picture = image.transpose(1, 2, 0)
        before = plain[origin, key].transpose(1, 2, 0)
        if origin != "real":
            assert np.array_equal(picture, before)
            continue
        small = cv2.resize(before, (32, 32), interpolation=cv2.INTER_AREA)
        options = [cv2.IMWRITE_JPEG_QUALITY, 30]
        coded = cv2.imencode(".jpg", small[:, :, ::-1], options)[1]
        expected = cv2.imdecode(coded, cv2.IMREAD_COLOR)[:, :, ::-1]
        assert np.abs(picture.astype(int) - expected).mean() < 1.5


def test_real_images_are_never_enlarged(write):
    real, pool = write("real", 20, 32), write("pool", 20, 64)
    alike = images(opened(real, Mix(pool, 0.5, match="pool"), transform=None))
    shapes = {(origin, image.shape[-1]) for (origin, _), image in alike.items()}
    assert shapes == {("real", 32), ("synthetic", 64)}


@pytest.mark.parametrize("match", ["pool", "real"])
def test_matched_images_are_the_same_in_any_worker_and_replayed(write, match, tmp_path):
    real, pool = write("real", 20, 48, 80), write("pool", 20, 32, seed=50)
    found = []
    for workers in (0, 2):
        dataset = opened(real, Mix(pool, 0.5, match=match))
        log = tmp_path / f"run-{workers}"
        with fiberaug.DataLoader(dataset, 5, num_workers=workers, log=log) as loader:
            batches = list(loader)
        found.append(delivered(batches))
        for source in (loader, log):
            for i, record in enumerate(batches[1]["record"]):
                again = fiberaug.replay(record, source)["image"]
                assert torch.equal(again, batches[1]["image"][i])
    assert found[0] == found[1]


def test_matching_is_part_of_what_names_a_mix(write):
    real, pool = write("real", 20, 48, 80), write("pool", 20, 32)
    found = [opened(real, Mix(pool, 0.5, match=m)) for m in (None, "pool", "real")]
    assert len({dataset.plan.mix for dataset in found}) == 3
    assert [d.manifest()["mix"]["match"] for d in found] == [None, "pool", "real"]


@pytest.mark.parametrize("match", ["pool", "real"])
@pytest.mark.parametrize(
    "extra",
    [{"bboxes": lambda i: np.array([[1, 1, 9, 9.0]]), "bbox_labels": lambda i: [1]},
     {"mask": lambda i: np.zeros((12, 12), np.uint8)}],
    ids=["boxes", "mask"],
)  # fmt: skip
def test_matching_is_refused_where_annotations_lie_in_pixels(write_set, match, extra):
    real = write_set(rows(9, **extra), name="real")
    pool = write_set(rows(9, prefix="g", **extra), name="pool")
    assert opened(real, Mix(pool)).mixture is not None
    with pytest.raises(UsageError, match=f"match='{match}' resizes images"):
        opened(real, Mix(pool, match=match))


@pytest.mark.parametrize("codec", ["jpeg", "webp", "png"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_matcher_keeps_channels_and_leaves_other_depths_alone(codec, channels):
    matcher = Matcher("real", Kind(16, codec, 80))
    image = np.full((32, 64, channels), 99, np.uint8)
    made = matcher(image, real=False)
    assert made.shape == (11, 23, channels)  # 16 x 16 px in the same shape
    assert made.dtype == np.uint8
    assert np.abs(made.astype(int) - 99).max() <= 2
    assert matcher(image, real=True) is image
    deep = image.astype(np.uint16)
    assert matcher(deep, real=False) is deep
