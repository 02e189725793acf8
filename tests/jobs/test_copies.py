"""Copies of a photo are found by what they look like, and other photos are not."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sets import DATA

from fiberaug.errors import SampleBroken, UsageError
from fiberaug.jobs.copies import fingerprint_of, near_copies
from fiberaug.jobs.encoding import encode_image

SEEDS = st.integers(0, 10**6)


def scene(seed):
    """A picture with the spectrum of photos: amplitudes fall as 1 / frequency."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.fft.fftfreq(150), np.fft.fftfreq(200), indexing="ij")
    wave = np.fft.fft2(rng.normal(size=(3, 150, 200))) / (np.hypot(x, y) + 0.004)
    picture = np.fft.ifft2(wave).real.transpose(1, 2, 0)
    picture += 3 * picture[:, :, 1:2]  # channels of photos go together
    return np.clip(picture / picture.std() * 50 + 128, 0, 255).astype(np.uint8)


def jpeg(pixels, quality=90):
    return encode_image(np.ascontiguousarray(pixels), "jpeg", quality=quality)


def scaled(pixels, factor):
    return cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def brightened(pixels, gamma):
    return np.round(255 * (pixels / 255.0) ** gamma).astype(np.uint8)


def watermarked(pixels):
    """Half-transparent letters over 5 percent of the image, at the lower right."""
    height, width = pixels.shape[:2]
    text, over = ("(c) A. Name", cv2.FONT_HERSHEY_SIMPLEX), pixels.copy()
    (wide, high), _ = cv2.getTextSize(*text, 1.0, 1)
    scale = (0.05 * height * width / (wide * high)) ** 0.5
    at = (int(width - scale * wide - 3), height - 5)
    cv2.putText(over, text[0], at, text[1], scale, (255, 255, 255), 1, cv2.LINE_AA)
    return cv2.addWeighted(over, 0.6, pixels, 0.4, 0)


def clusters_of(files):
    prints = [fingerprint_of(file) for file in files]
    hashes = np.array([p.hash for p in prints], np.uint64)
    return near_copies(hashes, np.stack([p.thumbnail for p in prints]))


def partition(labels):
    return {frozenset(np.flatnonzero(labels == label)) for label in np.unique(labels)}


def random_prints(rng, count):
    hashes = rng.integers(0, 2**64, count, np.uint64)
    return hashes, rng.integers(0, 256, (count, 16, 16), np.uint8)


def flipped(word, bits):
    return word ^ np.uint64(sum(1 << int(bit) for bit in bits))


def copies_and_others(pixels, quality, factor, gamma):
    copies = [jpeg(scaled(pixels, factor)), jpeg(brightened(pixels, gamma))]
    copies.append(jpeg(pixels, quality))
    others = [pixels[:, ::-1], pixels[::-1], np.rot90(pixels), np.rot90(pixels, 3)]
    others += [pixels[: len(pixels) // 2], pixels[:, : pixels.shape[1] // 2]]
    return copies, [jpeg(other) for other in others]


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(50, 95), st.floats(0.5, 2), st.floats(0.9, 1.1))
def test_copies_of_a_photo_are_found_and_its_turns_and_halves_are_not(
    seed, quality, factor, gamma
):
    photo = scene(seed)
    copies, others = copies_and_others(photo, quality, factor, gamma)
    found = clusters_of([encode_image(photo, "png"), *copies, *others])
    assert (found[: 1 + len(copies)] == 0).all()
    assert len(set(found)) == 1 + len(others)


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="FIBERAUG_DATA names no folder")
def test_copies_of_real_photos_are_found_and_others_of_their_class_are_not():
    shirts = sorted((DATA / "clothing-small/train/t-shirt").glob("*.jpg"))[:40]
    photos = [cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) for path in shirts]
    files, said = [], []
    for i, (path, pixels) in enumerate(zip(shirts, photos, strict=True)):
        copies, _ = copies_and_others(pixels, 50 + i % 46, 0.5 + i / 40, 0.9 + i / 300)
        files += [path.read_bytes(), *copies]
        said += [i] * (1 + len(copies))
    assert partition(clusters_of(files)) == partition(np.array(said))
    turned = [p.read_bytes() for p in sorted((DATA / "exif-orientation").glob("*.jpg"))]
    assert list(clusters_of(turned)) == [0] * 9 + [1] * 9
    assert share_found(photos) >= 0.85


def share_found(photos):
    """The share of watermarked copies in one cluster with their photo and no other."""
    files = [jpeg(p) for p in photos] + [jpeg(watermarked(p)) for p in photos]
    found = clusters_of(files).reshape(2, -1)
    assert len(set(found[0])) == len(photos)
    return (found[0] == found[1]).mean()


def test_most_copies_with_letters_in_a_corner_are_found():
    assert share_found([scene(seed) for seed in range(50)]) >= 0.85


@given(SEEDS)
@settings(max_examples=8, deadline=None)
def test_the_partition_does_not_depend_on_the_order_of_the_photos(seed):
    rng = np.random.default_rng(seed)
    hashes, thumbnails = random_prints(rng, 400)
    thumbnails[:150] //= rng.integers(1, 120, (150, 1, 1), np.uint8)  # flat ones too
    hashes[rng.integers(0, 400, 150)] = hashes[rng.integers(0, 20, 150)]
    hashes[200:300] = hashes[200]  # a run beyond the window
    noise = rng.integers(-20, 21, (100, 16, 16)) * rng.random((100, 1, 1))
    thumbnails[200:300] = np.clip(thumbnails[200] + noise, 0, 255)
    order = rng.permutation(400)
    moved = near_copies(hashes[order], thumbnails[order])[np.argsort(order)]
    found = near_copies(hashes, thumbnails)
    assert partition(moved) == partition(found)
    assert list(dict.fromkeys(found)) == list(range(found.max() + 1))
    assert 1 < found.max() < 399


@pytest.mark.parametrize("most_bits", [0, 3, 6, 10])
def test_planted_pairs_among_random_hashes_are_exactly_those_found(most_bits):
    rng = np.random.default_rng(most_bits)
    hashes, thumbnails = random_prints(rng, 20_000)
    places = rng.permutation(20_000)[:900].reshape(3, 300)
    for i, (a, b, beyond) in enumerate(places.T):
        apart = rng.choice(64, most_bits + 1 + i % (most_bits + 1), replace=False)
        hashes[b] = flipped(hashes[a], apart[: i % (most_bits + 1)])
        hashes[beyond] = flipped(hashes[b], apart[i % (most_bits + 1) :])
        thumbnails[[b, beyond]] = thumbnails[a]
    other = places[1, :20]  # near hashes of other pictures
    thumbnails[other] = 255 - thumbnails[other]
    found = partition(near_copies(hashes, thumbnails, most_bits=most_bits))
    pairs = {frozenset(pair) for pair in places[:2, 20:].T}
    assert {cluster for cluster in found if len(cluster) > 1} == pairs


def test_a_chain_of_copies_is_one_cluster_though_its_ends_are_apart():
    rng = np.random.default_rng(0)
    hashes, thumbnails = random_prints(rng, 300)
    for i in range(1, 60):
        hashes[i] = flipped(hashes[i - 1], rng.choice(64, 6, replace=False))
        thumbnails[i] = thumbnails[0]
    order = rng.permutation(300)
    found = near_copies(hashes[order], thumbnails[order])
    assert np.array_equal(found == found[order == 5], order < 60)


def test_flat_images_are_copies_only_where_their_levels_agree():
    flat = [np.full((60, 80), level, np.uint8) for level in (0, 1, 100, 103, 255)]
    noise = np.random.default_rng(0).integers(-3, 4, (60, 80))
    files = [encode_image(f, "png") for f in flat]
    files += [jpeg((f + noise).astype(np.uint8), 60) for f in flat[2:4]]
    step = np.repeat(np.uint8([180, 184]), 40)[None].repeat(60, 0)
    files += [encode_image(f, "png") for f in (step, step[:, ::-1].copy())]
    assert list(clusters_of(files)) == [0, 0, 1, 2, 3, 1, 2, 4, 5]


def test_a_hundred_thousand_blank_images_take_no_time_of_n_squared():
    rng = np.random.default_rng(0)
    blank = np.full((100_000, 16, 16), 240, np.uint8)
    blank[50_000:] += rng.integers(0, 2, (50_000, 16, 16), np.uint8)
    assert set(near_copies(np.zeros(100_000, np.uint64), blank)) == {0}


def test_a_fingerprint_depends_on_upright_pixels_only():
    photo = scene(1)
    first = fingerprint_of(encode_image(photo, "png"))
    again = fingerprint_of(memoryview(encode_image(photo, "png")))
    assert (first.hash, first.thumbnail.sum()) == (again.hash, again.thumbnail.sum())
    assert first.hash.bit_count() == 32  # above the median is half of them
    with pytest.raises(SampleBroken):
        fingerprint_of(b"none")


def test_shapes_and_bounds_are_checked_and_nothing_is_a_partition_too():
    hashes, thumbnails = random_prints(np.random.default_rng(0), 3)
    for changed in ({"most_bits": 17}, {"most_bits": -1}, {"most_levels": -1.0}):
        with pytest.raises(UsageError, match="most_bits"):
            near_copies(hashes, thumbnails, **changed)
    with pytest.raises(UsageError, match="thumbnails"):
        near_copies(hashes, thumbnails[:2])
    assert near_copies(hashes[:0], thumbnails[:0]).shape == (0,)
