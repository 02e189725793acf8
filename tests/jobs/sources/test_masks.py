"""Laws of masks: which belongs to which image, and that no value of them changes."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from conversions import converted, streamed
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sets import DATA, photo

from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.sources.masks import list_masks, looks_like_masks
from fiberaug.jobs.sources.options import SourceOptions

CABLES = DATA / "cables"


def image(path, number=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_image(photo(number, **options), "jpeg"))


def ids(number, height=40, width=48, *, values=(0, 1, 2)):
    """Class ids that no other number has, each of them there."""
    mask = np.random.default_rng(number).choice(values, (height, width))
    mask.ravel()[: len(values)] = values
    return mask.astype(np.uint16 if max(values) > 255 else np.uint8)


def png(path, mask, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path, **options)


def listed(folder, **options):
    return list_masks(folder, SourceOptions(**options))


def errors(dst):
    path = dst / "convert_errors.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return {(one := json.loads(line))["key"]: one["reason"] for line in lines}


@pytest.mark.parametrize(
    ("images", "masks", "suffix"),
    [
        ("images", "masks", ""),
        ("IMG", "gt", "_gt"),
        ("imgs", "mask", "_mask"),
        ("image", "labels", "_labelIds"),
        ("JPEGImages", "SegmentationClass", ""),
        ("images", "annotations", "_seg"),
        ("img", "masks", "-mask"),
        ("images", "masks", "_mask_all"),
        (".", ".", "_mask"),
        (".", ".", "-mask"),
        (".", ".", "_seg"),
    ],
)
def test_two_folders_or_one_are_understood_by_their_names(
    tmp_path, images, masks, suffix
):
    names = ["b.v1", "deep/er/a", "c"]
    for number, name in enumerate(names):
        image(tmp_path / images / f"{name}.jpg", number)
        png(tmp_path / masks / f"{name}{suffix}.png", ids(number))
    (tmp_path / "notes.txt").write_text("x")
    source = pickle.loads(
        pickle.dumps(listed(tmp_path, classes=["sky", "road", "car"]))
    )
    converted(source, tmp_path / "out")
    found = streamed(tmp_path / "out")

    assert list(found) == ["b%2Ev1", "c", "deep/er/a"]
    for number, key in enumerate(("b%2Ev1", "deep/er/a", "c")):
        assert np.array_equal(found[key]["mask"], ids(number))
    assert not errors(tmp_path / "out")
    assert source.classes == ("sky", "road", "car")
    assert "3 images, 3 masks of class ids, kept" in source.said


def test_masks_of_objects_are_stacked_in_the_order_of_their_numbers(tmp_path):
    masks = [ids(i, values=(0, 255)) for i in range(12)]
    for i in (3, 10, 0, 2):
        png(tmp_path / f"a_mask_{i}.png", masks[i])
    png(tmp_path / "a_mask_all.png", masks[11])
    png(tmp_path / "b_mask_1.png", masks[4] // 255)
    for name in ("a.mat", "a.txt"):
        (tmp_path / name).write_bytes(b"1 2 3")
    image(tmp_path / "a.jpg")
    image(tmp_path / "b.jpg", 1)
    source = listed(tmp_path)
    converted(source, tmp_path / "out")
    found = streamed(tmp_path / "out")

    assert source.fields == {"mask?": "mask.png", "masks": "masks.npz"}
    expected = np.stack([masks[i] for i in (0, 2, 3, 10)]) // 255
    assert np.array_equal(found["a"]["masks"], expected)
    assert np.array_equal(found["a"]["mask"], masks[11] // 255)
    assert np.array_equal(found["b"]["masks"], masks[4][None] // 255)
    assert found["b"].get("mask") is None
    size = sum(p.stat().st_size for p in tmp_path.glob("a*.[jp][pn]g"))
    assert source.items[0].size == size


@pytest.mark.parametrize(
    ("mode", "values"), [("L", (0, 7, 255)), ("P", (0, 1, 255)), ("I;16", (0, 300)),
    ("1", (0, 1))],
)  # fmt: skip
def test_class_ids_stay_as_they_are(tmp_path, mode, values):
    mask = ids(1, values=values)
    (tmp_path / "masks").mkdir()
    if mode == "P":
        paletted = Image.fromarray(mask).convert("P")
        paletted.putdata(mask.ravel().tolist())
        paletted.putpalette([i * 7 % 256 for i in range(768)])
        paletted.save(tmp_path / "masks/a.png")
    elif mode == "1":
        Image.fromarray(mask.astype(bool)).save(tmp_path / "masks/a.png")
    else:
        png(tmp_path / "masks/a.png", mask)
    image(tmp_path / "images/a.jpg")
    converted(listed(tmp_path), tmp_path / "out")

    assert np.array_equal(streamed(tmp_path / "out")["a"]["mask"], mask)


def test_masks_of_0_and_255_become_0_and_1_and_a_later_one_must_agree(tmp_path):
    for number in range(19):
        values = (0, 255) if number < 16 else {16: (0,), 17: (0, 254, 255)}.get(number)
        image(tmp_path / f"images/{number:02d}.jpg", number)
        png(tmp_path / f"masks/{number:02d}.png", ids(number, values=values or (255,)))
    source = listed(tmp_path)
    converted(source, tmp_path / "out")
    found = streamed(tmp_path / "out")

    assert "19 masks of 0 and 255, written as 0 and 1" in source.said
    assert np.array_equal(found["00"]["mask"], ids(0, values=(0, 255)) // 255)
    assert not found["16"]["mask"].any()
    assert found["18"]["mask"].all()
    ((key, reason),) = errors(tmp_path / "out").items()
    assert key == "17"
    assert "masks/17.png has the value 254; the first masks of the set" in reason


def test_whatever_is_wrong_with_one_pair_is_its_error_and_the_rest_goes_on(tmp_path):
    images, masks = tmp_path / "images", tmp_path / "masks"
    for number, name in enumerate(
        ["ok", "alone", "two", "small", "jpeg", "rgb", "cut", "same", "objects", "both"]
    ):
        image(images / f"{name}.jpg", number)
    png(images / "same.png", photo(3))
    for name in ("ok", "two", "same", "both"):
        png(masks / f"{name}.png", ids(1))
    png(masks / "two_mask.png", ids(2))
    png(masks / "small.png", ids(3, height=20))
    image(masks / "jpeg.jpg")
    png(masks / "rgb.png", photo(5))
    (masks / "cut.png").write_bytes((masks / "ok.png").read_bytes()[:200])
    png(masks / "none.png", ids(4))
    png(masks / "deep/gone_mask.png", ids(4))
    png(masks / "objects_mask_0.png", ids(4))
    png(masks / "both_mask_0.png", ids(4, height=20, values=(0, 1)))
    converted(listed(tmp_path), tmp_path / "out")

    assert list(streamed(tmp_path / "out")) == ["ok"]
    reasons = errors(tmp_path / "out")
    for key, said in {
        "alone": "the image has no mask",
        "two": "has two masks, masks/two.png and masks/two_mask.png",
        "small": "48x20 px, the file has 48x40",
        "jpeg": "masks/jpeg.jpg is compressed with loss",
        "rgb": "masks/rgb.png: a mask has one channel",
        "cut": "masks/cut.png: the PNG of 200 bytes is cut",
        "same": "its mask is also that of images/same.png",
        "same-2": "its mask is also that of images/same.jpg",
        "none": "the mask masks/none.png has no image images/none.*",
        "deep/gone_mask": "masks/deep/gone_mask.png has no image images/deep/gone.*",
        "objects": "masks/objects_mask_0.png of one object has the values [0, 1, 2]",
        "both": "masks/both_mask_0.png is 48x20 px, masks/both.png is 48x40",
    }.items():
        assert said in reasons.pop(key)
    assert not reasons


def test_a_mask_that_is_gone_after_the_listing_is_named(tmp_path):
    for name in ("a", "b"):
        image(tmp_path / f"{name}.jpg")
        png(tmp_path / f"{name}_mask.png", ids(0))
    source = listed(tmp_path)
    (tmp_path / "a_mask.png").unlink()
    converted(source, tmp_path / "out")

    assert "cannot read the mask a_mask.png" in errors(tmp_path / "out")["a"]
    assert list(streamed(tmp_path / "out")) == ["b"]


@pytest.mark.parametrize("turned", [True, False])
def test_a_mask_of_a_turned_image_is_upright_in_the_shard(tmp_path, turned):
    exif = Image.Exif()
    exif[274] = 6
    (tmp_path / "images").mkdir()
    Image.fromarray(photo(0)).save(tmp_path / "images/a.jpg", exif=exif)
    stored = ids(0)
    upright = np.rot90(stored, -1)
    png(tmp_path / "masks/a.png", np.ascontiguousarray(upright if turned else stored))
    converted(listed(tmp_path), tmp_path / "out")

    assert np.array_equal(streamed(tmp_path / "out")["a"]["mask"], upright)


def test_an_image_may_be_called_like_a_mask(tmp_path):
    for name in ("gas_mask", "a", "a_mask_0"):
        image(tmp_path / f"images/{name}.jpg")
        png(tmp_path / f"masks/{name}.png", ids(0))
    image(tmp_path / "one/gas_mask.jpg")
    png(tmp_path / "one/gas_mask_mask.png", ids(0))

    assert [json.loads(i.notes)[:2] for i in listed(tmp_path).items] == [
        [f"masks/{name}.png", []] for name in ("a", "a_mask_0", "gas_mask")
    ]
    (item,) = listed(tmp_path / "one").items
    assert item.key == "gas_mask"
    assert json.loads(item.notes) == ["gas_mask_mask.png", [], ""]


def test_names_that_are_spelled_by_other_codes_are_the_same(tmp_path):
    image(tmp_path / "images/gr\u00fcn.jpg")
    png(tmp_path / "masks/gru\u0308n.png", ids(0))
    (item,) = listed(tmp_path).items

    assert item.key == "gr\u00fcn"
    assert json.loads(item.notes) == ["masks/gru\u0308n.png", [], ""]


def test_folders_that_are_no_pair_are_refused(tmp_path):
    image(tmp_path / "images/a.jpg")
    with pytest.raises(DataRefused, match="1 image and no masks; expected images/"):
        listed(tmp_path)
    png(tmp_path / "masks/a.png", ids(0))
    assert looks_like_masks(tmp_path)
    image(tmp_path / "img/a.jpg")
    with pytest.raises(UsageError, match=r"\['images', 'img'\].*images="):
        listed(tmp_path)
    assert [i.place for i in listed(tmp_path, images="img/").items] == ["img/a.jpg"]
    png(tmp_path / "gt/a.png", ids(0))
    with pytest.raises(UsageError, match=r"\['gt', 'masks'\] for masks"):
        listed(tmp_path)
    with pytest.raises(UsageError, match="is no folder"):
        listed(tmp_path / "gone")


def test_masks_in_webp_are_stored_as_png_where_nothing_is_lost(tmp_path):
    for name, lossless in (("a", True), ("b", False)):
        image(tmp_path / f"images/{name}.jpg")
        png(tmp_path / f"masks/{name}.webp", ids(1), lossless=lossless)
    converted(listed(tmp_path), tmp_path / "out")

    assert np.array_equal(streamed(tmp_path / "out")["a"]["mask"], ids(1))
    assert "b.webp is compressed with loss" in errors(tmp_path / "out")["b"]


def test_other_layouts_do_not_look_like_masks(tmp_path):
    image(tmp_path / "yolo/images/a.jpg")
    (tmp_path / "yolo/labels").mkdir()
    (tmp_path / "yolo/labels/a.txt").write_text("0 0.5 0.5 1 1")
    image(tmp_path / "classes/dog/a.jpg")
    image(tmp_path / "flat/a.jpg")
    image(tmp_path / "flat/gas_mask.jpg")

    for name in ("yolo", "classes", "flat", "gone", "yolo/labels/a.txt"):
        assert not looks_like_masks(tmp_path / name)


@settings(deadline=None, max_examples=30)
@given(
    st.dictionaries(
        st.text(st.sampled_from("aé01_-. "), min_size=1, max_size=6).map(
            lambda name: "k" + name.strip(". ")
        ),
        st.tuples(st.booleans(), st.sets(st.integers(0, 12), max_size=3)),
        min_size=1, max_size=6,
    ),
    st.booleans(),
)  # fmt: skip
def test_each_mask_goes_to_its_image(tmp_path_factory, sets, apart):
    folder = tmp_path_factory.mktemp("masks")
    pair = ("images", "masks") if apart else (".", ".")
    for place in pair:
        (folder / place).mkdir(exist_ok=True)
    for name, (union, numbers) in sets.items():
        (folder / pair[0] / f"{name}.jpg").write_bytes(b"x")
        for which in [*(["all"] if union else []), *numbers]:
            (folder / pair[1] / f"{name}_mask_{which}.png").write_bytes(b"x")
    if not any(union or numbers for union, numbers in sets.values()):
        return
    items = listed(folder).items

    assert len(items) == len(sets)
    for item in items:
        name = Path(item.place).name.removesuffix(".jpg")
        union, numbers = sets[name]
        whole, objects, problem = json.loads(item.notes)
        place = "masks/" if apart else ""
        assert whole == (f"{place}{name}_mask_all.png" if union else None)
        assert objects == [f"{place}{name}_mask_{n}.png" for n in sorted(numbers)]
        assert bool(problem) == (not union and not numbers)


@pytest.mark.data
@pytest.mark.skipif(not CABLES.is_dir(), reason="FIBERAUG_DATA names no folder")
@pytest.mark.parametrize(
    ("name", "images", "objects"), [("hard", 10, 40), ("reduced", 10, 75),
    ("simple", 60, 396)],
)  # fmt: skip
def test_every_mask_of_the_cables_is_what_pillow_reads(tmp_path, name, images, objects):
    folder = CABLES / f"cable_dataset_{name}"
    assert looks_like_masks(folder)
    source = listed(folder)
    converted(source, tmp_path / "out")
    found = streamed(tmp_path / "out")

    assert source.said == (
        f"{images} images, {images} masks of 0 and 255, written as 0 and 1,"
        f" {objects} masks of single objects"
    )
    assert source.fields == {"mask": "mask.png", "masks": "masks.npz"}
    assert len(found) == images
    count = 0
    for key, sample in found.items():
        union = np.asarray(Image.open(folder / f"{key}_mask_all.png"))
        assert np.array_equal(sample["mask"], union // 255)
        for number, mask in enumerate(sample["masks"]):
            one = np.asarray(Image.open(folder / f"{key}_mask_{number}.png"))
            assert np.array_equal(mask, one // 255)
            count += 1
    assert count == objects
    assert not errors(tmp_path / "out")
