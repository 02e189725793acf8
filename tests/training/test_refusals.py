"""What is refused before hours are spent, and what is warned of."""

import numpy as np
import pytest
from feeds import stamped

from fiberaug.errors import DataRefused, UsageError
from fiberaug.training.feeding import open_source
from fiberaug.training.refusals import Request, check_looks, check_request

NAMES = ("crack", "dust", "scratch")


def warned(**options) -> str:
    """All warnings of a request that is sound but for what is given."""
    sound = {
        "size": (64, 64), "photos": 3_000, "classes": NAMES,
        "counts": (1_000, 1_000, 1_000),
    }  # fmt: skip
    return "\n".join(check_request(Request(**sound | options)))


def test_a_sound_request_is_not_warned_of() -> None:
    assert warned() == ""
    assert warned(classes=(), counts=()) == ""


@pytest.mark.parametrize("photos", [0, 1])
def test_fewer_than_two_photos_are_refused(photos) -> None:
    with pytest.raises(DataRefused, match=f"{photos} to train on; give at least 2"):
        warned(photos=photos)


def test_photos_of_a_camera_as_a_whole_are_refused_with_ways_that_work() -> None:
    with pytest.raises(UsageError) as refused:
        warned(size=(3024, 4032))
    said = str(refused.value)
    for word in ("3024x4032", "3,000 photos", "36.6 million", "--windows",
                 "--size 96x128", "image-to-image"):  # fmt: skip
        assert word in said


def test_huge_windows_are_refused_too_and_windows_are_no_way_out() -> None:
    with pytest.raises(UsageError) as refused:
        warned(size=(2048, 2048), windows=True)
    assert "--windows" not in str(refused.value)
    assert "--size 128x128" in str(refused.value)


def test_large_whole_photos_need_many() -> None:
    assert "10,000" in warned(size=(384, 512))
    assert warned(size=(384, 512), photos=10_000) == ""
    assert warned(size=(384, 512), windows=True) == ""
    assert warned(size=(256, 256)) == ""


def test_a_class_of_few_photos_is_warned_of_with_the_evidence() -> None:
    said = warned(counts=(1_000, 49, 3))
    for word in ("2 of 3 classes", "dust 49, scratch 3", "2603.16134", "20.7 %",
                 "Better:"):  # fmt: skip
        assert word in said
    assert warned(counts=(50, 50, 50)) == ""


def test_few_photos_without_classes_are_warned_of() -> None:
    assert "below 50" in warned(photos=49, classes=(), counts=())


def test_many_small_classes_are_named_in_part() -> None:
    names = tuple(f"c{i}" for i in range(9))
    said = warned(classes=names, counts=[5] * 9)
    assert "c4 5 and 4 more" in said


def test_a_class_without_a_photo_is_refused() -> None:
    with pytest.raises(DataRefused, match="have no photo to train on: dust, scratch"):
        warned(counts=(10, 0, 0))


def test_small_photos_are_enlarged_with_a_warning() -> None:
    sizes = np.array([[60, 80], [64, 64], [640, 480]])
    assert "1 of 3 photos are smaller than 64x64" in warned(sizes=sizes)
    assert warned(sizes=sizes[1:]) == ""


def test_constant_photos_are_refused() -> None:
    with pytest.raises(DataRefused, match="constant"):
        check_looks(stamped(5))
    one = stamped(1)
    with pytest.raises(DataRefused, match="constant"):
        check_looks(one)


def test_one_photo_over_and_over_is_refused() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    with pytest.raises(DataRefused, match="are the same one"):
        check_looks(np.repeat(photo, 5, axis=0))
    assert check_looks(photo) is None


def test_some_blank_photos_are_warned_of() -> None:
    photos = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    assert check_looks(photos) is None
    photos[2] = (10, 20, 30)
    assert "1 of 5" in (check_looks(photos) or "")
    assert check_looks(photos[:0]) is None


def test_a_source_is_checked_as_what_it_asks_for() -> None:
    photos = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), np.uint8)
    options = {"size": (8, 8), "channels": 1, "batch_size": 4}
    assert check_request(open_source(photos, **options)) == []
    said = check_request(open_source((photos, np.arange(60) % 3), **options))
    assert "3 of 3 classes" in said[0]
    larger = check_request(open_source(photos, **options | {"size": (16, 16)}))
    assert "enlarged" in larger[0]
    with pytest.raises(DataRefused, match="constant"):
        check_request(open_source(stamped(60), **options))
    with pytest.raises(DataRefused, match="have no photo to train on: 1"):
        check_request(open_source((photos, np.arange(60) % 2 * 2), **options))


def test_the_notes_of_a_source_are_among_the_warnings() -> None:
    photos = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), np.uint8)
    source = open_source(photos, size=(8, 8), channels=1, batch_size=4)
    source.notes = ("something odd",)
    assert check_request(source) == ["something odd"]
