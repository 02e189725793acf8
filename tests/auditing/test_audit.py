"""A run as it was asked for passes an audit; each planted deviation is found."""

import json
import random
import shutil
from pathlib import Path

import albumentations as A
import kornia.augmentation as K
import pytest
from audited import edit, lines_of, make_run, outside, write_log
from sets import samples

import fiberaug
from fiberaug.auditing import audit
from fiberaug.auditing.telling import tell
from fiberaug.errors import DataRefused, StoreError, UsageError

PIPELINE = A.Compose([
    A.RandomResizedCrop((24, 24), scale=(0.4, 0.9)),
    A.HorizontalFlip(p=0.5),
    A.OneOf([A.NoOp(p=1), A.RandomGamma(p=0.5)], p=0.6),
    A.SomeOf([A.Rotate((-20, 20), p=0.5), A.VerticalFlip(p=1)], n=1, p=0.9),
    A.Normalize(),
])  # fmt: skip
LOADER = {
    "gpu_transform": [
        K.RandomContrast((0.7, 1.3), p=0.4),
        K.RandomGrayscale(p=0.3, same_on_batch=True),
    ],
    "batch_transform": [{"MixUp": {"alpha": 0.4, "p": 0.8, "num_classes": 4}}],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a set of 105 samples and the log of four epochs of it."""
    folder = tmp_path_factory.mktemp("whole")
    fiberaug.convert(samples(105), folder / "set", shard_size="60kB", progress=False)
    return make_run(
        str(folder / "set"), folder / "run", PIPELINE, epochs=4, batch_size=15,
        loader=LOADER,
    ).parent  # fmt: skip


@pytest.fixture
def run(whole, tmp_path):
    """A copy of the log, to change."""
    return shutil.copytree(whole / "run", tmp_path / "run")


def test_a_run_as_asked_for_has_nothing_outside(run):
    found = audit(run)
    assert outside(found) == []
    assert found.ok
    assert (found.records, found.counted, len(found.epochs)) == (420, 420, 4)
    asked = {f"{rate.path} {rate.name}": rate.asked for rate in found.rates}
    assert asked == pytest.approx({
        "0 RandomResizedCrop": 1.0, "1 HorizontalFlip": 0.5, "2.0 NoOp": 0.4,
        "2.1 RandomGamma": 0.2, "3.0 Rotate": 0.225, "3.1 VerticalFlip": 0.45,
        "4 Normalize": 1.0, "gpu.0 RandomContrast": 0.4, "gpu.1 RandomGrayscale": 0.3,
        "batch.0 MixUp": 0.8,
    })  # fmt: skip
    laws = {(one.name, one.parameter) for one in found.ranges if one.law}
    assert laws == {
        ("RandomGamma", "gamma"), ("Rotate", "angle"), ("MixUp", "lam"),
        ("RandomContrast", "contrast_factor"),
    }  # fmt: skip


def test_a_log_without_a_record_is_no_run_as_asked_for(run):
    edit(run, lambda line: [])

    found = audit(run)
    assert found.records == 0
    assert not found.ok
    assert "the log holds no record" in found.findings[0].text


@pytest.mark.parametrize("seed", range(3))
def test_no_seed_raises_an_alarm(write_set, tmp_path, seed):
    _no_alarm(write_set(49), tmp_path, [seed])


@pytest.mark.slow
def test_no_seed_of_a_hundred_raises_an_alarm(write_set, tmp_path):
    _no_alarm(write_set(49), tmp_path, range(3, 103))


def _no_alarm(shards, tmp_path, seeds):
    for seed in seeds:
        folder = make_run(
            shards, tmp_path / str(seed), PIPELINE, epochs=2, batch_size=7, seed=seed,
            views=1 + seed % 2, loader=LOADER,
        )  # fmt: skip
        assert outside(audit(folder)) == [], seed


def without(name, share, seed=0):
    """A change that takes an operation out of a share of the records."""
    chance = random.Random(seed)

    def change(line):
        line["applied_transforms"] = [
            step
            for step in line["applied_transforms"]
            if step["name"] != name or chance.random() > share
        ]

    return change


@pytest.mark.parametrize(
    "name",
    [
        "HorizontalFlip",
        "NoOp",
        "RandomGamma",
        "VerticalFlip",
        "RandomContrast",
        "MixUp",
    ],
)
def test_an_operation_that_is_too_rare_is_found(run, name):
    edit(run, without(name, 0.6))
    assert outside(audit(run)) == ["rate"]
    (found,) = [rate for rate in audit(run).rates if rate.is_off]
    assert found.name == name


@pytest.mark.parametrize("name", ["RandomResizedCrop", "Normalize"])
def test_one_record_without_what_is_always_applied_is_found(run, name):
    left = [1]

    def change(line):
        if left and line["position"] == 17:
            left.pop()
            without(name, 1.0)(line)

    edit(run, change)
    assert outside(audit(run)) == ["rate"]


def test_an_operation_that_was_not_asked_for_is_found(run):
    def change(line):
        if line["position"] == 3 and line["epoch"] == 1:
            step = {"path": "1", "name": "Transpose", "params": {}}
            line["applied_transforms"].append(step)

    edit(run, change)
    found = audit(run)
    assert outside(found) == ["rate"]
    assert "1 Transpose is in 1 record and not in the recipe" in found.findings[0].text
    assert "epoch 1, position 3 (" in found.findings[0].text


def set_param(name, parameter, value, *, every=False):
    """A change of a parameter, in one record or in all."""
    done = []

    def change(line):
        for step in line["applied_transforms"]:
            if step["name"] == name and (every or not done):
                done.append(line)
                step["params"][parameter] = value(step["params"])

    return change


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [
        ("RandomResizedCrop", "crop_coords", lambda p: [0, 0, 8, 8]),
        ("RandomResizedCrop", "crop_coords", lambda p: [0, 0, 40, 15]),
        ("RandomGamma", "gamma", lambda p: 1.21),
        ("Rotate", "matrix", lambda p: [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
        ("RandomContrast", "contrast_factor", lambda p: 0.69),
        ("MixUp", "lam", lambda p: 1.01),
    ],
    ids=["scale", "ratio", "gamma", "angle", "contrast", "lam"],
)
def test_one_parameter_outside_of_its_range_is_found(run, name, parameter, value):
    edit(run, set_param(name, parameter, value))
    assert set(outside(audit(run))) == {"range"}


def test_values_of_another_distribution_are_found(run):
    edit(run, set_param("RandomContrast", "contrast_factor", lambda p: (
        1 + (p["contrast_factor"] - 1) / 2
    ), every=True))  # fmt: skip
    found = audit(run)
    assert outside(found) == ["law"]
    assert "are not uniform between 0.7 and 1.3" in found.findings[0].text


def test_records_of_another_recipe_or_seed_are_found(run):
    edit(
        run, lambda line: line.update(recipe="0" * 16) if not line["position"] else None
    )
    assert outside(audit(run)) == ["recipe"]
    edit(run, lambda line: line.update(seed=9))
    assert outside(audit(run)) == ["recipe", "recipe"]


def test_callables_and_broken_pipelines_are_not_judged(write_set, tmp_path):
    def darker(sample):
        return {**sample, "image": sample["image"] // 2}

    folder = make_run(
        write_set(40), tmp_path / "run", [A.HorizontalFlip(p=0.5), darker]
    )
    found = audit(folder)
    assert found.ok
    assert [rate.asked for rate in found.rates] == [0.5, None]
    assert [f.topic for f in found.findings] == ["recipe"]
    assert "unknown" in "\n".join(tell(found))


def test_without_its_shards_a_run_is_audited_as_far_as_it_goes(run, tmp_path):
    manifest = json.loads((run / "manifest.json").read_text())
    shards = manifest["shards"]
    manifest["shards"] = [str(tmp_path / "gone.tar") for _ in shards]
    (run / "manifest.json").write_text(json.dumps(manifest))
    found = audit(run)
    assert found.ok
    assert {share.label for share in found.shares} == {None}
    moved = audit(run, shards=str(Path(shards[0]).parent))
    assert {share.label for share in moved.shares} == {None, 0, 1, 2, 3}


def test_classes_are_those_of_the_index(run):
    by_class = {
        share.label: share.delivered
        for share in audit(run).shares
        if share.epoch == 2 and share.label is not None
    }
    assert by_class == {0: 27, 1: 26, 2: 26, 3: 26}


def test_what_is_no_run_is_refused(run, tmp_path):
    with pytest.raises(StoreError, match="is no run folder"):
        audit(tmp_path / "nothing")
    with pytest.raises(UsageError, match="confidence must be above 0"):
        audit(run, confidence=1.0)
    lines = lines_of(run)
    write_log(
        run, [{**line, "position": -1} if "v" in line else line for line in lines]
    )
    with pytest.raises(DataRefused, match="holds a line that is no record"):
        audit(run)
    (run / "manifest.json").write_text('{"plan": {}}')
    with pytest.raises(DataRefused, match="the manifest is none"):
        audit(run)


def test_an_audit_is_plain_values(run):
    found = audit(run)
    again = json.loads(json.dumps(found.to_dict()))
    assert again["ok"] is True
    assert len(again["rates"]) == len(found.rates)
    assert tell(found)[-1].startswith("OK: nothing is outside of its bounds (10 of 10")
