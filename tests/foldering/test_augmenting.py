"""Laws of augmenting a folder: the loader's pixels and records, whoever works."""

import json
import shutil

import albumentations as A
import numpy as np
import pytest
import yaml
from foldered import augmented, lines, photos, pixels, png, put, records, summed, tree
from hypothesis import given, settings
from hypothesis import strategies as st
from plainsets import KINDS, jpeg
from sets import DATA, cut_jpeg, photo

import fiberaug
from fiberaug.errors import DataRefused, StoreError, UsageError

RECIPE = fiberaug.Recipe.parse("""
version: 1
cpu:
  - HorizontalFlip: {p: 0.5}
  - Affine: {rotate: [-20, 20], p: 1}
  - RandomCrop: {height: 24, width: 32}
  - OneOf: {p: 0.8, transforms: [{GaussNoise: {p: 1}}, {RandomGamma: {p: 1}}]}
""")


def dataset(src, tmp_path, transform=RECIPE, **options):
    return fiberaug.StreamingDataset(
        src, transform=transform, shuffle=False, pixel_hash=True,
        cache_dir=tmp_path / "cache", **options,
    )  # fmt: skip


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**64 - 1))
def test_pixels_and_records_are_those_of_the_loader(tmp_path_factory, seed):
    tmp_path = tmp_path_factory.mktemp("law")
    src = photos(tmp_path / "in", 9)
    augmented(src, tmp_path / "out", RECIPE, seed=seed)
    found = records(tmp_path / "out")
    loader = fiberaug.DataLoader(dataset(src, tmp_path, seed=seed), 4)
    seen = 0
    for batch in loader:
        for i, key in enumerate(batch["__key__"]):
            line = found[f"{key}.png"]
            image = batch["image"][i].permute(1, 2, 0).numpy()
            assert np.array_equal(pixels(tmp_path / "out" / line["file"]), image)
            assert line["record"] == batch["record"][i].to_dict()
            seen += 1
    assert seen == len(found) == 9


def test_copy_c_is_visit_c_and_every_record_gives_its_file_again(tmp_path):
    src = photos(tmp_path / "in")
    summary = augmented(src, tmp_path / "out", RECIPE, copies=3)
    lines_ = lines(tmp_path / "out/records.jsonl")

    assert (summary.photos, summary.pictures, summary.left_out) == (6, 18, 0)
    assert [(line["source"], line["copy"], line["file"]) for line in lines_] == [
        (f"{c}/p{i:03d}.png", copy, f"{c}/p{i:03d}_{copy}.png")
        for c, numbers in (("cat", (0, 2, 4)), ("dog", (1, 3, 5)))
        for i in numbers
        for copy in range(3)
    ]
    source = dataset(src, tmp_path, tmp_path / "out/recipe.yaml")
    for line in lines_:
        assert line["record"]["visit"] == line["copy"]
        again = fiberaug.replay(line["record"], source)["image"]
        image = pixels(tmp_path / "out" / line["file"])
        assert np.array_equal(again.permute(1, 2, 0).numpy(), image)
    assert len({pixels(tmp_path / "out" / n["file"]).tobytes() for n in lines_}) == 18


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_do_not_depend_on_workers(tmp_path, kind):
    """For each kind of source; photos that EXIF turns are among them."""
    src = KINDS[kind](tmp_path / "in")
    recipe = [{"Affine": {"rotate": [-20, 20], "p": 1}}]
    for workers in (1, 2, 4):
        augmented(src, tmp_path / str(workers), recipe, copies=9, workers=workers)

    assert len(tree(tmp_path / "1")) > 90
    assert tree(tmp_path / "1") == tree(tmp_path / "2") == tree(tmp_path / "4")


@pytest.mark.filterwarnings("ignore:invalid value")  # GridDropout
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_carried_along_changes_no_draw(tmp_path, kind):
    """Outlines, rows and captions go through the pipeline here, in the loader not."""
    src = KINDS[kind](tmp_path / "in")
    recipe = fiberaug.Recipe(
        cpu=(
            {"RandomResizedCrop": {"size": [32, 32]}}, {"D4": {}},
            {"GridDropout": {"p": 1}}, {"ElasticTransform": {"p": 1}},
            {"OneOf": {"transforms": [{"Transpose": {}}, {"Perspective": {}}]}},
            {"fiberaug.processors.Rotate": {}}, {"PixelDropout": {"p": 1}},
        )
    )  # fmt: skip
    augmented(src, tmp_path / "out", recipe, copies=2)
    source = dataset(src, tmp_path, recipe)
    found = lines(tmp_path / "out/records.jsonl")
    assert len(found) >= 20
    for line in found:  # its hash of the pixels is compared, and all that was drawn
        assert line["record"]["pixels"]
        fiberaug.replay(line["record"], source)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_a_set_of_the_same_kind(tmp_path, kind):
    """Read again it has the same samples, classes and fields, of other pixels."""
    src = KINDS[kind](tmp_path / "in")
    augmented(src, tmp_path / "out", [{"VerticalFlip": {"p": 1}}])
    before = dataset(src, tmp_path, None, train=False)
    after = dataset(tmp_path / "out", tmp_path, None, train=False)
    turned = dataset(src, tmp_path, A.VerticalFlip(p=1), train=False)

    assert after.classes == before.classes
    assert {s.name for s in after.specs} >= {s.name for s in before.specs}
    samples = {s["__key__"]: s for s in turned}
    seen = 0
    for sample in after:
        expected = samples.pop(sample["__key__"])
        for name in ("label", "mask", "masks", "caption"):
            if expected.get(name) is not None:
                assert np.array_equal(sample[name], expected[name]), name
        if "bboxes" in expected:
            assert np.allclose(sample["bboxes"], expected["bboxes"], atol=2e-3)
            assert sample["bbox_labels"].tolist() == expected["bbox_labels"].tolist()
        assert sample["image"].shape == expected["image"].shape
        seen += 1
    assert not samples
    assert seen >= 10


@pytest.mark.parametrize("below", [".", "class"])
def test_each_picture_has_the_format_of_its_photo(tmp_path, below):
    src = tmp_path / "in" / below
    put(src / "a.jpg", jpeg(0))
    put(src / "b.PNG", png(photo(1)))
    for suffix in ("webp", "bmp", "tif", "ppm"):
        fiberaug.decode.image.save_image(src / f"c.{suffix}", photo(2))
    fiberaug.decode.image.save_image(src / "d.jpeg", photo(3))
    from PIL import Image

    Image.fromarray(photo(4)).save(src / "e.gif")
    augmented(tmp_path / "in", tmp_path / "out")

    made = {p.name: p for p in (tmp_path / "out" / below).iterdir() if p.is_file()}
    for name, kind in (
        ("a.jpg", "JPEG"), ("b.PNG", "PNG"), ("c.webp", "WEBP"), ("c.bmp", "BMP"),
        ("c.tif", "TIFF"), ("c.ppm", "PPM"), ("d.jpeg", "JPEG"), ("e.png", "PNG"),
    ):  # fmt: skip
        with Image.open(made.pop(name)) as image:
            assert image.format == kind
            assert image.size == (48, 40)
    assert set(made) <= {"augment.json", "records.jsonl", "recipe.yaml"}
    found = pixels(tmp_path / "out" / below / "b.PNG")
    assert np.array_equal(found, photo(1)[:, ::-1])


def test_two_photos_that_would_have_one_name_get_two(tmp_path):
    src = tmp_path / "in"
    for i, name in enumerate(("a.jpg", "a.png", "a-2.png", "b.png")):
        put(src / name, jpeg(i) if name.endswith("jpg") else png(photo(i)))
    augmented(src, tmp_path / "kept")
    augmented(src, tmp_path / "png", encode="png")

    assert set(tree(tmp_path / "kept")) > {"a.jpg", "a.png", "a-2.png", "b.png"}
    found = {
        line["source"]: line["file"] for line in records(tmp_path / "png").values()
    }
    assert found == {
        "a-2.png": "a-2.png", "a.jpg": "a.png", "a.png": "a-3.png", "b.png": "b.png",
    }  # fmt: skip
    assert np.array_equal(pixels(tmp_path / "png/a-3.png"), photo(1)[:, ::-1])


def test_a_photo_that_exif_turns_is_written_upright(tmp_path):
    """Only the lossless file holds the decoder's pixels: encode="png"."""
    src = tmp_path / "in"
    for orientation in range(1, 9):
        put(src / f"{orientation}.jpg", jpeg(0, orientation))
    augmented(src, tmp_path / "out", encode="png")
    upright = {s["__key__"]: s["image"].numpy() for s in dataset(src, tmp_path, None)}

    for orientation in range(1, 9):
        expected = upright[str(orientation)].transpose(1, 2, 0)[:, ::-1]
        found = pixels(tmp_path / f"out/{orientation}.png")
        assert np.array_equal(found, expected)
        assert found.shape == ((40, 48, 3) if orientation < 5 else (48, 40, 3))


def test_the_same_command_again_does_nothing_and_another_one_refuses(tmp_path):
    src = photos(tmp_path / "in")
    first = augmented(src, tmp_path / "out", copies=2)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    again = augmented(src, tmp_path / "out", copies=2, workers=2)

    assert again == type(first)(**{**first.__dict__, "known": True})
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")} == times
    for other in (
        {"copies": 3}, {"copies": 2, "seed": 1}, {"copies": 2, "encode": "webp"},
        {"copies": 2, "quality": 90},
    ):  # fmt: skip
        with pytest.raises(UsageError, match=r"another command wrote \(with another"):
            augmented(src, tmp_path / "out", **other)
    with pytest.raises(UsageError, match="with another recipe"):
        augmented(src, tmp_path / "out", RECIPE, copies=2)
    put(src / "cat/new.png", png(photo(9)))
    with pytest.raises(UsageError, match="with another photos"):
        augmented(src, tmp_path / "out", copies=2)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")} == times


def test_places_that_cannot_be_are_refused_and_nothing_is_written(tmp_path, write_set):
    src = photos(tmp_path / "in")
    put(tmp_path / "full/note.txt", "mine")
    put(tmp_path / "file", "mine")
    before = summed(tmp_path)
    for out, why in (
        (src / "out", "inside"), (tmp_path, "inside"), (src, "inside"),
        (tmp_path / "full", "not empty"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=why):
            augmented(src, out, cache_dir=tmp_path.parent / "cache")
    (tmp_path / "link").symlink_to(src)
    with pytest.raises(UsageError, match="inside"):
        augmented(src, tmp_path / "link/out", cache_dir=tmp_path.parent / "cache")
    with pytest.raises(StoreError):
        augmented(src, tmp_path / "file/out", cache_dir=tmp_path.parent / "cache")
    (tmp_path / "link").unlink()
    assert summed(tmp_path) == before

    with pytest.raises(UsageError, match="materialize"):
        augmented(write_set(3), tmp_path / "out")
    with pytest.raises(UsageError, match="there is no"):
        augmented(tmp_path / "nowhere", tmp_path / "out")
    np.savez(tmp_path / "a.npz", x=np.zeros((9, 8, 8, 3), np.uint8), y=np.arange(9))
    with pytest.raises(UsageError, match="materialize"):
        augmented(tmp_path / "a.npz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [{"copies": 0}, {"encode": "gif"}, {"quality": 0}, {"workers": 0}, {"seed": -1},
     {"on_error": "ignore"}],
)  # fmt: skip
def test_arguments_out_of_range_are_refused(tmp_path, options):
    (name,) = options
    with pytest.raises(UsageError, match=name):
        augmented(photos(tmp_path / "in"), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_broken_photo_is_listed_or_stops(tmp_path):
    src = photos(tmp_path / "in")
    put(src / "cat/cut.jpg", cut_jpeg(1))
    put(src / "cat/none.png", b"no image")
    summary = augmented(src, tmp_path / "out", copies=2)

    assert (summary.photos, summary.pictures, summary.left_out) == (8, 12, 4)
    errors = lines(tmp_path / "out/augment_errors.jsonl")
    assert [(e["source"], e["copy"]) for e in errors] == [
        (f"cat/{name}", copy) for name in ("cut.jpg", "none.png") for copy in range(2)
    ]  # fmt: skip
    assert all(e["reason"] for e in errors)
    assert not [
        name for name in tree(tmp_path / "out") if "none" in name or "cut" in name
    ]
    with pytest.raises(DataRefused):
        augmented(src, tmp_path / "failed", on_error="fail")
    shutil.rmtree(src / "cat")
    shutil.rmtree(src / "dog")
    put(src / "cat/none.png", b"no image")
    with pytest.raises(DataRefused, match="not one photo"):
        augmented(src, tmp_path / "none")


def test_a_photo_that_is_too_small_for_a_crop_is_listed(tmp_path):
    src = photos(tmp_path / "in")
    put(src / "cat/tiny.png", png(photo(1, 10, 10)))
    summary = augmented(
        src, tmp_path / "out", [{"RandomCrop": {"height": 20, "width": 20}}]
    )

    assert (summary.pictures, summary.left_out) == (6, 1)
    (error,) = lines(tmp_path / "out/augment_errors.jsonl")
    assert "PadIfNeeded" in error["reason"]


class Fails(fiberaug.ImageProcessor):
    def _process(self, image):
        raise ZeroDivisionError("no such thing")


def test_an_operation_that_fails_stops_and_says_where(tmp_path):
    with pytest.raises(
        UsageError, match=r"p00\d.png: ZeroDivisionError.*operation Fails"
    ):
        augmented(photos(tmp_path / "in"), tmp_path / "out", [Fails()])
    assert not (tmp_path / "out").exists()


def test_a_normalisation_at_the_end_is_left_to_the_loader(tmp_path):
    recipe = fiberaug.Recipe(
        cpu=({"HorizontalFlip": {"p": 1}},), normalize={"mean": [0.5] * 3}
    )
    src = photos(tmp_path / "in")
    summary = augmented(src, tmp_path / "out", recipe)

    assert np.array_equal(pixels(tmp_path / "out/cat/p000.png"), photo(0)[:, ::-1])
    assert "Normalize" in "".join(summary.told)
    assert yaml.safe_load((tmp_path / "out/recipe.yaml").read_text())["normalize"]
    loader = fiberaug.DataLoader(dataset(src, tmp_path, recipe), 6)
    expected = {r.key: r.to_dict() for r in next(iter(loader))["record"]}
    for line in records(tmp_path / "out").values():
        assert line["record"] == expected[line["record"]["key"]]


@pytest.mark.parametrize(
    "recipe",
    [[{"ToFloat": {}}, {"HorizontalFlip": {}}],
     [{"Normalize": {"normalization": "image"}}], [A.Normalize(), A.HorizontalFlip()]],
)  # fmt: skip
def test_floats_are_refused_before_anything_is_written(tmp_path, recipe):
    with pytest.raises(UsageError, match="float"):
        augmented(photos(tmp_path / "in"), tmp_path / "out", recipe)
    assert not (tmp_path / "out").exists()


def test_16_bits_stay_where_the_format_has_them(tmp_path):
    deep = (photo(0).astype(np.uint16) * 257)[..., ::-1]
    put(
        tmp_path / "in/a.png",
        fiberaug.decode.image.cv2.imencode(".png", deep)[1].tobytes(),
    )
    recipe = fiberaug.Recipe(
        cpu=({"HorizontalFlip": {"p": 1}},), decode={"depth": "keep"}
    )
    augmented(tmp_path / "in", tmp_path / "out", recipe)
    found = fiberaug.decode.image.cv2.imread(str(tmp_path / "out/a.png"), -1)

    assert found.dtype == np.uint16
    assert np.array_equal(found, deep[:, ::-1])
    with pytest.raises(UsageError, match="16 bits"):
        augmented(tmp_path / "in", tmp_path / "jpeg", recipe, encode="jpeg")


def test_the_recipe_is_written_as_it_was_given(tmp_path):
    augmented(photos(tmp_path / "in"), tmp_path / "out", RECIPE)

    again = fiberaug.Recipe.from_file(tmp_path / "out/recipe.yaml")
    assert again.to_dict() == RECIPE.to_dict()
    about = json.loads((tmp_path / "out/augment.json").read_text())
    assert about["environment"]["albumentations"] == A.__version__
    with pytest.raises(UsageError, match="no operation"):
        augmented(photos(tmp_path / "in"), tmp_path / "none", [])


def test_links_out_of_the_folder_are_passed_over(tmp_path):
    src = photos(tmp_path / "in")
    put(tmp_path / "secret.png", png(photo(77)))
    (src / "cat/link.png").symlink_to(tmp_path / "secret.png")
    (src / "cat/up").symlink_to(tmp_path)
    summary = augmented(src, tmp_path / "out")

    assert summary.photos == 6


def test_pictures_of_real_photos_replay(tmp_path):
    if not (DATA / "clothing-small").is_dir():
        pytest.skip("no ../shared/data")
    for i, path in enumerate(
        sorted((DATA / "clothing-small/test").rglob("*.jpg"))[::60]
    ):
        put(tmp_path / f"in/c{i % 2}" / path.name, path.read_bytes())
    recipe = fiberaug.Recipe(
        cpu=({"RandomResizedCrop": {"size": [64, 64]}}, {"ColorJitter": {"p": 1}})
    )
    augmented(tmp_path / "in", tmp_path / "out", recipe, encode="png", copies=2)
    source = dataset(tmp_path / "in", tmp_path, recipe)
    found = records(tmp_path / "out")
    assert len(found) >= 10
    for name, line in found.items():
        image = fiberaug.replay(line["record"], source)["image"]
        assert np.array_equal(
            image.permute(1, 2, 0).numpy(), pixels(tmp_path / "out" / name)
        )
