"""Pictures that were there before are found by their pixels and by their looks."""

import io

import numpy as np
import pytest
from PIL import Image
from sets import photo

from fiberaug.errors import UsageError
from fiberaug.evaluate import equal_pixels, look_alikes
from fiberaug.jobs.encoding import encode_image

TRAIN = [photo(i, 64, 96) for i in range(30)]
OTHERS = [photo(100 + i, 64, 96) for i in range(30)]


def jpeg(image):
    return np.asarray(Image.open(io.BytesIO(encode_image(image, "jpeg"))))


def test_equal_pixels_are_found_with_their_parent():
    found = equal_pixels([OTHERS[0], TRAIN[7], OTHERS[1], TRAIN[2].copy()], TRAIN)

    assert found.indices.tolist() == [1, 3]
    assert found.parents.tolist() == [7, 2]
    assert found.distances.tolist() == [0, 0]
    assert (found.share, len(found), found.threshold) == (0.5, 2, 0)


def test_one_level_of_one_pixel_is_not_equal_but_looks_alike():
    changed = TRAIN[3].copy()
    changed[5, 5, 1] ^= 1

    assert len(equal_pixels([changed], TRAIN)) == 0
    assert look_alikes([changed], TRAIN).parents.tolist() == [3]


def test_the_same_bytes_in_another_shape_are_another_image():
    flat = np.arange(48, dtype=np.uint8)

    assert len(equal_pixels([flat.reshape(6, 8)], [flat.reshape(8, 6)])) == 0
    assert len(equal_pixels([flat.reshape(6, 8, 1)], [flat.reshape(6, 8)])) == 1
    assert len(equal_pixels([flat.reshape(4, 4, 3)], [flat.reshape(6, 8)])) == 0


def test_arrays_and_lists_are_the_same_set():
    whole = np.stack(TRAIN)

    assert equal_pixels(whole, TRAIN).parents.tolist() == list(range(30))
    assert equal_pixels(whole[:, :, :, 0], whole[:, :, :, 0]).share == 1


@pytest.mark.parametrize(
    "change",
    [
        jpeg,
        lambda image: np.asarray(Image.fromarray(image).resize((60, 40))),
        lambda image: (image * 0.95 + 6).astype(np.uint8),
    ],
    ids=["codec", "size", "light"],
)
def test_look_alikes_are_found_behind_codec_size_and_light(change):
    found = look_alikes([*OTHERS[:3], *map(change, TRAIN[:5])], TRAIN)

    assert found.indices.tolist() == [3, 4, 5, 6, 7]
    assert found.parents.tolist() == [0, 1, 2, 3, 4]
    assert (found.distances <= 6).all()
    assert found.share == 5 / 8


@pytest.mark.parametrize("shape", [(1, 9, 3), (9, 1, 1), (1, 1, 3), (30, 1, 3)])
def test_lines_and_points_are_images_too(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    assert look_alikes([image], [photo(1), image]).parents.tolist() == [1]


def test_other_pictures_do_not_look_alike():
    assert look_alikes(OTHERS, TRAIN).share == 0


def test_the_parent_is_the_training_image_that_is_nearest():
    """Of two training images in one cluster, in either order."""
    pairs = [(image, (image * 0.95 + 6).astype(np.uint8)) for image in TRAIN]
    found = [look_alikes([image], [other]).distances for image, other in pairs]
    image, other = next(
        pair for pair, bits in zip(pairs, found, strict=True) if bits.sum() > 0
    )

    for train, parent in (([other, image], 1), ([image, other], 0)):
        copies = look_alikes([image], train)
        assert (copies.parents.tolist(), copies.distances.tolist()) == ([parent], [0])


@pytest.mark.parametrize("function", [equal_pixels, look_alikes])
@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([], "train has no images"),
        ([TRAIN[0], np.float32(TRAIN[1])], r"number 1 is float32 \[64, 96, 3\]"),
        ([np.zeros((4, 4, 4), np.uint8)], r"number 0 is uint8 \[4, 4, 4\]"),
        ([np.zeros((0, 4), np.uint8)], r"number 0 is uint8 \[0, 4\]"),
        (["a.png"], r"number 0 is str \[\]"),
        (7, r"number 0 is int \[\]"),
    ],
)
def test_what_is_no_image_is_refused(function, images, words):
    with pytest.raises(UsageError, match=words):
        function(TRAIN, images)
