"""Laws of turned photos: a box stays on its pixels, in every format."""

import io

import numpy as np
import pytest
from exports import (
    coco_of,
    convert,
    exported,
    jpeg,
    jsons,
    pixels_of,
    put,
    voc_of,
    yolo_of,
)
from PIL import Image

import fiberaug


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("frame", ["stored", "upright"])
def test_boxes_of_turned_photos_stay_on_their_pixels(tmp_path, orientation, frame):
    """Every orientation, boxes in either frame, through every format and back."""
    height, width = 40, 64
    box = np.array([8, 4, 40, 12])  # of the frame that is said
    data = jpeg(0, height, width, orientation)
    put(tmp_path / "src/JPEGImages/a.jpg", data)
    turned = Image.open(io.BytesIO(data))
    size = turned.size if frame == "stored" else _upright(turned).size
    edges = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    put(tmp_path / "src/Annotations/a.xml",
        f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>"
        "<object><name>x</name><bndbox>"
        + "".join(f"<{edge}>{value}</{edge}>" for edge, value in edges)
        + "</bndbox></object></annotation>")  # fmt: skip
    filled = Image.new("L", size)
    filled.paste(255, tuple(box.tolist()))
    if frame == "stored":
        exif = Image.Exif()
        exif[0x0112] = orientation
        filled.getexif().update(exif)
        filled = _upright(filled)
    wanted = filled.getbbox()
    convert(tmp_path / "src", tmp_path / "shards", annotation_frame=frame)

    for to in ("voc", "coco", "yolo"):
        out = tmp_path / to
        done = exported(tmp_path / "shards", out, to)
        assert done.turned == (orientation != 1)
        folder = "JPEGImages" if to == "voc" else "images"
        assert (out / folder / "a.jpg").read_bytes() == data
        if to == "voc":
            found, ((_, here, _),) = voc_of(out / "Annotations/a.xml")
        elif to == "coco":
            coco = coco_of(out / "annotations/instances.json")
            ((image,), (entry,)) = coco.imgs.values(), coco.anns.values()
            found = image["width"], image["height"]
            x, y, w, h = entry["bbox"]
            here = [x, y, x + w, y + h]
        else:
            ((_, values),) = yolo_of(out / "labels/a.txt")
            found, here = filled.size, pixels_of(values, filled.size)
        assert found == filled.size
        assert here == pytest.approx(wanted, abs=1e-3)
        convert(out, tmp_path / f"{to}-again", annotation_frame="upright")
        (again,) = jsons(tmp_path / f"{to}-again").values()
        (first,) = jsons(tmp_path / "shards").values()
        assert again["objects"][0]["bbox"] == first["objects"][0]["bbox"]
        assert (again["width"], again["height"]) == filled.size


def _upright(image):
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def test_annotations_of_shards_in_the_stored_frame_are_turned(tmp_path):
    mask = np.zeros((40, 64), np.uint8)
    mask[4:12, 8:40] = 1
    row = {
        "__key__": "a", "image": jpeg(0, 40, 64, 6), "mask": mask,
        "json": {"width": 64, "height": 40,
                 "objects": [{"bbox": [8, 4, 40, 12], "label": 0}]},
    }  # fmt: skip
    fiberaug.convert([row], tmp_path / "shards", classes=["x"], progress=False)
    exported(tmp_path / "shards", tmp_path / "out", "voc")
    size, ((_, box, _),) = voc_of(tmp_path / "out/Annotations/a.xml")
    turned = np.asarray(Image.open(tmp_path / "out/SegmentationClass/a.png"))

    assert size == (40, 64)
    assert box == [28, 8, 36, 40]  # turned by 90 degrees: x = 40 - y, y = x
    assert np.array_equal(turned, np.rot90(mask, -1))
