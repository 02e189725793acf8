"""A pipeline on an image that is not decoded yet does what it does on its pixels."""

import io

import albumentations as A
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sets import turned

import fiberaug.decode.pending as pending_module
from fiberaug.augment.cpu import CpuEngine
from fiberaug.augment.lazy import can_wait
from fiberaug.augment.pipeline import as_pipeline
from fiberaug.decode.header import ImageLimits, read_header
from fiberaug.decode.image import decode_image
from fiberaug.decode.pending import PendingImage
from fiberaug.seeding import key

NAMES = ["image", "mask", "masks", "bboxes", "bbox_labels", "keypoints"]
SIZE = (48, 40)
CROPS = {
    "RandomResizedCrop": A.RandomResizedCrop(SIZE),
    "RandomResizedCrop, sometimes": A.RandomResizedCrop(SIZE, p=0.5),
    "RandomResizedCrop, area": A.RandomResizedCrop(SIZE, area_for_downscale="image"),
    "RandomSizedCrop": A.RandomSizedCrop((30, 60), SIZE),
    "RandomSizedBBoxSafeCrop": A.RandomSizedBBoxSafeCrop(*SIZE),
    "BBoxSafeRandomCrop": A.BBoxSafeRandomCrop(erosion_rate=0.2),
    "AtLeastOneBBoxRandomCrop": A.AtLeastOneBBoxRandomCrop(*SIZE),
    "RandomCrop": A.RandomCrop(*SIZE),
    "RandomCrop, padded": A.RandomCrop(200, 40, pad_if_needed=True),
    "CenterCrop": A.CenterCrop(*SIZE),
    "Crop": A.Crop(3, 5, 40, 60),
    "CropNonEmptyMaskIfExists": A.CropNonEmptyMaskIfExists(*SIZE),
    "RandomCropFromBorders": A.RandomCropFromBorders(0.3, 0.3, 0.3, 0.3),
    "Resize": A.Resize(*SIZE),
    "SmallestMaxSize": A.SmallestMaxSize(40),
    "LongestMaxSize": A.LongestMaxSize(40),
}
CROP = CROPS["RandomResizedCrop"]
SHAPES = {
    "OneOf, first": [A.OneOf([CROP, A.Resize(*SIZE)], p=1), A.GaussNoise(p=1)],
    "OneOf, second": [A.HorizontalFlip(), A.OneOf([CROP, A.RandomCrop(30, 30)], p=1)],
    "SomeOf": [A.SomeOf([CROP, A.GaussNoise(p=1), A.VerticalFlip(p=1)], n=2, p=1)],
    "RandomOrder": [A.RandomOrder([CROP, A.RandomBrightnessContrast(p=1)], n=2, p=1)],
    "after a flip": [A.HorizontalFlip(p=0.5), CROP],
    "after a look": [A.Equalize(p=0.3), CROP, A.ColorJitter(p=1)],
    "nested": [A.Compose([A.Sequential([CROP], p=0.7), A.VerticalFlip()], p=0.8)],
    "twice": [A.RandomCrop(60, 60), A.RandomCrop(*SIZE), A.Normalize()],
    "never": [A.RandomResizedCrop(SIZE, p=0), A.Normalize()],
    "looks when it draws": [A.RandomToneCurve(p=0.5), A.Superpixels(p=0.2), CROP],
}
RECIPES = {name: [crop, A.HorizontalFlip()] for name, crop in CROPS.items()} | SHAPES


def jpeg(seed, height, width, orientation=1, *, gray=False, **options):
    shape = (height, width) if gray else (height, width, 3)
    noise = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    pixels = cv2.GaussianBlur(noise, (0, 0), 1.2)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=88, **options)
    return turned(stream.getvalue(), orientation)


def fields_of(data, seed, color="rgb"):
    pixels, _ = decode_image(data, limits=ImageLimits(), color=color)
    height, width = pixels.shape[:2]
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 0.5, (3, 2)) * [width, height]
    boxes = np.concatenate([low, low + rng.uniform(9, 60, (3, 2))], 1)
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2, width // 3 : width // 2] = 3
    return {
        "image": pixels,
        "mask": mask,
        "masks": np.stack([mask, 3 - mask, mask * 0]),
        "bboxes": boxes.astype(np.float32),
        "bbox_labels": np.arange(3),
        "keypoints": low.astype(np.float32),
    }


def state(engine):
    generators = engine._stages[0][2]._generators
    return generators.numpy.bit_generator.state, generators.python.getstate()


def equal(a, b):
    return a.keys() == b.keys() and all(
        np.asarray(a[name]).dtype == np.asarray(b[name]).dtype
        and np.array_equal(a[name], b[name])
        for name in a
    )


def both(engine, data, seed, *, sound=True, color="rgb"):
    """Run on pixels, then on a stand-in; return both, and the image that waited."""
    fields = fields_of(data, seed, color)
    keys = lambda stage: key(seed, 0, 5, 0, 0, stage)  # noqa: E731
    given = engine(fields, keys)
    before = state(engine)
    header, gray = read_header(data), color == "gray"
    image = PendingImage(data, header, sound=sound, gray=gray)
    waited = engine({**fields, "image": image.standin}, keys, image=image)
    assert state(engine) == before, "the generators went another way"
    return given, waited, image


@pytest.mark.parametrize("name", RECIPES)
def test_pixels_targets_log_and_draws_are_those_of_a_decoded_image(name):
    engine = CpuEngine(as_pipeline(A.Compose(RECIPES[name])), NAMES)
    assert engine.waits
    for seed in range(25):
        data = jpeg(seed, 90 + seed, 120 - seed, 1 + seed % 8, subsampling=seed % 3)
        given, waited, _ = both(engine, data, seed, sound=seed % 5 > 0)
        assert equal(given.fields, waited.fields)
        assert given.operations == waited.operations


@st.composite
def files(draw):
    """A JPEG of any kind, and the seed that it was made from."""
    seed, gray = draw(st.integers(0, 2**31)), draw(st.booleans())
    sides = draw(st.integers(61, 200)), draw(st.integers(61, 200))
    options = {} if gray else {"subsampling": draw(st.integers(0, 2))}
    options["progressive"] = draw(st.booleans())
    return jpeg(seed, *sides, draw(st.integers(1, 8)), gray=gray, **options), seed


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(list(RECIPES)), files())
def test_for_any_file_and_draw(name, file):
    engine = CpuEngine(as_pipeline(A.Compose(RECIPES[name])), NAMES)
    given, waited, _ = both(engine, *file)
    assert equal(given.fields, waited.fields)
    assert given.operations == waited.operations


@pytest.mark.parametrize("name", CROPS)
def test_as_luma(name):
    engine = CpuEngine(as_pipeline(A.Compose(RECIPES[name])), NAMES)
    for seed in range(6):
        data = jpeg(seed, 90 + seed, 120, 1 + seed, gray=seed == 2)
        given, waited, _ = both(engine, data, seed, sound=seed % 2 > 0, color="gray")
        assert given.fields["image"].shape[2] == 1
        assert equal(given.fields, waited.fields)


def test_a_crop_decodes_its_window_and_nothing_else_does(monkeypatch):
    asked = []
    original = pending_module.decode_part

    def noted(data, header, window, **options):
        found = original(data, header, window, **options)
        asked.append(found is not None)
        return found

    monkeypatch.setattr(pending_module, "decode_part", noted)
    data = jpeg(1, 160, 160, restart_marker_rows=1)
    crop = A.CenterCrop(40, 40)
    for recipe, parts in (([crop], [True]), ([A.HorizontalFlip(p=1), crop], [False])):
        asked.clear()
        both(CpuEngine(as_pipeline(A.Compose(recipe)), NAMES), data, 3)
        assert asked == parts
    asked.clear()
    both(CpuEngine(as_pipeline(A.Compose([crop])), NAMES), data, 3, sound=False)
    assert asked == [], "a part of a file of which nothing is known"


def test_the_windows_of_all_views_are_decoded_at_once():
    data = jpeg(1, 160, 160, restart_marker_rows=1)
    engine = CpuEngine(as_pipeline(A.Compose([A.RandomCrop(20, 20)])), NAMES)
    fields = fields_of(data, 1)
    image = PendingImage(data, read_header(data), sound=True)
    waiting = {**fields, "image": image.standin}
    keys = [lambda stage, v=v: key(0, 0, 5, 0, v, stage) for v in range(3)]
    boxes = [engine.reach(waiting, k, image) for k in keys]
    image.hold(boxes)
    held = image._held
    x0, y0, x1, y1 = held.window
    assert (x1 - x0, y1 - y0) < (160, 160)
    for k, box in zip(keys, boxes, strict=True):
        again = engine(waiting, k, image=image).fields
        assert image._held is held, "it was decoded once more"
        assert np.array_equal(again["image"], engine(fields, k).fields["image"])
        crop = fields["image"][box[1] : box[3], box[0] : box[2]]
        assert np.array_equal(again["image"], crop)


class _Looks(A.ImageOnlyTransform):
    """Draws by the pixels."""

    def get_params_dependent_on_data(self, params, data):
        return {"level": int(data["image"].mean())}

    def apply(self, img, level=0, **params):
        return np.full_like(img, level)


class _TakesOver(A.ImageOnlyTransform):
    """Does not go through what is hooked."""

    def __call__(self, *args, force_apply=False, **kwargs):
        return {**kwargs, "image": kwargs["image"] // 2}


def test_a_transform_of_the_users_that_looks_when_it_draws_sees_pixels():
    engine = CpuEngine(as_pipeline(A.Compose([_Looks(p=1), CROP])), NAMES)
    given, waited, _ = both(engine, jpeg(4, 99, 99), 4)
    assert waited.fields["image"].any()
    assert equal(given.fields, waited.fields)


@pytest.mark.parametrize(
    "recipe",
    [
        [_TakesOver(p=1), CROP],
        [A.SelectiveChannelTransform([A.GaussNoise(p=1)], channels=[0], p=1), CROP],
        [A.GaussNoise(p=1), A.HorizontalFlip()],
    ],
)
def test_what_could_take_the_stand_in_for_pixels_gets_pixels(recipe):
    assert not can_wait(A.Compose(recipe))
    assert not CpuEngine(as_pipeline(A.Compose(recipe)), NAMES).waits
