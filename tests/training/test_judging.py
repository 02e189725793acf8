"""Laws of the judge of a training."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from judged import Painter, view_of
from torch import nn

from fiberaug.errors import StateMismatch, UsageError
from fiberaug.training.contracts import Verdict, View
from fiberaug.training.judging import Judge


def look(judge: Judge, view: View, nimg: int, how: str = "good") -> Verdict | None:
    view.task.how = how  # type: ignore[attr-defined]
    view.nimg = nimg
    return judge.step(view)


@pytest.fixture
def view(tmp_path: Path) -> View:
    return view_of(tmp_path)


@pytest.fixture
def judge(view: View) -> Judge:
    found = Judge(every=1000, samples=200)
    found.begin(view)
    return found


def test_the_better_generator_is_the_best_and_a_worse_one_after_it_is_not(
    judge: Judge, view: View
) -> None:
    assert look(judge, view, 1000, "few") == Verdict(best=True)
    assert look(judge, view, 2000, "blurred") == Verdict(best=True)
    assert look(judge, view, 3000, "good") == Verdict(best=True)
    assert look(judge, view, 4000, "blurred") == Verdict()
    assert look(judge, view, 5000, "good") == Verdict()  # equal is not better


def test_a_generator_that_copies_is_never_the_best_and_ends_the_training(
    judge: Judge, view: View
) -> None:
    look(judge, view, 1000, "blurred")
    found = look(judge, view, 2000, "copied")
    assert found is not None
    assert not found.best
    assert "copies" in found.stop
    assert "after 1000 images" in found.stop


def test_copying_is_told_but_does_not_end_a_training_that_is_to_go_on(
    view: View,
) -> None:
    judge = Judge(every=1000, samples=200, stop_on_copies=False)
    judge.begin(view)
    assert look(judge, view, 1000, "copied") == Verdict()
    assert look(judge, view, 2000, "blurred") == Verdict(best=True)


def test_looks_without_a_gain_end_a_training_after_so_many(view: View) -> None:
    judge = Judge(every=1000, samples=100, patience=2)
    judge.begin(view)
    assert look(judge, view, 1000) == Verdict(best=True)
    assert look(judge, view, 2000, "blurred") == Verdict()
    found = look(judge, view, 3000, "blurred")
    assert found is not None
    assert "no gain in 2 looks" in found.stop


def test_figures_come_with_each_look_and_stand_in_a_table(
    judge: Judge, view: View
) -> None:
    look(judge, view, 1000)
    look(judge, view, 2000, "wrong")
    with (view.out / "judge.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["nimg"] for row in rows] == ["1000", "2000"]
    assert float(rows[1]["kid"]) == view.figures["judge/kid"]
    assert float(rows[0]["label_accuracy"]) > 0.8
    assert view.figures["judge/label_accuracy"] < 0.2
    assert "judge/nimg" not in view.figures


def test_it_looks_when_so_many_images_were_shown_and_at_the_end(
    judge: Judge, view: View
) -> None:
    view.total = 3300
    seen = []
    for nimg in range(64, 3400, 64):
        if look(judge, view, nimg) is not None:
            seen.append(nimg)
            if nimg >= view.total:
                break
    assert seen == [1024, 2048, 3008, 3328]  # late by less than a step, and no drift


def test_a_judge_that_goes_on_from_a_state_finds_what_one_that_never_ended_finds(
    tmp_path: Path,
) -> None:
    hows = ["few", "blurred", "good", "blurred", "wrong"]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    whole = Judge(every=1000, samples=100)
    one = view_of(tmp_path / "a")
    whole.begin(one)
    said = [look(whole, one, 1000 * i + 1000, how) for i, how in enumerate(hows)]

    first = Judge(every=1000, samples=100)
    other = view_of(tmp_path / "b")
    first.begin(other)
    parts = [look(first, other, 1000 * i + 1000, how) for i, how in enumerate(hows[:2])]
    state = json.loads(json.dumps(first.state_dict()))
    look(first, other, 3000, "few")  # what came after the state was lost
    first.end(other)

    second = Judge(every=1000, samples=100)
    second.load_state_dict(state)
    other = view_of(tmp_path / "b")
    second.begin(other)
    parts += [
        look(second, other, 1000 * i + 3000, how) for i, how in enumerate(hows[2:])
    ]
    assert parts == said
    assert second.state_dict() == whole.state_dict()
    tables = [(tmp_path / name / "judge.csv").read_bytes() for name in ("a", "b")]
    assert tables[0] == tables[1]


def test_a_rewound_judge_looks_again(judge: Judge, view: View) -> None:
    state = judge.state_dict()
    first = look(judge, view, 1000), dict(view.figures)
    judge.load_state_dict(state)
    assert (look(judge, view, 1000), view.figures) == first
    assert len(judge.looks) == 1


def test_a_lost_classifier_is_learned_again(judge: Judge, view: View) -> None:
    look(judge, view, 1000)
    state = judge.state_dict()
    (view.out / "judge" / "classifier.safetensors").write_bytes(b"broken")
    other = Judge(every=1000, samples=200)
    other.load_state_dict(state)
    other.begin(view)
    assert other.state_dict() == state
    assert not view.notes


def test_looks_with_another_classifier_count_no_more(judge: Judge, view: View) -> None:
    look(judge, view, 1000)
    state = judge.state_dict() | {"lesson": 1000}  # as rounding elsewhere would
    (view.out / "judge" / "classifier.safetensors").unlink()
    other = Judge(every=1000, samples=200)
    other.load_state_dict(state)
    other.begin(view)
    assert other.looks == ()
    assert "earlier looks count no more" in view.notes[0]


def test_no_global_generator_is_touched(view: View) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    judge = Judge(every=1000, samples=50)
    judge.begin(view)
    look(judge, view, 1000)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_users_classifier_is_used_and_left_as_it_is(tmp_path: Path) -> None:
    mine = nn.Sequential(nn.Flatten(), nn.Linear(256, 24), nn.ReLU(), nn.Linear(24, 2))
    mine.train()
    view = view_of(tmp_path)
    judge = Judge(every=1000, samples=100, classifier=mine)
    judge.begin(view)
    assert look(judge, view, 1000) == Verdict(best=True)
    assert mine.training
    assert not (tmp_path / "judge").exists()

    other = nn.Sequential(nn.Flatten(), nn.Linear(256, 24), nn.ReLU(), nn.Linear(24, 2))
    second = Judge(every=1000, samples=100, classifier=other)
    second.load_state_dict(judge.state_dict())
    with pytest.raises(StateMismatch, match="the one that training began with"):
        second.begin(view)


def test_a_classifier_that_cannot_look_is_refused_before_training(
    tmp_path: Path,
) -> None:
    judge = Judge(classifier=nn.Sequential(nn.Flatten(), nn.Linear(99, 2)))
    with pytest.raises(UsageError, match=r"cannot look at images \[16, 16, 1\]"):
        judge.begin(view_of(tmp_path))


def test_a_classifier_of_other_classes_says_nothing_of_labels(tmp_path: Path) -> None:
    view = view_of(tmp_path)
    mine = nn.Sequential(nn.Flatten(), nn.Linear(256, 24), nn.ReLU(), nn.Linear(24, 7))
    judge = Judge(every=1000, samples=50, classifier=mine)
    judge.begin(view)
    look(judge, view, 1000)
    assert "judge/label_accuracy" not in view.figures


def test_photos_without_classes_are_judged_too(tmp_path: Path) -> None:
    view = view_of(tmp_path, classes=())
    judge = Judge(every=1000, samples=200)
    judge.begin(view)
    assert look(judge, view, 1000, "few") == Verdict(best=True)
    assert look(judge, view, 2000, "good") == Verdict(best=True)
    found = look(judge, view, 3000, "copied")
    assert found is not None
    assert found.stop
    assert "judge/label_accuracy" not in view.figures


def test_without_held_out_photos_copies_are_told_by_their_second_nearest_photo(
    tmp_path: Path,
) -> None:
    view = view_of(tmp_path, held_out=0)
    judge = Judge(every=1000, samples=200)
    judge.begin(view)
    assert look(judge, view, 1000, "blurred") == Verdict(best=True)
    found = look(judge, view, 2000, "copied")
    assert found is not None
    assert "those of single photos" in found.stop
    assert "judge/closer_to_train" not in view.figures


def test_too_few_photos_are_not_judged_and_it_says_so(tmp_path: Path) -> None:
    view = view_of(tmp_path, photos=9, held_out=0)
    judge = Judge(every=1000)
    judge.begin(view)
    assert "9 photos are too few" in view.notes[0]
    assert look(judge, view, 1000) is None


def test_a_generator_with_nan_in_it_is_not_looked_at(judge: Judge, view: View) -> None:
    assert look(judge, view, 1000, "nan") is None
    assert look(judge, view, 1064, "good") == Verdict(best=True)


@pytest.mark.parametrize(
    ("total", "photos", "every"),
    [
        (1_200_000, 60_000, 100_000),  # twelve looks
        (1_200_000, 240, 12_000),  # 50 passes over few photos
        (2_400, 240, 400),  # looks are not free
    ],
)
def test_looks_are_as_rare_as_they_are_dear(
    tmp_path: Path, total: int, photos: int, every: int
) -> None:
    view = view_of(tmp_path, total=total)
    view.source.photos = photos
    mine = nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    judge = Judge(samples=100, classifier=mine)
    judge.begin(view)
    assert judge.state_dict()["every"] == every


@pytest.mark.parametrize(
    "wrong", [{"every": 0}, {"samples": 9}, {"patience": 0}, {"seed": -1}]
)
def test_an_argument_out_of_range_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Judge(**wrong)  # type: ignore[arg-type]


def test_the_painter_makes_what_it_is_asked_for() -> None:
    one = Painter().sample([1, 2, 3], [0, 1, 0])
    other = Painter().sample([3], [0])
    assert np.array_equal(one[2], other[0])


@pytest.mark.parametrize("cost", [0.12, 0.3, 3.3])
def test_looks_are_rarer_the_dearer_a_sample_is(tmp_path: Path, cost: float) -> None:
    view = view_of(tmp_path, total=100_000)
    view.task.sample_cost = cost
    view.source.photos = 10**6  # so many that none is learned by heart
    judge = Judge(samples=200)
    judge.begin(view)
    every = judge.state_dict()["every"]
    assert 200 * cost <= 0.031 * every, "about 3 % of the time at most"
    assert every <= max(100_000 / 11, 200 * cost / 0.029), "and no rarer than that"
