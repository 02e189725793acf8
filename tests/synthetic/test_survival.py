"""Every way by which images are written keeps their mark and their provenance."""

import io
import json

import albumentations as A
import numpy as np
import pytest
from marks import VOCABULARY, exiftool, made, shard_members, stated
from PIL import Image, ImageCms
from sets import photo

import fiberaug
from fiberaug.baking.materializing import materialize
from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.exporting import export
from fiberaug.jobs.seekable import make_seekable
from fiberaug.marking import COMPOSITE, PROCEDURAL, mark, read_mark
from fiberaug.synthetic.provenance import Parameters, Provenance
from fiberaug.synthetic.truth import verify

KINDS = ("png", "jpeg", "jpeg-progressive", "webp", "webp-lossless", "png-palette")
COUNT = 12
PHOTO = "s000011"  # a photo among them


def pixels_of(data):
    return decode_image(data, limits=ImageLimits())[0]


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """A set whose samples have marks and provenance; the last one is a photo."""
    folder = tmp_path_factory.mktemp("survival") / "pool"
    with fiberaug.ShardWriter(folder) as writer:
        for i in range(COUNT):
            data = made(KINDS[i % len(KINDS)], photo(i, 60, 70), exif=i % 2 == 1)
            one = {"__key__": f"s{i:06d}", "label": i % 4, "caption": f"no {i}"}
            if one["__key__"] != PHOTO:
                # A key that looks like a place in the image, and is none.
                params = Parameters(seed=i, others={"bboxes": [[1, 2, 3, 4]]})
                data = mark(data, PROCEDURAL)
                true = stated(pixels_of(data), i, params=params)
                one["json"] = {"provenance": true.to_dict()}
            writer.write(one | {"image": data})
    return folder


def image_of(sample):
    return next(sample[e] for e in ("png", "jpg", "webp", "jpeg") if e in sample)


def check(folder, *, pixels="same", count=COUNT):
    """All but the photo are marked; their provenance is that of the pool."""
    found = shard_members(folder)
    assert len(found) == count
    for key, sample in found.items():
        mine = PHOTO not in key
        data = image_of(sample)
        assert read_mark(data) == (PROCEDURAL if mine else None), key
        notes = json.loads(sample.get("json", b"{}"))
        assert ("provenance" in notes) == mine
        if not mine:
            assert b"DigitalSourceType" not in data
            continue
        provenance = Provenance.from_dict(notes["provenance"])
        assert f"s{provenance.params.seed:06d}" in key
        told = verify(provenance, data, label=int(sample["cls"]))
        other = ["pixels_sha256: the image has other pixels"]
        assert told in {"same": ([],), "other": (other,), "any": ([], other)}[pixels]
    return found


def convert(src, dst, **options):
    options = {"workers": 1, "progress": False, "near_copies": "ignore"} | options
    return fiberaug.convert(src, dst, **options)


def test_converting_keeps_the_bytes(pool, tmp_path):
    convert(pool, tmp_path / "kept")
    found = check(tmp_path / "kept")
    before = shard_members(pool)
    assert {key: image_of(one) for key, one in found.items()} == {
        key: image_of(one) for key, one in before.items()
    }


@pytest.mark.parametrize("encode", ["jpeg", "webp", "png"])
def test_converting_keeps_the_mark_where_it_encodes(pool, tmp_path, encode):
    convert(pool, tmp_path / "again", encode=encode, resize=50)
    found = check(tmp_path / "again", pixels="other")
    extension = {"jpeg": "jpg"}.get(encode, encode)
    assert all(extension in sample for sample in found.values())
    convert(pool, tmp_path / "same", encode=encode)
    check(tmp_path / "same", pixels="same" if encode == "png" else "any")


def test_converting_colours_keeps_the_mark(tmp_path):
    curve = Image.fromarray(photo(1, 50, 60))
    for number, (kind, mode) in enumerate((
        ("png", "RGB"), ("png", "RGBA"), ("jpeg", "RGB"), ("webp", "RGBA"),
    )):  # fmt: skip
        file = io.BytesIO()
        profile = swapped_profile()
        curve.convert(mode).save(file, kind, icc_profile=profile)
        data = file.getvalue()
        (tmp_path / "in").mkdir(exist_ok=True)
        path = tmp_path / "in" / f"p{number}.{kind}"
        path.write_bytes(mark(data, COMPOSITE))
    convert(tmp_path / "in", tmp_path / "srgb", srgb=True)

    found = shard_members(tmp_path / "srgb")
    assert len(found) == 4
    for sample in found.values():
        with Image.open(io.BytesIO(image_of(sample))) as image:
            assert "icc_profile" not in image.info
        assert read_mark(image_of(sample)) == COMPOSITE


def swapped_profile():
    """An ICC profile that is not sRGB: red and blue are each other's colours."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(data[128:132], "big")
    at = {bytes(data[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, blue = at[b"rXYZ"], at[b"bXYZ"]
    data[red : red + 4], data[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(data)


def test_restart_markers_leave_the_mark(pool, tmp_path):
    convert(pool, tmp_path / "kept")
    done = make_seekable(tmp_path / "kept", workers=1, progress=False)
    check(tmp_path / "kept")
    convert(pool, tmp_path / "at-once", seekable=True)
    check(tmp_path / "at-once")
    convert(pool, tmp_path / "jpeg", encode="jpeg", seekable=True)
    check(tmp_path / "jpeg", pixels="any")
    assert done.marked


def test_crops_are_still_cut_out_of_marked_jpegs(pool, tmp_path):
    materialize(
        pool, tmp_path / "baked", encode="jpeg", seekable=True, train=False,
        workers=1, progress=False,
    )  # fmt: skip
    found = check(tmp_path / "baked", pixels="any")
    crop = A.Compose([A.Crop(20, 10, 60, 50, p=1)])
    dataset = fiberaug.StreamingDataset(tmp_path / "baked", transform=crop, train=False)
    for sample in dataset:
        whole = pixels_of(image_of(found[sample["__key__"]]))
        got = np.asarray(sample["image"]).transpose(1, 2, 0)
        assert np.array_equal(got, whole[10:50, 20:60])


def test_tiles_have_the_mark_of_their_photo(pool, tmp_path):
    for encode in ("keep", "jpeg"):
        convert(pool, tmp_path / encode, tile=(40, 40), encode=encode)
        check(tmp_path / encode, pixels="other", count=4 * COUNT)


@pytest.mark.parametrize("encode", ["png", "webp", "jpeg"])
def test_baking_keeps_mark_provenance_and_record(pool, tmp_path, encode):
    materialize(
        pool, tmp_path / "baked", recipe=A.Compose([A.RandomCrop(24, 24, p=1)]),
        epochs="0-1", views=2, encode=encode, workers=1, progress=False,
    )  # fmt: skip
    found = check(tmp_path / "baked", pixels="other", count=4 * COUNT)
    for sample in found.values():
        (applied,) = json.loads(sample["record.json"])["applied_transforms"]
        assert applied["name"] == "RandomCrop"


def test_baking_a_beginning_keeps_them(pool, tmp_path):
    recipe = fiberaug.Recipe.parse(
        "version: 1\ncpu:\n"
        "  - CenterCrop: {height: 40, width: 40, p: 1.0}\n"
        "  - HorizontalFlip: {p: 0.5}\n"
    )
    materialize(
        pool, tmp_path / "baked", recipe=recipe, prefix=True, workers=1, progress=False
    )
    check(tmp_path / "baked", pixels="other")


def test_baking_photos_gives_the_bytes_that_it_always_gave(tmp_path):
    with fiberaug.ShardWriter(tmp_path / "photos") as writer:
        for i in range(6):
            writer.write({"__key__": f"p{i}", "image": photo(i), "label": 0})
    materialize(tmp_path / "photos", tmp_path / "baked", workers=1, progress=False)
    for sample in shard_members(tmp_path / "baked").values():
        chunks = [sample["png"][at : at + 4] for at in (12, 37)]
        assert chunks == [b"IHDR", b"IDAT"]
        assert b"provenance" not in sample["json"]
    plain = encode_image(photo(1), "jpeg")
    (tmp_path / "one").mkdir()
    (tmp_path / "one/a.jpg").write_bytes(plain)
    convert(tmp_path / "one", tmp_path / "png", encode="png")
    (sample,) = shard_members(tmp_path / "png").values()
    assert sample["png"] == encode_image(pixels_of(plain), "png")


def test_exports_have_the_files_and_coco_the_provenance(pool, tmp_path):
    before = {key: image_of(one) for key, one in shard_members(pool).items()}
    for to in ("folder", "coco"):
        export(pool, tmp_path / to, to=to, workers=1, progress=False)
        kinds = {".png", ".jpg", ".webp"}
        files = {
            path.stem: path.read_bytes()
            for path in (tmp_path / to).rglob("*")
            if path.suffix in kinds
        }
        assert files == before
    path = next((tmp_path / "coco/annotations").glob("*.json"))
    for image in json.loads(path.read_text())["images"]:
        if PHOTO not in image["file_name"]:
            provenance = Provenance.from_dict(image["provenance"])
            (data,) = (tmp_path / "coco").rglob(image["file_name"])
            assert verify(provenance, data.read_bytes()) == []


def test_exiftool_finds_the_mark_at_the_end_of_a_long_way(pool, tmp_path):
    convert(pool, tmp_path / "a")
    recipe = A.Compose([A.RandomCrop(32, 32, p=1), A.HorizontalFlip()])
    materialize(tmp_path / "a", tmp_path / "b", recipe=recipe, workers=1,
                progress=False)  # fmt: skip
    check(tmp_path / "b", pixels="other")
    for encode in ("webp", "jpeg"):
        end = tmp_path / encode
        convert(tmp_path / "b", end, encode=encode)
        found = check(end, pixels="other")
        assert all("record.json" in sample for sample in found.values())
        export(end, tmp_path / f"{encode}-files", to="folder", workers=1,
               progress=False)  # fmt: skip
        lines = exiftool(tmp_path / f"{encode}-files")
        read = {
            line["SourceFile"].rpartition("/")[2]: line.get("DigitalSourceType")
            for line in lines
            if line["SourceFile"].endswith((".webp", ".jpg"))
        }
        assert len(read) == COUNT
        for name, value in read.items():
            assert value == (None if PHOTO in name else VOCABULARY + PROCEDURAL)
        assert not any("Warning" in line for line in lines)
