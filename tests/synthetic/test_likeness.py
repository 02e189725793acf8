"""Laws of likeness: copies of training samples are found, and nothing else."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sets import photo

import fiberaug
from fiberaug.errors import UsageError
from fiberaug.jobs.copies import fingerprint_of, near_copies
from fiberaug.jobs.encoding import encode_image
from fiberaug.synthetic.likeness import look_at
from fiberaug.synthetic.truth import pixels_sha256


def asked(image):
    return pixels_sha256(image), fingerprint_of(encode_image(image, "png"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A set in two parts, flat and faint images among them."""
    place = tmp_path_factory.mktemp("likeness")
    images = [photo(i) for i in range(20)]
    images += [np.full((40, 48, 3), level, np.uint8) for level in (10, 200)]
    images += [np.uint8(images[0] * 0.03 + 100), np.uint8(images[1] * 0.05 + 90)]
    spread = fingerprint_of(encode_image(photo(30), "png")).thumbnail.std()
    images.append(np.uint8(photo(30) * (2.9 / spread) + 100))
    (place / "photos").mkdir()
    for i, image in enumerate(images):
        (place / "photos" / f"k{i:02d}.png").write_bytes(encode_image(image, "png"))
    fiberaug.convert(
        place / "photos", place / "set", split="train=0.7,val=0.3", workers=1,
        near_copies="ignore", progress=False,
    )  # fmt: skip
    return str(place / "set"), images


@pytest.fixture(scope="module")
def known(folder):
    return look_at(folder[0]), folder[1]


def test_every_training_sample_is_a_copy_of_itself(known):
    likeness, images = known
    for i, image in enumerate(images):
        found = likeness.find(*asked(image))
        assert found is not None
        assert (found.how, found.key) == ("copy", f"k{i:02d}")
        assert found.shard.startswith(found.split)
        assert found.split in {"train", "val"}


@pytest.mark.parametrize("processes", [1, 2])
def test_processes_change_nothing(folder, known, processes):
    likeness = look_at(folder[0], processes=processes)

    assert likeness.names == known[0].names
    assert likeness.pixels == known[0].pixels
    assert np.array_equal(likeness.hashes, known[0].hashes)


def alike(likeness, looks, keys=None):
    """Keys of the samples that a conversion holds for near-copies of an image."""
    found = set()
    for row, (key, _, _) in enumerate(likeness.names):
        if keys is not None and key not in keys:
            continue
        hashes = np.array([likeness.hashes[row], looks.hash], np.uint64)
        cells = np.stack([likeness.thumbnails[row].reshape(16, 16), looks.thumbnail])
        if near_copies(hashes, cells).max() == 0:
            found.add(key)
    return found


NEAR = {"k04", "k20", "k21", "k22", "k23", "k24"}  # the others are far off


def slope(strength):
    """A photo that is lighter to the right."""
    return photo(4) * 0.6 + strength * np.linspace(0, 1, 48)[None, :, None]


def faded(strength):
    """A photo with little contrast."""
    return photo(4) * strength / 400 + 100


def risen(strength):
    """A photo of which only a version almost without contrast is known."""
    return photo(30) * strength / 400 + 100


@pytest.mark.parametrize("change", [slope, faded, risen])
def test_the_bounds_are_those_of_a_conversion(known, change):
    likeness, _ = known
    both = set()
    for strength in np.linspace(1, 60, 119):
        image = change(strength).round().astype(np.uint8)
        looks = fingerprint_of(encode_image(image, "png"))
        found = likeness.find("none", looks)
        like = alike(likeness, looks, NEAR)
        assert (found.key in like) if found else not like, strength
        both.add(found is None)
    assert both == {True, False}


@given(
    number=st.integers(0, 24), other=st.integers(100, 10_000),
    noise=st.sampled_from([0, 2, 6, 15, 60]), gain=st.sampled_from([1, 0.9, 0.6, 0.05]),
    quality=st.sampled_from([None, 30, 90]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_near_copies_are_those_of_a_conversion(
    known, number, other, noise, gain, quality
):
    """One rule: what a conversion keeps together, a pool refuses."""
    likeness, images = known
    rng = np.random.default_rng(other)
    base = images[number] if other % 3 else photo(other)
    image = (base * gain + rng.normal(0, noise + 0.001, base.shape)).clip(0, 255)
    image = image.astype(np.uint8)
    if quality is not None:
        coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    found = likeness.find(*asked(image))
    looks = fingerprint_of(encode_image(image, "png"))

    like = alike(likeness, looks)
    if found is None:
        assert not like
    elif found.how == "near_copy":
        assert found.key in like


def test_gray_and_colour_of_the_same_pixels_are_copies(tmp_path, write_set):
    gray = photo(3)[:, :, :1]
    likeness = look_at(write_set([{"__key__": "k", "image": gray[:, :, 0]}]))
    found = likeness.find(*asked(gray.repeat(3, axis=2)))

    assert found is not None
    assert found.how == "copy"


def test_broken_samples_are_counted(tmp_path, write_set):
    samples = [
        {"__key__": "a", "image": photo(1)},
        {"__key__": "b", "jpg": encode_image(photo(2, 120, 160), "jpeg")[:-900]},
    ]
    likeness = look_at(write_set(samples))

    assert (len(likeness.names), likeness.broken) == (1, 1)


def test_a_set_without_images_is_refused(write_set):
    with pytest.raises(UsageError, match="no image of"):
        look_at(write_set([{"__key__": "a", "txt": b"word"}]))
