"""The law of orientation: what marks a thing in the file marks it in the sample."""

import io
import json

import numpy as np
import pytest
from PIL import Image, ImageOps

from fiberaug.decode.fields import parse_fields
from fiberaug.decode.options import DecodeOptions
from fiberaug.decode.sample import SampleDecoder
from fiberaug.errors import SampleBroken

WIDTH, HEIGHT = 96, 64
BOX = (16, 8, 40, 24)  # of the marker in the stored frame, on JPEG's blocks
CORNER = [16.0, 8.0]
FORMATS = {
    "jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {"lossless": True}),
    "tif": ("TIFF", {}),
}
FIELDS = {
    "mask": "mask.png", "masks": "npy", "bboxes": "json:boxes",
    "polygons": "json:rings", "keypoints": "json:points",
    "seg2": "seg.png", "boxes2": "json:boxes",
    "points2": "json:points", "image2": "other.png",
}  # fmt: skip
KINDS = {
    "image2": "image", "seg2": "mask", "boxes2": "bboxes", "points2": "keypoints",
}  # fmt: skip


def marked():
    """A red marker whose corner is white, on blue."""
    pixels = np.full((HEIGHT, WIDTH, 3), (0, 0, 255), np.uint8)
    pixels[BOX[1] : BOX[3], BOX[0] : BOX[2]] = (255, 0, 0)
    pixels[BOX[1] : BOX[1] + 8, BOX[0] : BOX[0] + 8] = 255
    return pixels


def file(pixels, kind, orientation=1, **options):
    buffer = io.BytesIO()
    if kind == "TIFF":
        options["tiffinfo"] = {0x0112: orientation}
    elif orientation != 1:
        options["exif"] = exif = Image.Exif()
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def sample(extension, orientation, frame, other=1):
    kind, options = FORMATS[extension]
    mask = (marked()[..., 0] > 128).astype(np.uint8)
    x0, y0, x1, y1 = BOX
    return {
        extension: file(marked(), kind, orientation, **options),
        "other.png": file(marked(), "PNG", other),
        "mask.png": file(mask, "PNG"),
        "seg.png": file(mask * 7, "PNG"),
        "npy": npy(np.stack([mask, 1 - mask])),
        "json": json.dumps({
            "boxes": [BOX], "points": [[x0 + 4, y0 + 4]],
            "rings": [[[x0, y0], [x1, y0], [x1, y1], [x0, y1]]],
        } | frame).encode(),
    }  # fmt: skip


def decoded(members, extension, **options):
    specs = parse_fields({"image": extension} | FIELDS)
    return SampleDecoder(specs=specs, kinds=KINDS, **options)(members).fields


def bounds(marks):
    rows, columns = np.nonzero(marks)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def is_white(pixels):
    return (pixels > 200).all(axis=2)


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("said", ["size", "frame"])
def test_everything_of_the_stored_frame_stays_on_its_pixels(
    extension, orientation, said
):
    frame = {"frame": "stored"}
    if said == "size" and orientation >= 5:
        frame = {"width": WIDTH, "height": HEIGHT}
    fields = decoded(sample(extension, orientation, frame), extension)
    pixels = fields["image"]
    red = pixels[..., 0] > 128
    truth = Image.fromarray(marked())
    truth.getexif()[0x0112] = orientation

    difference = np.abs(pixels.astype(int) - np.array(ImageOps.exif_transpose(truth)))
    assert difference.max() <= (40 if extension == "jpg" else 0)
    for name in ("bboxes", "boxes2"):
        assert fields[name].tolist() == [bounds(red)]
    assert np.array_equal(fields["mask"], red)
    assert np.array_equal(fields["seg2"], red * 7)
    assert np.array_equal(fields["masks"], [red, ~red])
    (ring,) = fields["polygons"]
    assert [*ring.min(0), *ring.max(0)] == bounds(red)
    white = bounds(is_white(pixels))
    assert min(np.abs(ring - np.mean([white[:2], white[2:]], 0)).sum(1)) == 8
    for name in ("keypoints", "points2"):
        (point,) = fields[name]
        assert point.tolist() == np.mean([white[:2], white[2:]], 0).tolist()


@pytest.mark.parametrize("other", range(1, 9))
def test_another_image_turns_by_its_own_exif(other):
    fields = decoded(sample("png", 6, {"frame": "stored"}, other), "png")
    truth = Image.fromarray(marked())
    truth.getexif()[0x0112] = other

    assert np.array_equal(fields["image2"], ImageOps.exif_transpose(truth))
    assert fields["image"].shape == (WIDTH, HEIGHT, 3)


def test_another_image_is_decoded_with_the_same_options():
    options = DecodeOptions(color="gray")

    fields = decoded(sample("png", 1, {}), "png", options=options)

    assert fields["image"].shape == fields["image2"].shape == (HEIGHT, WIDTH, 1)


def test_a_further_mask_of_another_size_is_broken_and_a_further_image_is_not():
    small = np.zeros((3, 5), np.uint8)
    members = sample("png", 1, {})

    found = decoded(members | {"other.png": file(small, "PNG")}, "png")
    assert found["image2"].shape == (3, 5, 3)
    for name, member in (("mask", "mask.png"), ("seg2", "seg.png")):
        with pytest.raises(SampleBroken, match=f"{name} is 5x3 px, the image 96x64"):
            decoded(members | {member: file(small, "PNG")}, "png")
    with pytest.raises(SampleBroken, match="each of the masks is 5x3 px"):
        decoded(members | {"npy": npy(small[None])}, "png")


def test_further_fields_may_be_missing():
    fields = {"image": "png"} | {f"{name}?": source for name, source in FIELDS.items()}
    decoder = SampleDecoder(specs=parse_fields(fields), kinds=KINDS)

    found = decoder({"png": file(marked(), "PNG")}).fields

    assert found["image2"] is found["mask"] is found["seg2"] is found["masks"] is None
    assert found["bboxes"].shape == found["boxes2"].shape == (0, 4)
    assert found["keypoints"].shape == found["points2"].shape == (0, 2)
    assert found["polygons"] == []
