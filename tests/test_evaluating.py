"""Outside of the loader a recipe gives the loader's pixels."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from sets import photo, samples

import fiberaug

EVALUATION = """
version: 1
cpu:
  - SmallestMaxSize: {max_size: 36}
  - CenterCrop: {height: 32, width: 32}
normalize: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}
"""
TRAINING = """
version: 1
cpu:
  - RandomResizedCrop: {size: [32, 32]}
  - OneOf: {p: 0.8, transforms: [{ColorJitter: {p: 1}}, {GaussNoise: {p: 1}}]}
normalize: {mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2]}
"""


def number(key):
    return int(key[1:])


def batch_of(shards, recipe, **options):
    dataset = fiberaug.StreamingDataset(shards, transform=recipe, **options)
    (batch,) = fiberaug.DataLoader(dataset, 12)
    return batch


def test_an_image_gets_the_pixels_of_the_evaluation_loader(write_set):
    recipe = fiberaug.Recipe.parse(EVALUATION)
    batch = batch_of(write_set(12), recipe, train=False)
    evaluate = recipe.eval()
    for row, key in enumerate(batch["__key__"]):
        assert torch.equal(evaluate(photo(number(key))), batch["image"][row])


def test_bytes_paths_and_pil_images_are_decoded_as_in_the_loader(tmp_path):
    evaluate = fiberaug.Recipe.parse(EVALUATION).eval()
    image = Image.fromarray(photo(1))
    exif = image.getexif()
    exif[0x0112] = 6
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    (tmp_path / "turned.png").write_bytes(file.getvalue())
    upright = np.ascontiguousarray(np.rot90(photo(1), -1))
    expected = evaluate(upright)

    assert torch.equal(evaluate(file.getvalue()), expected)
    assert torch.equal(evaluate(tmp_path / "turned.png"), expected)
    assert torch.equal(evaluate(str(tmp_path / "turned.png")), expected)
    assert torch.equal(evaluate(Image.open(file)), expected)


def test_the_decode_section_counts():
    recipe = fiberaug.Recipe(decode={"color": "gray"})
    file = io.BytesIO()
    Image.fromarray(photo(1)).save(file, "PNG")

    assert recipe.eval()(file.getvalue()).shape == (1, 40, 48)


def test_annotations_go_along():
    evaluate = fiberaug.Recipe.parse(EVALUATION).eval()
    mask = (photo(0)[..., 0] > 128).astype(np.uint8)
    boxes = np.array([[0, 0, 48, 40]], np.float32)
    out = evaluate(photo(0), mask=mask, bboxes=boxes, bbox_labels=np.array([3]))

    assert out["mask"].shape == out["image"].shape[1:] == (32, 32)
    assert out["bboxes"].tolist() == [[0, 0, 32, 32]]
    assert torch.equal(out["image"], evaluate(photo(0)))


def test_a_recipe_that_draws_needs_a_record_and_then_gives_that_samples_pixels(
    write_set,
):
    recipe = fiberaug.Recipe.parse(TRAINING)
    batch = batch_of(write_set(samples(12)), recipe, seed=5)
    evaluate = recipe.eval()
    with pytest.raises(fiberaug.UsageError, match=r"RandomResizedCrop.*give record="):
        evaluate(photo(0))
    for row, record in enumerate(batch["record"]):
        image = evaluate(photo(number(record.key)), record=record)
        assert torch.equal(image, batch["image"][row])


def test_an_operation_that_is_applied_now_and_then_is_noticed():
    recipe = fiberaug.Recipe(cpu=({"HorizontalFlip": {"p": 0.5}},))
    with pytest.raises(fiberaug.UsageError, match="number of operations"):
        recipe.eval()(photo(0))


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (b"no image", fiberaug.SampleBroken),
        ("/no/such/file.png", fiberaug.StoreError),
        (np.zeros(3), fiberaug.UsageError),
    ],
    ids=["bytes", "path", "shape"],
)
def test_what_is_no_image_is_said(image, error):
    with pytest.raises(error):
        fiberaug.Recipe.parse(EVALUATION).eval()(image)
