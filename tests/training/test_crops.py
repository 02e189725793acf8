"""Laws of the transform that cuts windows, decoded or not."""

import json

import albumentations as A
import numpy as np
import pytest
from sets import photo

import fiberaug
from fiberaug.augment.cpu import CpuEngine
from fiberaug.augment.pipeline import as_pipeline
from fiberaug.augment.replayable import why_not_replayable
from fiberaug.augment.spec import foreign
from fiberaug.jobs.encoding import encode_image
from fiberaug.training.crops import TrainingWindow, recorded_place
from fiberaug.training.windows import Crop, place_of

CUTS = (
    Crop(size=(16, 24), flip=True),
    Crop(size=(16, 24), scales=(1, None), flip=True),
    Crop(size=(16, 24), scales=(2, 3)),
    Crop(size=(200, 240), scales=(1, None)),
)


def jpegs(count: int):
    for i in range(count):
        yield {"__key__": f"k{i}", "jpg": encode_image(photo(i, 150, 260), "jpeg")}


@pytest.mark.parametrize("crop", CUTS)
@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_a_window_of_an_undecoded_photo_is_that_of_the_decoded_one(
    write_set, crop, color
) -> None:
    data = write_set(jpegs(12))
    decode = {"color": color}
    whole = fiberaug.StreamingDataset(data, train=False, decode=decode)
    photos = {row["__key__"]: row["image"].permute(1, 2, 0).numpy() for row in whole}
    dataset = fiberaug.StreamingDataset(
        data, train=False, decode=decode, transform=TrainingWindow.of(crop)
    )
    assert CpuEngine(dataset.pipeline, ["image"]).waits
    loader = fiberaug.DataLoader(dataset, batch_size=12)
    flips = set()
    for _ in range(2):  # at first photos are decoded in whole, to know that they are
        (batch,) = loader
        rows = zip(batch["__key__"], batch["image"], batch["record"], strict=True)
        for key, image, record in rows:
            drawn = record.applied_transforms[-1].params
            window = crop.draw(photos[key].shape[:2], (0, 0, 0, 0))
            x_min, y_min, x_max, y_max = drawn["crop_coords"]
            window = window._replace(
                x_min=x_min, y_min=y_min, x_max=x_max, y_max=y_max,
                flipped=drawn["flipped"],
            )  # fmt: skip
            flips.add(window.flipped)
            wanted = crop.cut(photos[key], window)
            np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), wanted)
            place = place_of(window, photos[key].shape[:2], crop.size)
            assert recorded_place(record, crop.size) == place
    assert flips == ({False, True} if crop.flip else {False})


def test_the_transform_is_the_librarys_own_and_needs_no_guard_around_it() -> None:
    assert foreign(A.Compose([TrainingWindow.of(CUTS[0])])) == []


def test_the_transform_is_rebuilt_from_what_is_written_of_it() -> None:
    for crop in CUTS:
        pipeline = as_pipeline(A.Compose([TrainingWindow.of(crop)]))
        assert why_not_replayable(pipeline) is None
        assert json.dumps(pipeline.identity())
        assert TrainingWindow.of(crop).crop == crop


def test_a_sample_is_replayed_from_its_record(write_set) -> None:
    data = write_set(jpegs(4))
    crop = TrainingWindow.of(CUTS[1])
    loader = fiberaug.DataLoader(
        fiberaug.StreamingDataset(data, transform=crop), batch_size=4
    )
    (batch,) = loader
    for row, record in enumerate(batch["record"]):
        again = fiberaug.replay(record, loader)["image"]
        assert (again == batch["image"][row]).all()
