"""What tests of exports share: sets of every format, and parsers that are not ours."""

import contextlib
import hashlib
import io
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from PIL import Image
from sets import photo

import fiberaug
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.exporting import export
from fiberaug.jobs.members import mask_member

__all__ = [
    "LONG", "coco_of", "coco_set", "convert", "exported", "jpeg", "jsons", "masks_set",
    "pixels_of", "put", "reported", "tree", "voc_of", "voc_set", "yolo_of", "yolo_set",
]  # fmt: skip

LONG = "ä 光<&>\"' " * 25 + "x"  # 226 characters

_EDGES = ("xmin", "ymin", "xmax", "ymax")


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def jpeg(i=0, height=40, width=48, orientation=1):
    """Return a JPEG of these stored px, turned by its EXIF where it says so."""
    if orientation == 1:
        return encode_image(photo(i, height, width), "jpeg")
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(photo(i, height, width)).save(file, "JPEG", exif=exif)
    return file.getvalue()


def convert(src, dst, **options):
    """Convert without a bar in this process."""
    options = {"keep_order": True, "near_copies": "ignore", **options}
    return fiberaug.convert(src, dst, workers=1, progress=False, **options)


def exported(shards, dst, to, **options):
    """Export without a bar in this process."""
    return export(shards, dst, to=to, progress=False, **{"workers": 1, **options})


def jsons(shards):
    """Return the JSON of each sample by key, as it stands in the tars."""
    from fiberaug.shards.reader import ShardFile
    from fiberaug.shards.resolve import resolve

    found = {}
    for ref in resolve(str(shards)).refs:
        shard = ShardFile(ref)
        for i in range(len(shard.index)):
            data = shard.read(i).get("json", b"{}")
            found[shard.index.key(i)] = json.loads(bytes(data))
    return found


def tree(folder):
    """Return SHA-256 by path of all files but hidden ones."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def voc_of(path):
    """Read an XML file by hand: name, box and the rest of each object."""
    tree = ET.fromstring(path.read_bytes())  # noqa: S314  # our own text
    size = tuple(int(tree.findtext(f"size/{side}")) for side in ("width", "height"))
    objects = []
    for node in tree.findall("object"):
        box = [float(node.findtext(f"bndbox/{edge}")) for edge in _EDGES]
        rest = {n.tag: n.text for n in node if n.tag not in {"name", "bndbox"}}
        objects.append((node.findtext("name"), box, rest))
    return size, objects


def yolo_of(path):
    """Read a label file line by line: class id and numbers."""
    rows = [line.split() for line in path.read_text().splitlines()]
    return [(int(row[0]), [float(value) for value in row[1:]]) for row in rows]


def pixels_of(box, size):
    """Return the corners of a normalised box, px."""
    (x, y, w, h), (width, height) = box, size
    return [
        (x - w / 2) * width, (y - h / 2) * height,
        (x + w / 2) * width, (y + h / 2) * height,
    ]  # fmt: skip


def coco_of(path):
    """Return what pycocotools makes of an annotation file."""
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def voc_set(root, *, names=("dog", LONG)):
    """A Pascal VOC set with all that the format has."""
    for i, stem in enumerate(("a", "b.v2", "c")):
        put(root / f"JPEGImages/{stem}.jpg", jpeg(i))
        objects = "".join(
            f"<object><name>{_escaped(name)}</name><pose>Left</pose><difficult>{i}"
            f"</difficult><note>{_escaped(LONG)}</note><bndbox><xmin>{j}.25</xmin>"
            f"<ymin>2</ymin><xmax>{30 + j}</xmax><ymax>{2 if i == 2 else 33}</ymax>"
            "</bndbox></object>"
            for j, name in enumerate(names)
        )
        size = "<size><width>48</width><height>40</height></size>"
        put(root / f"Annotations/{stem}.xml",
            f"<annotation><filename>{stem}.jpg</filename>{size}{objects}"
            "</annotation>")  # fmt: skip
    mask = np.zeros((40, 48), np.uint8)
    mask[3:9, 4:20] = 2
    put(root / "SegmentationClass/a.png", mask_member(mask))
    put(root / "SegmentationObject/a.png", mask_member(mask // 2))
    return root


def coco_set(root):
    """A COCO set with all that the format has."""
    images = [
        {"id": 70 + i, "file_name": f"sub/p{i}.jpg", "width": 48, "height": 40,
         "license": 2, "date_captured": "2013-11-14"}
        for i in range(3)
    ]  # fmt: skip
    for i in range(3):
        put(root / f"train2017/sub/p{i}.jpg", jpeg(i))
    rle = {"size": [40, 48], "counts": [100, 50, 1770]}
    annotations = [
        {"id": 900, "image_id": 70, "category_id": 18, "bbox": [0.1, 2, 30.37, 4.01],
         "area": 77.125, "iscrowd": 0, "segmentation": [[0.1, 2, 30, 2, 9, 6.01]],
         "keypoints": [1, 2, 2, 0, 0, 0], "num_keypoints": 1, "score": 0.125},
        {"id": 17, "image_id": 70, "category_id": 3, "bbox": [5, 6, 7, 8], "area": 56,
         "iscrowd": 1, "segmentation": rle},
        {"id": 2**40, "image_id": 72, "category_id": 3, "bbox": [9, 9, 0, 0],
         "area": 0, "iscrowd": 0, "segmentation": []},
    ]  # fmt: skip
    categories = [
        {"id": 3, "name": LONG.strip(), "supercategory": "x"},
        {"id": 18, "name": "person", "keypoints": ["left_eye", "right_eye"],
         "skeleton": [[1, 2]]},
    ]  # fmt: skip
    about = {"info": {"description": "ours"}, "licenses": [{"id": 2, "name": "MIT"}]}
    put(root / "annotations/instances_train2017.json",
        json.dumps({**about, "images": images, "annotations": annotations,
                    "categories": categories}))  # fmt: skip
    captions = [{"id": i, "image_id": 71, "caption": f"no {i}"} for i in range(2)]
    put(root / "annotations/captions_train2017.json",
        json.dumps({"images": images, "annotations": captions}))  # fmt: skip
    return root


def yolo_set(root, lines, *, extra=""):
    """A YOLO set of two parts."""
    for part in ("train", "val"):
        for i, text in enumerate(lines):
            put(root / f"images/{part}/p{i}.jpg", jpeg(i))
            if text is not None:
                put(root / f"labels/{part}/p{i}.txt", text)
    names = json.dumps(["no", LONG.strip()], ensure_ascii=False)
    put(root / "data.yaml",
        f"train: images/train\nval: images/val\nnames: {names}\n{extra}")  # fmt: skip
    return root


def masks_set(root):
    """Images, masks of class ids, and masks of single objects."""
    for i in range(3):
        put(root / f"images/sub/p{i}.jpg", jpeg(i))
        objects = np.zeros((i, 40, 48), np.uint8)
        for j in range(i):
            objects[j, 3 + j : 20, 5 * j : 5 * j + 9] = 255
            put(root / f"masks/sub/p{i}_mask_{j}.png", mask_member(objects[j]))
        union = (objects.max(0, initial=0) > 0) * np.uint8(3)
        put(root / f"masks/sub/p{i}.png", mask_member(union))
    return root


def reported(out):
    text = (out / "export_errors.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def _escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").strip()
