"""Laws of the placement: what is recommended runs, and is better than what there is."""

import albumentations as A
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sets import photo

import fiberaug
from fiberaug.benching.batches import measure_batch_operations
from fiberaug.benching.cuts import cut_at, cuts_of, steps_of
from fiberaug.benching.opened import open_set, with_form
from fiberaug.benching.options import BenchOptions
from fiberaug.benching.photos import Ceilings, measure_ceilings
from fiberaug.benching.placement import (
    Cut,
    Placement,
    estimate,
    measure_placement,
    recommended,
)
from fiberaug.benching.placement_report import describe_placement, tell_placement
from fiberaug.benching.stages import (
    Stages,
    StageTimes,
    _Cost,
    _stages,
    measure_stages,
)
from fiberaug.benching.turns import LoaderSpeed
from fiberaug.benching.verdict import judge, parts
from fiberaug.errors import UsageError
from fiberaug.recipe import Recipe

US = 1e-6
RECIPE = Recipe.parse("""
version: 1
cpu:
  - RandomCrop: {height: 24, width: 32}
  - CLAHE: {p: 0.1}
  - HorizontalFlip: {p: 0.5}
gpu:
  - RandomGamma: {gamma: [0.8, 1.2], p: 0.7}
  - RandomElasticTransform: {p: 0.3}
batch:
  - MixUp: {num_classes: 9}
normalize: {mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2]}
""")


def options(shards, recipe, **given):
    given = {"batch_size": 8, "progress": False, "seconds": 0.05, **given}
    return BenchOptions(shards=shards, recipe=recipe, workers=(0, 1), **given)


def placed(shards, recipe, **given):
    return measure_placement(
        options(shards, recipe, **given),
        8,
        2,
        lambda _times, workers: 8 * (1 + workers),
    )


def times(*, worker, main, device=0.0, gpu=False):
    """What a sample costs: us."""
    batch = 0 if gpu else device
    stages = Stages(worker * US, 0, 0, 0, (main - batch) * US, 0, batch * US)
    return StageTimes(
        stages=stages, first=stages, spread=(stages.whole, stages.whole),
        received=main * US, samples=8, passes=3, failures=0, out_pixels=1.0,
        batch_bytes=1, developed=device * US, gpu=gpu,
    )  # fmt: skip


def test_every_cut_of_a_set_delivers_the_same_samples(write_set):
    shards = write_set(20)
    steps = steps_of(RECIPE)
    cuts = cuts_of(RECIPE, steps)
    assert cuts == [2, 3, 4]  # behind CLAHE, and before what only batches have

    found = []
    for cut in cuts:
        dataset = fiberaug.StreamingDataset(
            shards, transform=cut_at(RECIPE, steps, cut), seed=3
        )
        with fiberaug.DataLoader(dataset, 8) as loader:
            batches = list(loader)
        assert {tuple(batch["image"].shape[1:]) for batch in batches} == {(3, 24, 32)}
        assert {batch["image"].dtype for batch in batches} == {torch.float32}
        assert {batch["label"].shape[1] for batch in batches} == {9}
        found.append([key for batch in batches for key in batch["__key__"]])
    assert found[0] == found[1] == found[2]


def test_the_placement_measures_both_sides_and_runs_what_it_recommends(write_set):
    shards = write_set(24)
    found = placed(shards, RECIPE)

    assert [cut.steps for cut in found.cuts] == [2, 3, 4]
    assert found.present.steps == 3
    assert found.device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert all(cut.refused == "" and cut.estimate > 0 for cut in found.cuts)
    assert all(cut.speed.images >= 24 for cut in found.cuts)
    sides = [(c.step.name, c.worker is None, c.batch is None) for c in found.steps]
    assert [side[0] for side in sides] == [
        "RandomCrop", "CLAHE", "HorizontalFlip", "RandomGamma",
        "RandomElasticTransform",
    ]  # fmt: skip
    assert [side[2] for side in sides] == [True, True, False, False, False]
    assert not sides[2][1]
    assert sides[4][1]
    opened = with_form(open_set(options(shards, found.recipe)))
    assert measure_stages(opened, 8, 0.01).samples == 8
    assert found.best in {found.present, *found.cuts}


def test_images_of_several_sizes_are_cropped_by_workers(tmp_path):
    folder = tmp_path / "photos/one"
    folder.mkdir(parents=True)
    for i in range(12):
        Image.fromarray(photo(i, 40 + i, 60)).save(folder / f"p{i:02d}.jpg")
    recipe = Recipe(cpu=({"RandomCrop": {"height": 24, "width": 32}},
                         {"HorizontalFlip": None}))  # fmt: skip
    found = placed(str(folder.parent), recipe)

    assert [cut.refused == "" for cut in found.cuts] == [False, True, True]
    assert "image" in found.cuts[0].refused
    assert found.cuts[0].speed is None
    told = "\n".join(tell_placement(found))
    assert "cannot be: " in told
    assert describe_placement(found)["cuts"][0]["seconds"] is None


@given(
    st.floats(1, 1e4), st.floats(1, 1e4), st.floats(1, 1e4), st.booleans(),
    st.integers(1, 64), st.integers(1, 64),
)  # fmt: skip
def test_an_estimate_is_no_faster_than_any_part(worker, rest, device, gpu, count, cpus):
    main = rest if gpu else rest + device
    cost = times(worker=worker, main=main, device=device, gpu=gpu)
    rate = estimate(cost, count, cpus)

    assert cost.worker == pytest.approx(worker * US)
    limits = [count / worker, 1 / main, cpus / (worker + main)]
    limits += [1 / device] if gpu else []
    assert rate * US == pytest.approx(min(limits), rel=1e-6)
    assert estimate(cost, 0, cpus) * US <= 1 / (worker + main) * 1.0001
    assert estimate(cost, count + 1, cpus) >= rate * 0.9999


def speed(rate, low=None, high=None):
    return LoaderSpeed(
        workers=1, images_per_s=rate, low=low or rate, high=high or rate,
        images_per_cpu_s=1.0, cpus=1.0, others=None, first_batch_s=0.0,
        worker_bytes=None, images=1,
    )  # fmt: skip


@given(
    st.lists(st.tuples(st.floats(1, 1e3), st.floats(0, 0.5)), min_size=1, max_size=6)
)
def test_a_cut_is_recommended_only_where_it_was_faster_in_every_round(rates):
    cuts = [
        Cut(i, str(i), "", speed=speed(rate, rate * (1 - off), rate * (1 + off)))
        for i, (rate, off) in enumerate(rates)
    ]
    best = recommended(cuts, cuts[0])

    now = cuts[0].speed
    better = [
        cut for cut in cuts
        if cut.speed.images_per_s > 1.05 * now.images_per_s and cut.speed.low > now.high
    ]  # fmt: skip
    assert (best is cuts[0]) == (not better)
    assert not better or best.speed == max(b.speed for b in better)
    hurried = Cut(9, "never measured", "", estimate=1e9)
    assert recommended([*cuts, hurried], cuts[0]) is best


def test_what_is_told_is_what_was_measured():
    cost = times(worker=100, main=50, device=20)
    cuts = [
        Cut(0, "all on batches", "", cost, 2, 3000.0, speed(2600.0)),
        Cut(1, "all in workers", "", cost, 2, 2000.0, speed(2100.0)),
    ]
    recipe = Recipe(gpu=({"RandomHorizontalFlip": {"p": 0.5}},))
    found = Placement("cuda", [], cuts, cuts[1], cuts[0], recipe, sure=True)
    lines = list(tell_placement(found))

    assert "placement  present: 2,100 images/s (all in workers)" in lines
    assert "           best: all on batches: 2,600 images/s (measured)" in lines
    text = "\n".join(lines[lines.index("version: 1") :])
    assert Recipe.parse(text) == recipe
    assert any("not the same numbers" in line for line in lines)
    assert not any("no GPU" in line or "other programs" in line for line in lines)

    stays = found._replace(best=cuts[1], device="cpu", sure=False)
    said = "\n".join(tell_placement(stays))
    assert "leave it so" in said
    assert "There is no GPU here" in said
    assert "other programs" in said
    assert "version: 1" not in said


def test_what_batch_operations_take_is_in_their_own_stages(write_set):
    shards = write_set(24)
    slow = Recipe(
        cpu=RECIPE.cpu[:1],
        gpu=tuple({"RandomMedianBlur": {"kernel_size": [7, 7], "p": 1}} for _ in "ab"),
    )
    with_batches = with_form(open_set(options(shards, slow)))
    without = with_form(open_set(options(shards, A.Compose([A.RandomCrop(24, 32)]))))
    cost, plain = (measure_stages(one, 16, 0.02) for one in (with_batches, without))

    stages = cost.stages
    assert stages.batch > 3 * (stages.finish + stages.draw + stages.collate)
    assert stages.draw > 0
    assert sum(stages) == pytest.approx(stages.whole)
    assert 0 < cost.worker < stages.whole - stages.batch
    assert cost.developed > 0
    assert (plain.stages.draw, plain.stages.batch, plain.developed) == (0, 0, 0)

    ceilings = measure_ceilings(with_batches, 8, 0.02)
    assert sum(parts(cost, ceilings).values()) == pytest.approx(stages.whole)
    assert judge(cost, ceilings, [speed(10.0)], 2).limit == "batch"


def test_drawing_is_a_part_of_building_and_counted_once():
    cost = _Cost(
        build=10.0, transport=1.0, finish=2.0, draw=3.0, batch=4.0, received=6.0,
        decode_wall=2.0, augment_wall=1.0, build_wall=10.0, samples=1, failures=0,
        pixels=1.0, bytes=1,
    )  # fmt: skip
    assert _stages([cost]) == Stages(
        decode=2.0, augment=1.0, collate=4.0, transport=1.0, finish=2.0, draw=3.0,
        batch=4.0,
    )  # fmt: skip


def test_a_gpu_that_is_busy_limits():
    ceilings = measure_free()
    for device, limit in ((900, "device"), (500, "decode")):
        cost = times(worker=950, main=30, device=device, gpu=True)
        found = judge(cost, ceilings, [speed(1000.0)._replace(workers=8)], 64)
        assert found.limit == limit
    assert found.more


def measure_free():
    """Return ceilings of a set that is read for nothing."""
    return Ceilings(
        first_read=0.0, store_bytes_per_s=None, read=0.0, decode=0.0, photos=1,
        bytes=1.0, pixels=1.0, kinds=(), known_sound=1.0, seekable=0.0, broken=0,
    )  # fmt: skip


def test_each_batch_operation_has_its_own_cost(write_set):
    gpu = [{"RandomHorizontalFlip": {"p": 0.5}},
           {"RandomMedianBlur": {"kernel_size": [7, 7], "p": 1.0}},
           {"RandomInvert": {"p": 0.0}}]  # fmt: skip
    recipe = Recipe(cpu=RECIPE.cpu[:1], gpu=tuple(gpu))
    opened = with_form(open_set(options(write_set(24), recipe, batch_size=24)))
    flip, median, never = measure_batch_operations(opened, 0.01)

    assert 0.2 < flip.applied < 0.8
    assert (median.applied, never.applied) == (1, 0)
    assert median.seconds > 3 * flip.seconds
    assert min(flip.draw_s, median.draw_s) > 0
    plain = with_form(open_set(options(write_set(8, "other"), None)))
    assert measure_batch_operations(plain, 0.01) == []


@pytest.mark.parametrize("given", [None, A.HorizontalFlip(), [A.HorizontalFlip()]])
def test_a_placement_needs_a_recipe(write_set, given):
    with pytest.raises(UsageError, match="needs a recipe"):
        placed(write_set(8), given)


def test_a_device_that_is_not_here_is_refused():
    for name in ("abacus", "", "meta"):
        with pytest.raises(UsageError, match="device is cpu"):
            BenchOptions(shards="x", device=name)
    assert BenchOptions(shards="x", device="cpu").device == "cpu"
