"""Policies on single images: Pillow's pixels, annotations along, recorded, replayed."""

import json
import subprocess
import sys
from fractions import Fraction

import albumentations as A
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from sets import photo, samples

import fiberaug
from fiberaug import transforms
from fiberaug.augment.build import build_operations
from fiberaug.augment.pipeline import as_pipeline
from fiberaug.augment.replayable import why_not_replayable
from fiberaug.magnitudes import OPERATIONS

LAW = settings(deadline=None, max_examples=40)
H, W = 60, 84
ALL = sorted(transforms.__all__)
FACTORS = ["Brightness", "Color", "Contrast", "Sharpness"]
MOVING = ["ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"]
GRADIENT = np.linspace(40, 215, W * 3)[None].repeat(H, 0).reshape(H, W, 3)
IMAGE = ((GRADIENT + photo(3, H, W)) / 2).astype(np.uint8)
GRAY = np.ascontiguousarray(IMAGE[..., :1])


def made(name, **arguments):
    return getattr(transforms, name)(**{"p": 1, **arguments})


def run(steps, image=IMAGE, **arguments):
    """The image after given operations."""
    names, magnitudes = zip(*steps, strict=True)
    policy = made("RandAugment", **arguments)
    return policy.apply(image, operations=names, magnitudes=magnitudes)


def theirs(name, share, minus, image=IMAGE):
    """What Pillow makes of an image, at the share of the wide space's strength."""
    picture = Image.fromarray(image.squeeze())
    sign = -1 if minus else 1
    if name in FACTORS:
        enhancer = getattr(ImageEnhance, name)(picture)
        return enhancer.enhance(1 + sign * 0.99 * float(share))
    slope, shift = sign * 0.99 * float(share), sign * int(32 * share)
    data = {
        "ShearX": (1, slope, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, slope, 1, 0),
        "TranslateX": (1, 0, -shift, 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, -shift),
    }
    if name in data:
        return picture.transform(picture.size, Image.Transform.AFFINE, data[name])
    return {
        "Identity": lambda: picture,
        "Rotate": lambda: picture.rotate(sign * 135 * float(share)),
        "Posterize": lambda: ImageOps.posterize(picture, 8 - round(6 * share)),
        "Solarize": lambda: ImageOps.solarize(picture, 255 * (1 - share)),
        "AutoContrast": lambda: ImageOps.autocontrast(picture),
        "Equalize": lambda: ImageOps.equalize(picture),
        "Invert": lambda: ImageOps.invert(picture),
    }[name]()


def ours(name, share, minus, image=IMAGE):
    sign = -1 if minus else 1
    magnitude = {
        "Posterize": 8 - round(6 * share),
        "Solarize": float(1 - share),
        "Rotate": sign * 135 * float(share),
        "TranslateX": sign * int(32 * share),
        "TranslateY": sign * int(32 * share),
    }.get(name, sign * 0.99 * float(share))
    return run([(name, magnitude)], image)


# ---- pixels --------------------------------------------------------------------------


@pytest.mark.parametrize("image", [IMAGE, GRAY], ids=["rgb", "gray"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_has_pillows_pixels_at_each_bin(name, image):
    changed = 0
    idle = {"Identity", "Color"} if image is GRAY else {"Identity"}
    for bin_ in range(31):
        for minus in (False, True):
            share = Fraction(bin_, 30)
            expected = np.asarray(theirs(name, share, minus, image))
            found = ours(name, share, minus, image)
            assert found.dtype == np.uint8
            assert found.shape == image.shape
            differ = (found.squeeze() != expected).sum()
            # Pillow writes a rotation's offset down otherwise: in the last bit.
            assert differ <= (found.size // 1000 if name == "Rotate" else 0), bin_
            changed += not np.array_equal(found, image)
    assert (changed == 0) == (name in idle)


def test_the_steps_run_in_order_and_the_input_is_left_alone():
    before = IMAGE.copy()
    steps = [("Rotate", 20.0), ("Invert", 0.0), ("TranslateX", 9.0)]
    one = IMAGE
    for step in steps:
        one = run([step], one)

    assert np.array_equal(run(steps), one)
    assert not np.array_equal(run(steps[::-1]), one)
    assert np.array_equal(IMAGE, before)


@pytest.mark.parametrize("fill", [77, (10, 200, 30), [5]])
def test_what_comes_from_outside_has_the_fill(fill):
    out = run([("TranslateX", 10.0)], fill=fill)
    assert (out[:, :10] == np.array(fill)).all()
    assert np.array_equal(out[:, 10:], IMAGE[:, :-10])


def test_bilinear_is_pillows():
    data = 1, 0.3, 0, 0, 1, 0
    bilinear = Image.Resampling.BILINEAR
    expected = Image.fromarray(IMAGE).transform(
        (W, H), Image.Transform.AFFINE, data, bilinear
    )
    found = run([("ShearX", 0.3)], interpolation="bilinear")
    assert np.array_equal(found, np.asarray(expected))


# ---- masks, boxes, points ------------------------------------------------------------

moves = st.one_of(
    st.tuples(st.sampled_from(["ShearX", "ShearY"]), st.floats(-0.3, 0.3)),
    st.tuples(st.sampled_from(["TranslateX", "TranslateY"]), st.integers(-9, 9)),
    st.tuples(st.just("Rotate"), st.floats(-30, 30)),
)


class Fixed(transforms.RandAugment):
    """RandAugment that draws what a test says."""

    steps = (("Identity", 0.0),)

    def get_params_dependent_on_data(self, params, data):
        names, magnitudes = zip(*self.steps, strict=True)
        return {"operations": names, "magnitudes": magnitudes}


def moved(steps, **fields):
    policy = Fixed(fill_mask=9, p=1)
    policy.steps = steps
    compose = A.Compose(
        [policy],
        bbox_params=A.BboxParams("pascal_voc", clip=True),
        keypoint_params=A.KeypointParams("xy", remove_invisible=False),
    )
    return compose(**fields)


@LAW
@given(st.lists(moves, min_size=1, max_size=3))
def test_a_mask_moves_as_the_image_to_the_pixel(steps):
    mask = IMAGE[..., 0] | 16  # no pixel has the fill of masks
    image = mask[..., None].repeat(3, 2)
    out = moved(steps, image=image, mask=mask, masks=np.stack([mask, mask]))
    filled = out["mask"] == 9

    assert (out["mask"] >= 9).all()
    assert np.array_equal(out["mask"][~filled], out["image"][..., 0][~filled])
    assert (out["image"][filled] == 0).all()
    assert all(np.array_equal(m, out["mask"]) for m in out["masks"])
    wide = moved(steps, image=image, mask=mask.astype(np.int32) * 1000)
    assert np.array_equal(
        wide["mask"][~filled], out["mask"].astype(np.int32)[~filled] * 1000
    )


@LAW
@given(st.lists(moves, min_size=1, max_size=2))
def test_a_box_is_the_upright_box_of_what_it_holds(steps):
    image = np.zeros((H, W, 3), np.uint8)
    image[24:34, 36:50] = 255
    boxes, points = np.array([[36, 24, 50, 34]], float), np.array([[42.5, 28.5]])
    out = moved(steps, image=image, bboxes=boxes, keypoints=points)
    y, x = np.nonzero(out["image"][..., 0])
    (box,), (point,) = out["bboxes"], out["keypoints"]

    # Each step takes the nearest pixel: half a pixel off, and a corner may be lost.
    near = 1.2 * len(steps) + 0.8
    assert np.abs(box - [x.min(), y.min(), x.max() + 1, y.max() + 1]).max() <= near
    assert np.abs(point - [x.mean(), y.mean()]).max() <= near / 2


def test_colours_leave_masks_boxes_and_points_as_they_are():
    boxes, points = np.array([[3.1, 4.7, 33.3, 20.9]]), np.array([[5.5, 6.5]])
    mask = IMAGE[..., 1]
    out = moved(
        [("Equalize", 0), ("Color", 0.4)],
        image=IMAGE, mask=mask, bboxes=boxes, keypoints=points,
    )  # fmt: skip
    assert np.array_equal(out["mask"], mask)
    assert np.allclose(out["bboxes"], boxes, atol=1e-4)
    assert np.array_equal(out["keypoints"], points)


def test_augmix_refuses_what_it_cannot_move():
    compose = A.Compose([made("AugMix")])
    with pytest.raises(fiberaug.UsageError, match="no place for mask: RandAugment"):
        compose(image=IMAGE, mask=IMAGE[..., 0])


@pytest.mark.parametrize("name", ["RandAugment", "AugMix"])
@pytest.mark.parametrize("image", [IMAGE / np.float32(255), IMAGE[..., :2]])
def test_images_that_pillow_does_not_take_are_refused_with_a_remedy(name, image):
    with pytest.raises(fiberaug.UsageError, match="uint8 images of 1 or 3 channels"):
        A.Compose([made(name)])(image=np.ascontiguousarray(image))


# ---- AugMix, random erasing ----------------------------------------------------------


@LAW
@given(st.integers(0, 999))
def test_augmix_is_the_mean_that_its_record_says(seed):
    policy = made("AugMix", mixture_width=2)
    policy.set_random_seed(seed)
    out = policy(image=IMAGE)["image"]
    drawn = policy.params
    own, *weights = drawn["weights"]
    mean = own * IMAGE.astype(float)
    chains = zip(drawn["operations"], drawn["magnitudes"], weights, strict=True)
    for names, magnitudes, weight in chains:
        steps = zip(names, magnitudes, strict=True)
        mean += weight * run(list(steps), interpolation="bilinear")

    assert np.abs(out - mean).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("value", [0, 90.0, [9, 99, 199], "random"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_erasing_changes_the_rectangle_of_the_record_and_nothing_else(value, dtype):
    image = IMAGE if dtype == np.uint8 else IMAGE / np.float32(255)
    policy = made("RandomErasing", value=value)
    policy.set_random_seed(5)
    out = policy(image=image)["image"]
    top, left, height, width = policy.params["box"]
    hole = np.zeros((H, W), bool)
    hole[top : top + height, left : left + width] = True

    assert out.dtype == dtype
    assert height * width > 0
    assert np.array_equal(out[~hole], image[~hole])
    levels = out[hole] * (255 if dtype == np.float32 else 1)
    if value == "random":
        assert levels.std() == pytest.approx(256 / 12**0.5, rel=0.1)
        assert len(np.unique(np.rint(levels))) > 200
        channels = np.corrcoef(levels.T)
        assert np.abs(channels - np.eye(3)).max() < 0.2
    else:
        assert np.allclose(levels, value, atol=1e-4)


def test_noise_follows_from_the_seed_of_the_record():
    policy = made("RandomErasing", value="random")
    box = (4, 5, 30, 40)
    one, same, other = (policy.apply(IMAGE, box=box, noise_seed=s) for s in (1, 1, 2))
    assert np.array_equal(one, same)
    assert (one != other)[4:34, 5:45].mean() > 0.9


# ---- arguments, recipes --------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_a_transform_is_made_again_from_its_spec_and_from_its_serialised_form(name):
    more = {"value": (1, 2, 3)} if name == "RandomErasing" else {"fill": (1, 2, 3)}
    policy = made(name, **more, p=0.25)
    spec = json.loads(json.dumps(policy.spec()))
    (again,) = build_operations([spec])
    compose = A.Compose([policy])
    form = A.to_dict(compose)

    assert spec[name]["p"] == 0.25
    assert list(*more.values()) in spec[name].values()
    assert again.spec() == policy.spec()
    assert A.to_dict(A.from_dict(form)) == form
    assert why_not_replayable(as_pipeline([A.HorizontalFlip(), policy])) is None


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ({"RandAugment": {"num_op": 1}}, "did you mean 'num_ops'"),
        ({"RandAugment": {"num_ops": 17}}, "1 to 16, got 17"),
        ({"RandAugment": {"interpolation": "cubic"}}, "bilinear or nearest, got"),
        ({"RandAugment": {"fill": [1, 2]}}, "each of 1 or 3 channels"),
        ({"TrivialAugmentWide": {"fill": 256}}, "from 0 to 255"),
        ({"AutoAugment": {"policy": "imagenet"}}, "no argument 'policy'"),
        ({"AugMix": {"all_ops": 1}}, "true or false, got 1"),
        ({"RandomErasing": {"value": "pixel"}}, "takes a number or random"),
        ({"RandomErasing": {"scale": [0.2, 0.1]}}, "rise"),
        ({"RandomErasing": {"p": 2}}, "p must be from 0 to 1, got 2"),
    ],
)
def test_a_recipe_with_a_wrong_argument_is_refused(operation, words):
    with pytest.raises(fiberaug.UsageError, match=words):
        build_operations([operation])


def test_a_wrong_argument_in_code_is_a_usage_error():
    for wrong in ({"p": 2}, {"fill": "red"}, {"fill_mask": 1e9}, {"magnitude": -1}):
        with pytest.raises(fiberaug.UsageError, match="must be"):
            transforms.RandAugment(**wrong)


def test_the_namespace_has_its_names_and_no_others():
    assert dir(transforms) == transforms.__all__ == ALL
    with pytest.raises(AttributeError, match="Mosaic"):
        _ = transforms.Mosaic


# ---- through the loader --------------------------------------------------------------

RECIPE = """
version: 1
cpu:
  - CenterCrop: {height: 32, width: 32}
  - NAME: {p: 0.75}
"""


@pytest.mark.parametrize("name", ALL)
def test_a_loader_records_and_replays_each_image(name, write_set):
    recipe = fiberaug.Recipe.parse(RECIPE.replace("NAME", name))
    shards = write_set(24)
    runs = []
    for workers in (0, 2):
        dataset = fiberaug.StreamingDataset(shards, transform=recipe, seed=7)
        loader = fiberaug.DataLoader(dataset, 8, num_workers=workers)
        batches = list(loader)
        records = [record for batch in batches for record in batch["record"]]
        images = [image for batch in batches for image in batch["image"].numpy()]
        runs.append((records, images))
    assert all(map(np.array_equal, runs[0][1], runs[1][1]))

    seen = set()
    for record, image in zip(*runs[0], strict=True):
        assert record.replayable
        again = fiberaug.replay(record, loader)
        assert np.array_equal(again["image"], image)
        last = record.applied_transforms[-1]
        if last.name == name:
            json.dumps(last.params)
            seen.add(str(last.params.get("operations", last.params.get("box"))))
    assert 8 <= len(seen) <= 24  # drawn for each image


def test_what_the_record_says_makes_the_pixels(write_set):
    dataset = fiberaug.StreamingDataset(
        write_set(12), transform=made("RandAugment", magnitude=20), seed=1
    )
    bare = fiberaug.StreamingDataset(write_set(12, "bare"), seed=1)
    for sample, plain in zip(dataset, bare, strict=True):
        record = json.loads(sample["record"])
        (applied,) = record["applied_transforms"]
        params = applied["params"]
        steps = zip(params["operations"], params["magnitudes"], strict=True)
        image = np.ascontiguousarray(plain["image"].numpy().transpose(1, 2, 0))
        again = run(list(steps), image)
        assert np.array_equal(sample["image"].numpy().transpose(1, 2, 0), again)


def test_boxes_and_masks_go_through_a_loader(write_set):
    extra = {
        "bboxes": lambda _: np.array([[10, 10, 30, 25]], np.float32),
        "bbox_labels": lambda _: np.array([1]),
        "mask": lambda i: (photo(i)[..., 0] > 99).astype(np.uint8),
    }
    dataset = fiberaug.StreamingDataset(
        write_set(samples(8, **extra)), transform=made("TrivialAugmentWide"), seed=2
    )
    moved_some = 0
    for batch in fiberaug.DataLoader(dataset, 4):
        for record, boxes in zip(batch["record"], batch["bboxes"], strict=True):
            (name,) = record.applied_transforms[-1].params["operations"]
            same = np.allclose(boxes, [[10, 10, 30, 25]], atol=1e-3)
            assert same or name in MOVING
            moved_some += not same
    assert moved_some


FRESH = """
import sys

import numpy as np

import fiberaug

folder, record = sys.argv[1:]
sample = fiberaug.replay(fiberaug.Record.from_json(record), folder)
sys.stdout.buffer.write(np.ascontiguousarray(sample["image"]).tobytes())
"""


def test_a_run_folder_is_enough_for_another_process(write_set, tmp_path):
    policies = [made("RandAugment"), made("RandomErasing", value="random")]
    dataset = fiberaug.StreamingDataset(write_set(12), transform=policies)
    with fiberaug.DataLoader(dataset, 12, log=tmp_path / "run") as loader:
        (batch,) = list(loader)
    command = [sys.executable, "-c", FRESH, str(tmp_path / "run")]
    text = batch["record"][5].to_json()
    done = subprocess.run([*command, text], check=True, capture_output=True)

    assert done.stdout == np.ascontiguousarray(batch["image"][5]).tobytes()


def test_code_of_ours_is_no_part_of_the_identity_of_a_recipe():
    """Another release may write it otherwise; what it does stands in the name."""
    for name in ALL:
        assert "sources" not in as_pipeline(made(name)).identity()
    assert "sources" in as_pipeline(Fixed(p=1)).identity()
