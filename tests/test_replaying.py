"""A record is enough to make the same pixels again, or to be told why not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch
from sets import samples

import fiberaug
from fiberaug.making import pixel_hash
from fiberaug.processors import Rotate
from fiberaug.replaying import replay_steps

PIPELINE = A.Compose(
    [
        A.RandomResizedCrop((24, 24)),
        A.OneOf([A.HorizontalFlip(p=1), A.Transpose(p=1)], p=0.7),
        A.SomeOf([A.ColorJitter(p=1), A.GaussNoise(p=1), A.GaussianBlur(p=1)], n=2),
        A.Normalize(),
    ]
)


@pytest.fixture
def run(write_set, tmp_path):
    """A loader with a log, and its batches of two epochs."""
    shards = write_set(30)
    loader = fiberaug.DataLoader(
        fiberaug.StreamingDataset(shards, transform=PIPELINE, seed=9),
        8,
        num_workers=1,
        log=tmp_path / "run",
    )
    batches = [batch for _ in range(2) for batch in loader]
    loader.close()
    return loader, batches, tmp_path / "run"


def test_every_row_of_two_epochs_is_replayed_bit_for_bit(run):
    loader, batches, _ = run
    for batch in batches:
        for i, record in enumerate(batch["record"]):
            sample = fiberaug.replay(record, loader)
            assert torch.equal(sample["image"], batch["image"][i])
            assert sample["label"] == int(batch["label"][i])
            assert sample.key == batch["__key__"][i]


@pytest.mark.parametrize("form", ["record", "dict", "json"])
@pytest.mark.parametrize("source", ["loader", "dataset", "folder"])
def test_a_record_in_any_form_is_replayed_from_any_source(run, form, source):
    loader, batches, folder = run
    record = batches[5]["record"][2]
    given = {
        "record": record,
        "dict": json.loads(record.to_json()),
        "json": record.to_json(),
    }
    place = {"loader": loader, "dataset": loader.dataset, "folder": folder}

    sample = fiberaug.replay(given[form], place[source])

    assert torch.equal(sample["image"], batches[5]["image"][2])


FRESH = """
import sys
import numpy as np
import fiberaug
record = open(sys.argv[1]).read()
np.save(sys.argv[2], fiberaug.replay(record, sys.argv[3])["image"].numpy())
"""


def test_a_fresh_process_replays_from_json_text_and_the_run_folder(run, tmp_path):
    _, batches, folder = run
    (tmp_path / "record.json").write_text(batches[1]["record"][4].to_json())
    subprocess.run(
        [sys.executable, "-c", FRESH, "record.json", "image.npy", str(folder)],
        cwd=tmp_path, check=True, env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},
    )  # fmt: skip

    assert np.array_equal(
        np.load(tmp_path / "image.npy"), batches[1]["image"][4].numpy()
    )


def test_the_command_writes_the_pixels_before_normalisation(run, tmp_path):
    import cv2

    loader, batches, folder = run
    record = batches[4]["record"][0]
    done = subprocess.run(
        [sys.executable, "-m", "fiberaug.cli.main", "replay", str(folder),
         "--key", record.key, "--epoch", "1", "-o", "out.png"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    image = cv2.cvtColor(cv2.imread(str(tmp_path / "out.png")), cv2.COLOR_BGR2RGB)

    assert np.array_equal(image, replay_steps(record, loader)[0]["image"])
    assert "RandomResizedCrop: " in done.stdout
    normalized = A.Normalize()(image=image)["image"]
    assert np.array_equal(normalized.transpose(2, 0, 1), batches[4]["image"][0].numpy())


def test_another_recipe_is_refused(run):
    loader, batches, _ = run
    path = loader.dataset.shard_set.refs[0].path
    other = fiberaug.StreamingDataset(
        str(Path(path).parent), transform=A.HorizontalFlip(), seed=9
    )
    with pytest.raises(fiberaug.ReplayMismatch, match="recipe"):
        fiberaug.replay(batches[0]["record"][0], other)


def test_other_data_under_the_same_name_is_refused(run, write_set):
    _, batches, _ = run
    moved = ({**s, "__key__": f"x{s['__key__']}"} for s in samples(30))
    other = fiberaug.StreamingDataset(
        write_set(moved, "moved"), transform=PIPELINE, seed=9
    )
    with pytest.raises(fiberaug.ReplayMismatch, match="no sample"):
        fiberaug.replay(batches[0]["record"][0], other)


def test_a_record_whose_parameters_were_changed_is_refused(run):
    loader, batches, _ = run
    data = json.loads(batches[0]["record"][0].to_json())
    data["applied_transforms"][0]["params"]["crop_coords"][0] += 1
    with pytest.raises(fiberaug.ReplayMismatch, match="crop_coords"):
        fiberaug.replay(data, loader)


def test_another_environment_is_said(run):
    loader, batches, _ = run
    data = json.loads(batches[0]["record"][0].to_json()) | {"environment": "0" * 16}
    with pytest.warns(UserWarning, match="another environment"):
        fiberaug.replay(data, loader)


def test_a_run_folder_that_moved_with_its_shards_is_replayed(run, tmp_path):
    loader, batches, folder = run
    old = Path(loader.dataset.shard_set.refs[0].path).parent
    old.rename(tmp_path / "elsewhere")
    from fiberaug.replaying import open_run

    with pytest.raises(fiberaug.StoreError):
        fiberaug.replay(batches[0]["record"][0], folder)
    there = open_run(folder, shards=str(tmp_path / "elsewhere"))
    again = fiberaug.replay(batches[0]["record"][0], there)
    assert torch.equal(again["image"], batches[0]["image"][0])


def test_a_seed_of_another_run_is_taken_from_the_record(run):
    loader, batches, _ = run
    path = str(Path(loader.dataset.shard_set.refs[0].path).parent)
    other = fiberaug.StreamingDataset(path, transform=PIPELINE, seed=1)
    sample = fiberaug.replay(batches[0]["record"][3], other)
    assert torch.equal(sample["image"], batches[0]["image"][3])


@pytest.mark.parametrize("record", ["{", "[]", '{"v": 2}', {"v": 1}])
def test_what_is_no_record_is_refused(run, record):
    with pytest.raises(fiberaug.UsageError):
        fiberaug.replay(record, run[0])


@pytest.fixture
def annotated(write_set, tmp_path):
    """A run over samples with masks, boxes and points; its records hash the pixels."""
    content = samples(
        6,
        mask=lambda i: np.full((40, 48), 1, np.uint8),
        bboxes=lambda i: np.array([[4, 4, 20, 30]]),
        bbox_labels=lambda i: [i % 2],
        keypoints=lambda i: [[10, 12]],
    )
    transform = [A.HorizontalFlip(p=1), Rotate(limit=20), A.Normalize()]
    dataset = fiberaug.StreamingDataset(
        write_set(content), transform=transform, pixel_hash=True, views=2
    )
    with fiberaug.DataLoader(dataset, 3, log=tmp_path / "run") as loader:
        batches = list(loader)
    return dataset, batches, tmp_path / "run"


def test_the_steps_of_a_sample_lead_from_the_decoded_to_the_delivered_image(annotated):
    _, batches, folder = annotated
    record = batches[0]["record"][1][1]
    fields, steps = replay_steps(record, folder)

    assert [(s.path, s.name) for s in steps] == [
        ("", "decoded"), ("0", "HorizontalFlip"), ("1", "Rotate"),
    ]  # fmt: skip
    decoded, flipped, turned = (s.fields for s in steps)
    assert np.array_equal(flipped["image"], decoded["image"][:, ::-1])
    assert flipped["bboxes"].round(3).tolist() == [[28, 4, 44, 30]]
    assert np.array_equal(turned["image"], fields["image"])
    assert np.array_equal(turned["bboxes"], batches[0]["bboxes"][1][1].numpy())


def test_the_command_writes_image_overlay_and_each_step(annotated, tmp_path):
    _, batches, folder = annotated
    record = batches[1]["record"][0][1]
    command = [sys.executable, "-m", "fiberaug.cli.main", "replay", str(folder)]
    done = subprocess.run(
        [*command, "--key", record.key, "--view", "1", "-o", "out.png"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert "1 bboxes, 1 keypoints" in done.stdout
    angle = record.applied_transforms[1].params["angle"]
    assert f"1 Rotate: angle={angle}" in done.stdout
    assert (tmp_path / "out.overlay.png").is_file()
    assert sorted(p.name for p in (tmp_path / "out.steps").iterdir()) == [
        "00-decoded.png", "01-HorizontalFlip.png", "02-Rotate.png",
    ]  # fmt: skip
    bare = subprocess.run(
        [*command, "--key", record.key, "-o", "bare.png", "--only-image"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "overlay" not in bare.stdout
    assert not (tmp_path / "bare.steps").exists()
    missing = subprocess.run(
        [*command, "--key", record.key, "--view", "2", "-o", "x.png"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert missing.returncode == 2
    assert "view 2" in missing.stderr


def test_a_hash_of_the_pixels_is_compared(annotated):
    dataset, batches, _ = annotated
    record = batches[0]["record"][0][0]
    pixels = replay_steps(record, dataset)[0]["image"]

    assert record.pixels == pixel_hash(pixels)
    changed = pixels.copy()
    changed[3, 4, 1] ^= 1
    assert pixel_hash(changed) != record.pixels
    assert pixel_hash(pixels.transpose(1, 0, 2)) != record.pixels
    other = json.loads(record.to_json()) | {"pixels": "0" * 16}
    with pytest.raises(fiberaug.ReplayMismatch, match="but its pixels differ"):
        fiberaug.replay(other, dataset)


@pytest.mark.filterwarnings("error")
def test_where_the_pixels_are_proven_another_environment_is_no_matter(annotated):
    dataset, batches, _ = annotated
    data = json.loads(batches[0]["record"][0][0].to_json()) | {"environment": "0" * 16}
    assert torch.equal(
        fiberaug.replay(data, dataset)["image"], batches[0]["image"][0][0]
    )
    with pytest.raises(fiberaug.ReplayMismatch, match=r"pixels differ; .* environment"):
        fiberaug.replay(data | {"pixels": "0" * 16}, dataset)


def test_from_a_run_folder_it_is_said_what_differs_in_the_environment(annotated):
    _, batches, folder = annotated
    data = json.loads(batches[0]["record"][0][0].to_json()) | {"environment": "0" * 16}
    del data["pixels"]
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["environment"] |= {"opencv": "4.12.0", "opencv_ipp": "off"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.warns(
        UserWarning, match=r"opencv: 4\.12\.0 then, .* here, opencv_ipp: off"
    ):
        fiberaug.replay(data, folder)


def test_records_without_a_hash_say_nothing_of_it(run):
    _, batches, _ = run
    assert batches[0]["record"][0].pixels is None
    assert "pixels" not in json.loads(batches[0]["record"][0].to_json())
