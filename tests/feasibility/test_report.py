"""What the doctor says of synthesis: counts, bounds, evidence, one advice."""

import numpy as np
import pytest

import fiberaug
from fiberaug.errors import DataRefused, UsageError
from fiberaug.feasibility import trainings
from fiberaug.feasibility.data import look_at_data
from fiberaug.feasibility.evidence import evidence_for
from fiberaug.feasibility.report import examine_synthesis
from fiberaug.feasibility.telling import tell
from fiberaug.sizes import parse_bytes

NAMES = ("gan", "diffusion", "lora", "edit", "paste", "augment")


def write(folder, counts, *, size=(16, 16), boxes=0, masks=False, labels=True):
    """Write a set with so many photos of each class."""
    rng = np.random.default_rng(0)
    with fiberaug.ShardWriter(folder, classes=tuple("abcdefgh"[: len(counts)])) as out:
        for label, count in enumerate(counts):
            for i in range(count):
                image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
                sample = {"__key__": f"{label}-{i:04d}", "image": image}
                if labels:
                    sample["label"] = label
                if boxes:
                    sample["json"] = {
                        "objects": [{"bbox": [1, 1, 9, 9], "label": 0}] * boxes
                    }
                if masks:
                    sample["mask"] = np.zeros(size, np.uint8)
                out.write(sample)
    return str(folder)


def asked(shards, **more):
    return examine_synthesis(
        shards, **{"memory": "20GB", "device": "cpu", "probe": False} | more
    )


class PlanOf:
    """What a trainer would say, without tracing its step."""

    peak, disk, said, warned = 10**9, 5 * 10**6, ("micro-batches: 2 of 32 rows",), ()
    seconds = 7200.0


@pytest.fixture
def quick(monkeypatch):
    """Let trainers say at once that they take a GB."""

    def planned(make, asked, size, images, rows, *, probe):
        if parse_bytes(asked.memory) < PlanOf.peak:
            raise UsageError("the training does not fit into so little: give 1GB")
        return PlanOf()

    monkeypatch.setattr(trainings, "_planned", planned)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write(tmp_path_factory.mktemp("small") / "set", (60, 25, 90))


@pytest.fixture(scope="module")
def report(small):
    return asked(small)


def route(report, name):
    return next(one for one in report.routes if one.name == name)


def test_photos_are_counted_by_class_as_they_are(tmp_path):
    data = look_at_data(write(tmp_path / "set", (3, 7, 5), size=(20, 30)))
    assert data.photos == 15
    assert data.counts == {"a": 3, "b": 7, "c": 5}
    assert (data.least, data.typical, data.unlabelled) == (3, 5, 0)
    assert data.median_px == data.largest_px == (20, 30)
    assert data.regions is None


def test_boxes_and_masks_are_seen(tmp_path):
    boxes = look_at_data(write(tmp_path / "boxes", (4,), boxes=3))
    assert (boxes.boxes, boxes.regions) == (12, "bboxes")
    masks = look_at_data(write(tmp_path / "masks", (4,), masks=True))
    assert (masks.boxes, masks.regions) == (0, "mask")


def test_photos_without_a_class_are_counted_together_and_told(tmp_path):
    shards = write(tmp_path / "set", (6, 3), labels=False)
    data = look_at_data(shards)
    assert (data.photos, data.unlabelled, data.counts) == (9, 9, {})
    assert (data.least, data.typical) == (9, 9)


def test_of_a_set_in_parts_the_one_for_training_is_counted(tmp_path):
    photos = tmp_path / "photos"
    rng = np.random.default_rng(0)
    import cv2

    for name in ("a", "b"):
        (photos / name).mkdir(parents=True)
        for i in range(20):
            image = rng.integers(0, 256, (16, 16, 3), np.uint8)
            cv2.imwrite(str(photos / name / f"{i}.png"), image)
    fiberaug.convert(
        photos, tmp_path / "set", split={"train": 0.8, "val": 0.2}, progress=False
    )
    data = look_at_data(str(tmp_path / "set"))
    parts = fiberaug.StreamingDataset(str(tmp_path / "set"), split="train", train=False)
    assert data.photos == len(parts) < 40


def test_an_empty_set_and_one_that_is_not_there_are_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    for shards in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises((DataRefused, UsageError, fiberaug.StoreError)) as caught:
            asked(str(shards))
        assert "\n" not in str(caught.value)


def test_all_routes_are_told_once(report):
    """The plans of the trainers are real ones here."""
    assert tuple(one.name for one in report.routes) == NAMES
    assert route(report, report.recommended).fits


@pytest.mark.parametrize("cuda", [False, True])
def test_every_lever_takes_less_memory_than_the_one_before(cuda):
    from fiberaug.feasibility.sd15 import edit_needs, lora_needs

    for needs in (edit_needs(cuda=cuda), lora_needs(cuda=cuda)):
        peaks = [need.peak for need in needs]
        assert peaks == sorted(peaks, reverse=True)
        assert len(set(peaks)) == len(peaks) > 1


def test_less_memory_never_makes_a_route_fit_and_what_fits_stays_below(quick, small):
    before = dict.fromkeys(NAMES, False)
    for memory in ("300MB", "700MB", "1.5GB", "2GB", "3GB", "5GB", "6GB", "8GB"):
        report = asked(small, memory=memory)
        fits = {one.name: one.fits for one in report.routes}
        for name, did in before.items():
            assert fits[name] or not did, (name, memory)
        for one in report.routes:
            assert not one.fits or one.peak <= report.budget, (one.name, memory)
            assert one.fits or one.why
        assert route(report, report.recommended).fits
        assert report.possible == any(fits[name] for name in NAMES[:-1])
        before = fits
    assert before["gan"]
    assert before["lora"]


def test_a_plan_is_that_of_the_trainer_itself(small, report):
    from fiberaug.models import Critic, Generator
    from fiberaug.training import GANTrainer

    networks = [kind("16x16", classes=3, width=32) for kind in (Generator, Critic)]
    plan = GANTrainer(
        *networks, small, memory="20GB", judge=False, progress=False
    ).plan(route(report, "gan").images, probe=False)
    assert "; ".join(plan.said) == route(report, "gan").levers
    # of the process itself, which grows meanwhile, there is a share in both
    assert route(report, "gan").peak == pytest.approx(plan.peak, rel=0.5)
    assert route(report, "gan").disk == plan.disk


def test_time_is_told_where_it_is_tried(quick, small):
    assert route(asked(small), "gan").hours is None
    timed = asked(small, probe=True)
    assert route(timed, "gan").hours == route(timed, "diffusion").hours == 2
    for name in ("lora", "edit"):
        assert 0 < route(timed, name).hours < 10**6


@pytest.mark.slow
def test_the_trainers_own_plans_keep_to_the_memory_too(small):
    before = dict.fromkeys(("gan", "diffusion"), False)
    for memory in ("300MB", "650MB", "3GB"):
        report = asked(small, memory=memory, probe=True)
        for name, did in before.items():
            one = route(report, name)
            assert one.fits or not did
            assert not one.fits or one.peak <= report.budget
            assert one.fits == (one.hours is not None)
            before[name] = one.fits
    assert all(before.values())


def test_paste_needs_what_says_where(quick, small, tmp_path):
    report = asked(small)
    assert not route(report, "paste").fits
    assert "neither boxes nor masks" in route(report, "paste").why
    boxed = asked(write(tmp_path / "set", (60,), boxes=1))
    assert route(boxed, "paste").fits
    assert "--region bboxes" in route(boxed, "paste").command


@pytest.mark.parametrize(
    ("n", "name", "says"),
    [(19, "gan", "bias gap 20.7 %"), (49, "gan", "between 20 and 50"),
     (10, "edit", "DA-Fusion"), (100, "edit", "Diff-Mix"), (20, "lora", "0.9125"),
     (10, "diffusion", "no evidence was found"), (9, "paste", "no evidence was found")],
)  # fmt: skip
def test_evidence_is_that_at_this_number_of_images(n, name, says):
    told = " ".join(map(str, evidence_for(name, n, regions=False)))
    assert says in told


def test_a_gan_of_few_images_is_spoken_against_and_of_many_not():
    for n in (1, 20, 49):
        assert any(e.speaks == "against" for e in evidence_for("gan", n, regions=False))
    assert not any(
        e.speaks == "against" for e in evidence_for("gan", 50, regions=False)
    )


def test_nothing_published_is_said_of_regions():
    told = evidence_for("edit", 30, regions=True)
    assert any("no evidence was found for edits of regions" in e.text for e in told)


@pytest.mark.parametrize(
    ("counts", "more", "wanted"),
    [
        ((60, 60), {}, "diffusion"),  # small photos, enough of them
        ((60, 10), {}, "augment"),  # small photos, too few
        ((30, 30), {"size": (256, 256)}, "lora"),
        ((10, 10), {"size": (256, 256)}, "edit"),
        ((8,), {"size": (256, 256), "boxes": 1}, "edit"),
        ((8,), {"size": (256, 256), "masks": True}, "edit"),
    ],
)  # fmt: skip
def test_the_advice_follows_the_data(quick, tmp_path, counts, more, wanted):
    report = asked(write(tmp_path / "set", counts, **more), size="16x16")
    assert report.recommended == wanted
    assert report.reason


def test_what_does_not_fit_is_never_advised(quick, tmp_path):
    report = asked(
        write(tmp_path / "set", (8,), size=(256, 256), boxes=1), size="16x16",
        memory="1GB",
    )  # fmt: skip
    assert report.recommended == "paste"
    assert not route(report, "edit").fits


def test_what_takes_longer_than_a_week_is_never_advised(quick, tmp_path, monkeypatch):
    from fiberaug.feasibility import report as module

    monkeypatch.setattr(module, "operations_per_s", lambda device: 1e6)
    found = asked(write(tmp_path / "set", (10, 10), size=(256, 256)), size="16x16")
    assert found.recommended == "augment"


def test_json_and_table_tell_the_same(quick, small):
    report = asked(small, memory="4GB", probe=True)
    from fiberaug.sizes import format_bytes

    lines = list(tell(report))
    told = report.to_dict()
    for one in told["routes"]:
        (row,) = [
            line for line in lines if line.split()[:1] == [one["name"]]
            and line.split()[1] in {"yes", "no"}
        ]  # fmt: skip
        assert row.split()[1] == ("yes" if one["fits"] else "no")
        if one["fits"]:
            assert format_bytes(one["peak_bytes"]) in row
            assert format_bytes(one["disk_bytes"]) in row
        assert f"{one['name']}: {one['command']}" in lines
        for evidence in one["evidence"]:
            assert any(evidence["text"] in line for line in lines)
    assert f"memory: {format_bytes(told['budget_bytes'])} on cpu" in lines
    assert any(line.startswith(f"begin with: {told['recommended']}") for line in lines)
    assert any("need not help" in line and "evaluate" in line for line in lines)


@pytest.mark.parametrize("device", ["tpu", "cuda", "meta", "x y"])
def test_a_device_that_is_not_there_is_refused(small, device):
    import torch

    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UsageError, match="device"):
        asked(small, device=device)


def test_a_size_that_no_network_has_is_refused_with_those_that_are_near(small):
    with pytest.raises(UsageError, match="nearest"):
        asked(small, size="63x84")


def test_the_photo_that_is_edited_counts_on_a_cpu():
    import torch

    from fiberaug.feasibility.data import Data
    from fiberaug.feasibility.others import other_routes
    from fiberaug.feasibility.sd15 import edit_needs

    budget = max(need.peak for need in edit_needs(cuda=False))
    wanted = trainings.Asked(
        shards="s", memory=budget, size=None, device=torch.device("cpu")
    )

    def edit(side):
        data = Data(
            photos=9, counts={}, unlabelled=9, median_px=(side, side),
            largest_px=(side, side), boxes=9, masks=False,
        )  # fmt: skip
        _, found, *_ = other_routes(data, wanted, budget=budget, operations_per_s=1e11)
        return found

    small, large = edit(8), edit(4000)
    assert small.fits
    assert large.fits
    assert large.peak <= budget
    assert (small.levers, large.levers) == ("bfloat16", "bfloat16"), "of the photo"
    assert large.peak - small.peak >= 3 * (4000**2 - 8**2)


def test_large_photos_are_learnt_in_windows(tmp_path):
    from fiberaug.feasibility.trainings import size_for

    data = look_at_data(write(tmp_path / "set", (2,), size=(1100, 1000)))
    assert size_for(data, None) == (64, 64)
    small = look_at_data(write(tmp_path / "small", (2,), size=(28, 28)))
    assert size_for(small, None) == (28, 28)
    middle = look_at_data(write(tmp_path / "middle", (2,), size=(533, 400)))
    assert size_for(middle, None) == (64, 48)
