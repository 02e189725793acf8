"""Laws of the comparison with a user's loader: right ones pass, planted errors show."""

import json
import sys

import pytest
from PIL import Image
from sets import photo

import fiberaug
from fiberaug.checkup.epoch import Run
from fiberaug.errors import UsageError
from fiberaug.parity.against import Subject, compare

pytestmark = [
    # webdataset leaves its files open
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
RECIPE = {
    "version": 1,
    "cpu": [{"RandomResizedCrop": {"size": [24, 24]}}, {"HorizontalFlip": {}}],
}
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


@pytest.fixture(autouse=True)
def forget_accelerate():
    """One of the loaders makes an Accelerator, which later tests would see."""
    yield
    module = sys.modules.get("accelerate.state")
    if module is not None:
        module.GradientState._reset_state()
        module.AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def shards(tmp_path, monkeypatch):
    """40 photos of 3 classes, every fifth stored turned; as a folder and as shards."""
    folder = tmp_path / "photos"
    for i in range(40):
        path = folder / ("cat", "dog", "eel")[i * i % 7 % 3] / f"p{i:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        if i % 5 == 0:
            exif[0x0112] = 6
        image = Image.fromarray(photo(i)).resize((96, 80), Image.Resampling.BILINEAR)
        image.save(path, quality=95, exif=exif)
    fiberaug.convert(folder, tmp_path / "set", shard_size="40kB", progress=False)
    monkeypatch.setenv("USER_SHARDS", str(tmp_path / "set"))
    monkeypatch.setenv("USER_FOLDER", str(folder))
    return tmp_path / "set"


@pytest.fixture
def compared(shards, tmp_path):
    """A function (name of the loader, options) -> findings by topic."""

    def run(name, *, normalize=None, recipe=True, against="user_loaders"):
        path = tmp_path / "recipe.json"
        path.write_text(
            json.dumps(RECIPE | ({"normalize": normalize} if normalize else {}))
        )
        subject = Subject(
            shards=str(shards), recipe=path if recipe else None, run=Run(workers=0)
        )
        found = compare(subject, f"{against}:{name}", batches=2, turns=1)
        topics = {}
        for finding in found:
            topics.setdefault(finding.topic.removeprefix("their "), []).append(finding)
        return topics

    return run


def levels(topics, *without):
    return {
        finding.level for topic, found in topics.items() if topic not in without
        for finding in found
    }  # fmt: skip


def only(topics, topic):
    (finding,) = topics[topic]
    return finding


@pytest.mark.parametrize(
    "name", ["plain", "with_workers", "channels_last", "pair", "accelerated"]
)
def test_a_right_loader_has_no_problem(compared, name):
    topics = compared(name)

    assert levels(topics) == {"ok"}, topics
    assert only(topics, "samples").figures["theirs"] == 40
    assert only(topics, "labels").text == "40 of 40 equal"
    assert only(topics, "pixels").figures["equal"] == 40
    speed = only(topics, "speed").figures
    assert speed["theirs"]["images"] == speed["ours"]["images"] == 16
    assert min(speed["theirs"]["wall"], speed["ours"]["wall"]) > 0


def test_a_folder_of_images_is_matched_by_path(compared):
    topics = compared("folder")

    assert levels(topics, "form") == {"ok"}, topics
    assert only(topics, "samples").text == "40 in both, every key once"
    assert only(topics, "pixels").figures["resized"] == 40


def test_labels_that_count_from_one_are_named(compared):
    topics = compared("labels_from_one")

    finding = only(topics, "labels")
    assert finding.level == "problem"
    assert finding.text.startswith("off by one: theirs = ours +1")
    assert only(topics, "classes").level == "problem"
    assert levels(topics, "labels", "classes") == {"ok"}


def test_labels_that_count_from_one_are_named_without_keys_too(compared):
    topics = compared("without_keys")

    assert "off by one: theirs = ours +1" in only(topics, "classes").text
    assert only(topics, "keys").level == "note"
    assert "pixels" not in topics


def test_samples_that_a_second_split_over_ranks_loses_are_named(compared):
    finding = only(compared("split_twice"), "samples")

    assert finding.level == "problem"
    assert (finding.figures["theirs"], finding.figures["missing"]) == (20, 20)
    assert finding.remedy.startswith("1 of 2 is delivered: the stream is split")


def test_a_sample_that_comes_twice_is_named(compared):
    finding = only(compared("repeated"), "samples")

    assert finding.level == "problem"
    assert "1 more than once: " in finding.text
    assert finding.figures["missing"] == 0


def test_blue_first_is_named(compared):
    topics = compared("bgr")

    finding = only(topics, "channels")
    assert finding.level == "problem"
    assert finding.text.startswith("40 of 40 images are BGR")
    assert "COLOR_BGR2RGB" in finding.remedy
    assert levels(topics, "channels") == {"ok"}


def test_images_that_are_not_upright_are_named(compared):
    topics = compared("not_upright")

    finding = only(topics, "upright")
    assert finding.level == "problem"
    assert finding.text.startswith("8 of 40 images are not upright (8 turned left)")
    assert "exif_transpose" in finding.remedy
    assert levels(topics, "upright") == {"ok"}


def test_one_normalisation_in_both_is_recognised(compared):
    topics = compared("normalized", normalize=IMAGENET)

    assert levels(topics) == {"ok"}, topics
    assert only(topics, "normalise").text.startswith("both: ImageNet (mean (0.485,")
    assert only(topics, "pixels").figures["equal"] == 40


def test_another_normalisation_is_named_with_its_numbers(compared):
    topics = compared("normalized_otherwise", normalize=IMAGENET)

    finding = only(topics, "normalise")
    assert finding.level == "problem"
    assert "theirs: mean (0.5, 0.5, 0.5), std (0.25, 0.25, 0.25)" in finding.text
    assert "ours: ImageNet" in finding.text
    assert levels(topics, "normalise") == {"ok"}


def test_a_shift_of_two_levels_is_not_taken_for_a_normalisation(compared):
    topics = compared("brighter", normalize=IMAGENET)

    figures = only(topics, "pixels").figures
    assert (figures["equal"], figures["close"]) == (0, 40)
    assert 1.5 < figures["mean_levels"] < 2.5


def test_brightness_that_varies_from_image_to_image_is_named(compared):
    topics = compared("wavering")

    finding = only(topics, "pixels")
    assert finding.level == "problem"
    assert "other pictures" in finding.text


def test_a_size_of_their_own_is_compared_after_a_resize(compared):
    topics = compared("small")

    assert only(topics, "pixels").level == "ok"
    assert only(topics, "pixels").figures["resized"] == 40
    assert only(topics, "form").level == "note"


def test_pixels_are_not_judged_where_augmentation_cannot_be_turned_off(compared):
    topics = compared("always_augmented")

    assert levels(topics, "pixels") == {"ok"}
    assert "augment=False" in only(topics, "pixels").remedy
    assert only(topics, "pixels").level == "note"


def test_a_loader_that_raises_is_a_problem_and_no_traceback(compared):
    assert "RuntimeError: no more shards" in only(compared("raising"), "loader").text


def test_ours_in_place_of_theirs_is_right(compared, shards, monkeypatch, tmp_path):
    (tmp_path / "own_loader.py").write_text(
        "import fiberaug\n"
        "def ours(augment=True):\n"
        f"    dataset = fiberaug.StreamingDataset({str(shards)!r}, shuffle=False)\n"
        "    return fiberaug.DataLoader(dataset, 8, collate='list')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    topics = compared("ours", against="own_loader", recipe=False)

    assert levels(topics, "speed", "form") == {"ok"}, topics
    assert only(topics, "samples").figures["theirs"] == 40


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("user_loaders", "must be module:function"),
        ("no_such_module:loader", "cannot import"),
        ("user_loaders:no_such", "cannot import"),
        ("user_loaders:not_callable", "is no function"),
        ("user_loaders:nothing", "must return an iterable"),
    ],
)
def test_a_name_that_leads_to_no_loader_is_refused(shards, name, words):
    with pytest.raises(UsageError, match=words):
        compare(Subject(shards=str(shards)), name)
