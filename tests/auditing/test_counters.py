"""What counts as a trial of an operation, and what as a hit."""

import albumentations as A
import pytest
from audited import edit, lines_of, make_run, outside
from sets import cut_jpeg, photo, samples

from fiberaug.auditing import audit

ALWAYS = {"batch_transform": [{"MixUp": {"p": 1.0, "num_classes": 4}}]}
FLOATS = A.Compose([A.Resize(16, 16), A.Normalize()])


def test_a_row_that_is_alone_in_its_unit_need_not_be_mixed(write_set, tmp_path):
    folder = make_run(write_set(33), tmp_path / "run", FLOATS, loader=ALWAYS)
    found = audit(folder)
    assert found.ok, found.findings
    mixed = next(rate for rate in found.rates if rate.name == "MixUp")
    assert (mixed.applied, mixed.trials, mixed.asked) == (30, 30, 1.0)


def test_a_row_whose_partner_is_broken_need_not_be_mixed(write_set, tmp_path):
    shards = write_set(
        {**sample, "image": cut_jpeg(i) if i == 9 else photo(i, 120, 160)}
        for i, sample in enumerate(samples(64))
    )
    folder = make_run(
        shards, tmp_path / "run", FLOATS, loader=ALWAYS, on_error="mask", seed=1
    )
    found = audit(folder)
    assert found.ok, found.findings
    (line,) = [x for x in lines_of(folder) if "v" in x and not _mixed(x)]
    assert line["batch"]["partners"] == []
    changed = [line["position"]]

    def change(line):
        if line["batch"]["row"] and len(changed) < 6:
            changed.append(line["position"])
            steps = line["applied_transforms"]
            line["applied_transforms"] = [s for s in steps if s["name"] != "MixUp"]

    edit(folder, change)
    assert outside(audit(folder)) == ["rate"]


def _mixed(line):
    return any(step["name"] == "MixUp" for step in line["applied_transforms"])


def test_an_operation_that_runs_several_times_counts_once_a_record(write_set, tmp_path):
    twice = A.SomeOf([A.HorizontalFlip(p=0.9), A.VerticalFlip(p=1)], n=4, replace=True)
    folder = make_run(write_set(60), tmp_path / "run", A.Compose([twice]), epochs=2)
    found = audit(folder)
    assert found.ok, found.findings
    steps = [step["path"] for x in lines_of(folder) for step in _steps(x)]
    for rate, chance in zip(found.rates, (1 - 0.55**4, 1 - 0.5**4), strict=True):
        assert rate.asked == pytest.approx(chance)
        assert rate.applied <= 120 < steps.count(rate.path)


def _steps(line):
    return line.get("applied_transforms", ())
