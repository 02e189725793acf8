"""Your own operations: on samples, and on a folder a file at a time."""

import json

import albumentations as A
import numpy as np
import pytest
import torch
from sets import photo, samples

import fiberaug
from fiberaug.decode.image import save_image
from fiberaug.processing import LOG
from fiberaug.processors import ChangeCase, Flip, Rotate, ShiftScaleRotate


class Dim(fiberaug.ImageProcessor):
    """Of the old kind: places first, and a draw from the generator."""

    def __init__(self, input_path=None, output_path=None, least=0.5):
        super().__init__(input_path, output_path)
        self.least = least

    def _process(self, image):
        self.factor = float(self.rng.uniform(self.least, 1))
        return (image * self.factor).astype(np.uint8)

    def _process_info(self):
        return {"factor": self.factor}


class Halve(fiberaug.ImageProcessor):
    def _process(self, image):
        return image[::2, ::2]


def boxes(i):
    return np.array([[4, 4, 20, 30]])


def test_a_processor_runs_in_a_loader_is_recorded_and_replayed(write_set, tmp_path):
    shards = write_set(20)
    dataset = fiberaug.StreamingDataset(
        shards, transform=[A.HorizontalFlip(), Dim(least=0.2), A.Normalize()], seed=4
    )
    with fiberaug.DataLoader(dataset, 5, num_workers=2, log=tmp_path / "run") as loader:
        batches = list(loader)
    drawn = set()
    for batch in batches:
        for row, record in enumerate(batch["record"]):
            names = [step.name for step in record.applied_transforms]
            assert names[-2:] == ["Dim", "Normalize"]
            drawn.add(record.applied_transforms[-2].params["factor"])
            assert record.replayable
            for source in (loader, tmp_path / "run"):
                again = fiberaug.replay(record.to_json(), source)
                assert torch.equal(again["image"], batch["image"][row])
    assert len(drawn) == 20


def test_a_processor_that_changed_since_the_run_is_refused(write_set, tmp_path):
    def define(text):
        space = {"fiberaug": fiberaug, "__name__": "elsewhere"}
        exec(  # noqa: S102  # a module that was edited
            "class Edited(fiberaug.ImageProcessor):\n"
            f"    def _process(self, image):\n        return {text}\n",
            space,
        )
        return space["Edited"]

    first = define("image")
    dataset = fiberaug.StreamingDataset(write_set(4), transform=first())
    with fiberaug.DataLoader(dataset, 4, log=tmp_path / "run") as loader:
        record = next(iter(loader))["record"][0]
    assert fiberaug.replay(record, tmp_path / "run").key == record.key
    second = define("image // 2")
    assert second is not first
    with pytest.raises(fiberaug.FiberAugError, match="source"):
        fiberaug.replay(record, tmp_path / "run")


def test_a_size_that_changes_under_boxes_is_an_error_that_names_the_hook(write_set):
    shards = write_set(samples(3, bboxes=boxes), name="boxes")
    loader = fiberaug.DataLoader(fiberaug.StreamingDataset(shards, transform=Halve()))
    with pytest.raises(
        fiberaug.UsageError, match="bboxes: move them along in _process"
    ):
        next(iter(loader))
    plain = fiberaug.StreamingDataset(write_set(3), transform=Halve())
    image = next(iter(fiberaug.DataLoader(plain)))["image"]
    assert image.shape[2:] == (20, 24)


def test_a_processor_that_says_nothing_says_what_to_define(write_set):
    class Nothing(fiberaug.ImageProcessor):
        pass

    dataset = fiberaug.StreamingDataset(write_set(2), transform=Nothing())
    with pytest.raises(NotImplementedError, match="must define _process"):
        next(iter(fiberaug.DataLoader(dataset)))


@pytest.fixture
def folders(tmp_path):
    """A folder of two photos, and one that does not exist."""
    (tmp_path / "in/sub").mkdir(parents=True)
    for i, name in enumerate(("a.png", "sub/b.png")):
        save_image(tmp_path / "in" / name, photo(i))
    return tmp_path / "in", tmp_path / "out"


def pixels(path):
    return fiberaug.Recipe().eval()(path).permute(1, 2, 0).numpy()


def test_files_are_processed_one_at_a_time_by_seed_and_name(folders):
    source, target = folders
    dim = Dim(source, target, least=0.1)
    first = {name: dim.process(name) for name in ("a.png", "sub/b.png")}

    assert first == {name: target / name for name in first}
    once = {name: pixels(path) for name, path in first.items()}
    for name in reversed(first):  # in another order, by another object
        Dim(str(source), str(target), 0.1).process(name)
        assert np.array_equal(pixels(first[name]), once[name])
    dim.process("a.png", seed=5)
    assert not np.array_equal(pixels(first["a.png"]), once["a.png"])


def test_the_operation_log_says_what_was_done_to_each_file(folders):
    source, target = folders
    Dim(source, target).process("a.png", seed=3)
    line = json.loads((target / LOG).read_text())

    assert line["file"] == "a.png"
    assert line["params"] == {"least": 0.5}
    assert line["seed"] == 3
    expected = (photo(0) * line["info"]["factor"]).astype(np.uint8)
    assert np.array_equal(pixels(target / "a.png"), expected)
    assert sorted(p.name for p in target.iterdir()) == ["a.png", LOG]


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("../a.png", fiberaug.UsageError, "must lie inside of input_path"),
        ("/etc/hosts", fiberaug.UsageError, "must lie inside of input_path"),
        ("none.png", fiberaug.StoreError, "cannot read"),
        ("text.png", fiberaug.SampleBroken, "no image"),
    ],
)
def test_a_file_that_is_none_is_said(folders, name, error, words):
    source, target = folders
    (source / "text.png").write_text("hello")
    with pytest.raises(error, match=words):
        Dim(source, target).process(name)
    assert not target.exists()


def test_without_places_files_are_refused(folders):
    with pytest.raises(fiberaug.UsageError, match="give Dim an input_path"):
        Dim().process("a.png")
    with pytest.raises(fiberaug.UsageError, match="give Dim an output_path"):
        Dim(folders[0]).process("a.png")


def test_texts_are_processed_in_samples_and_in_files(write_set, tmp_path):
    content = samples(6, caption=lambda i: f"Cable {i}")
    dataset = fiberaug.StreamingDataset(
        write_set(content), transform=ChangeCase(case="random"), seed=1
    )
    loader = fiberaug.DataLoader(dataset, 6)
    (batch,) = loader
    changes = {"upper": str.upper, "lower": str.lower, "title": str.title}
    changes["swapcase"] = str.swapcase
    for row, record in enumerate(batch["record"]):
        case = record.applied_transforms[0].params["case"]
        text = changes[case](f"Cable {int(record.key[1:])}")
        assert batch["caption"][row] == text
        assert fiberaug.replay(record, loader)["caption"] == text
    (tmp_path / "a.txt").write_text("A Photo", encoding="utf-8")
    made = ChangeCase(tmp_path, tmp_path / "out", case="upper").process("a.txt")
    assert made.read_text(encoding="utf-8") == "A PHOTO"


def test_text_that_becomes_something_else_is_an_error(write_set):
    class Count(fiberaug.TextProcessor):
        def _process(self, text):
            return len(text)

    content = samples(2, caption=lambda i: "x")
    dataset = fiberaug.StreamingDataset(write_set(content), transform=Count())
    with pytest.raises(fiberaug.UsageError, match="must return text, got 1"):
        next(iter(fiberaug.DataLoader(dataset)))
    plain = fiberaug.StreamingDataset(write_set(2, name="plain"), transform=Count())
    next(iter(fiberaug.DataLoader(plain)))  # no caption, nothing to do


@pytest.mark.parametrize(
    "processor", [Flip(), Rotate(limit=10), ShiftScaleRotate(), ChangeCase()], ids=repr
)
def test_recipes_know_the_shipped_processors_by_name(write_set, processor):
    recipe = fiberaug.Recipe(cpu=({processor.name(): processor.params},))
    shards = write_set(3)
    given = fiberaug.StreamingDataset(shards, transform=processor)
    named = fiberaug.StreamingDataset(shards, transform=recipe)

    assert named.recipe_hash == given.recipe_hash
