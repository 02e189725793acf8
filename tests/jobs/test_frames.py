"""Laws of frames that nothing tells: asked for before anything is written."""

import io

import numpy as np
import pytest
from PIL import Image
from sets import photo

import fiberaug
from fiberaug.errors import UsageError


def saved(path, orientation):
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(photo(orientation, 60, 90)).save(file, "JPEG", exif=exif)
    path.write_bytes(file.getvalue())


@pytest.fixture
def yolo(tmp_path):
    """Ten photos of which the last is turned."""
    for i in range(10):
        saved(tmp_path / f"set/images/{i}.jpg", 6 if i == 9 else 1)
        label = tmp_path / f"set/labels/{i}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("0 0.25 0.5 0.3 0.4\n")
    return tmp_path / "set"


def test_a_turned_photo_is_drawn_both_ways_and_nothing_is_written(yolo, tmp_path):
    with pytest.raises(
        UsageError, match=r"9\.jpg is turned.*annotation_frame="
    ) as told:
        fiberaug.convert(yolo, tmp_path / "out", progress=False)

    picture = tmp_path / "out-annotation-frame.png"
    assert str(picture) in str(told.value)
    assert not (tmp_path / "out").exists()
    with Image.open(picture) as image:
        pixels = np.asarray(image)
        left, right = pixels[:, : image.width // 2], pixels[:, image.width // 2 + 6 :]
    assert left.shape[0] == right.shape[0]
    assert not np.array_equal(left, right[:, : left.shape[1]]), "the boxes differ"


def test_the_picture_has_its_folder_though_the_set_has_none(yolo, tmp_path):
    with pytest.raises(UsageError, match="is turned"):
        fiberaug.convert(yolo, tmp_path / "new/folder/out", progress=False)

    assert (tmp_path / "new/folder/out-annotation-frame.png").exists()


@pytest.mark.parametrize(
    ("frame", "box"),
    [
        # Upright the photo has 60x90 px; stored, 90x60, its top is the right side.
        ("upright", [0.10 * 60, 0.3 * 90, 0.40 * 60, 0.7 * 90]),
        ("stored", [60 - 0.7 * 60, 0.10 * 90, 60 - 0.3 * 60, 0.40 * 90]),
    ],
)
def test_what_the_user_says_is_taken(yolo, tmp_path, frame, box):
    fiberaug.convert(yolo, tmp_path / "out", annotation_frame=frame, progress=False)
    data = fiberaug.StreamingDataset(tmp_path / "out", train=False)
    (turned,) = (sample for sample in data if sample["__key__"].endswith("9"))

    assert turned["image"].shape[1:] == (90, 60)
    assert np.allclose(turned["bboxes"], [box], atol=0.01)


def test_a_photo_without_annotations_asks_for_nothing(yolo, tmp_path):
    (yolo / "labels/9.txt").write_text("")

    assert fiberaug.convert(yolo, tmp_path / "out", progress=False).samples == 10


def test_a_folder_of_classes_asks_for_nothing(tmp_path):
    saved(tmp_path / "in/cat/a.jpg", 6)

    assert (
        fiberaug.convert(tmp_path / "in", tmp_path / "out", progress=False).samples == 1
    )


def test_a_broken_photo_is_left_to_the_conversion(yolo, tmp_path):
    (yolo / "images/9.jpg").write_bytes(b"no image")
    manifest = fiberaug.convert(yolo, tmp_path / "out", progress=False)

    assert manifest.samples == 9
    assert "no image" in (tmp_path / "out/convert_errors.jsonl").read_text()
