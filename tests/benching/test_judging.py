"""Laws of the verdict: what limits is what takes most, however fast the machine is."""

from types import SimpleNamespace

import albumentations as A
import pytest
from burning import Burn
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rendered_jpegs import soft_noise

from fiberaug.benching.benching import run_bench
from fiberaug.benching.hints import Trials, give_hints
from fiberaug.benching.opened import open_set
from fiberaug.benching.options import BenchOptions, parse_workers, usable_cpus
from fiberaug.benching.photos import Ceilings, Kind
from fiberaug.benching.report import describe, tell
from fiberaug.benching.stages import Stages, StageTimes
from fiberaug.benching.turns import LoaderSpeed, StepWait
from fiberaug.benching.verdict import LIMITS, Verdict, best_of, judge, parts
from fiberaug.errors import UsageError

US = 1e-6


def times(**stages):
    found = Stages(**(dict.fromkeys(Stages._fields, 10 * US) | stages))
    return StageTimes(
        stages=found, first=found, spread=(found.whole, found.whole), received=20 * US,
        samples=100, passes=3, failures=0, out_pixels=224.0**2, batch_bytes=10**6,
    )  # fmt: skip


def ceilings(**given):
    found = {
        "first_read": 20 * US, "store_bytes_per_s": None, "read": 5 * US,
        "decode": 500 * US, "photos": 100, "bytes": 1e5, "pixels": 2e5, "kinds": (),
        "known_sound": 0.0, "seekable": 0.0, "broken": 0,
    }  # fmt: skip
    return Ceilings(**(found | given))


def speed(workers, rate, **given):
    found = {
        "low": rate * 0.9, "high": rate * 1.1, "images_per_cpu_s": 900.0, "cpus": 1.0,
        "others": 0.0, "first_batch_s": 0.1, "worker_bytes": None, "images": 300,
    }  # fmt: skip
    return LoaderSpeed(workers=workers, images_per_s=rate, **(found | given))


@given(st.dictionaries(st.integers(0, 64), st.floats(1, 1e5), min_size=1))
def test_the_number_of_workers_is_the_smallest_within_5_percent(rates):
    speeds = [speed(workers, rate) for workers, rate in rates.items()]
    best = best_of(speeds)

    assert best.images_per_s >= 0.95 * max(rates.values())
    assert all(
        rate < 0.95 * max(rates.values())
        for workers, rate in rates.items()
        if workers < best.workers
    )


@pytest.mark.parametrize("stage", Stages._fields)
def test_the_largest_stage_limits(stage):
    found = judge(times(**{stage: 900 * US}), ceilings(), [speed(2, 1000)], 8)

    assert found.limit == stage
    assert found.limit in LIMITS
    # Reading is a part of what the engine calls decoding.
    whole = (900 + 10 * (len(Stages._fields) - 1)) * US
    share = (900 - 5 * (stage == "decode")) * US / whole
    assert found.share == pytest.approx(share)


def test_reading_that_takes_most_of_decoding_limits():
    found = judge(times(decode=900 * US), ceilings(read=800 * US), [speed(2, 1000)], 8)
    assert found.limit == "reading"
    assert parts(times(decode=900 * US), ceilings(read=1.0))["decode"] == 0


def test_a_main_process_that_is_busy_limits():
    # 20 us an image in the main process: 47,500 images/s are 95 % of its time.
    busy = judge(times(decode=900 * US), ceilings(), [speed(64, 47_500)], 64)
    idle = judge(times(decode=900 * US), ceilings(), [speed(64, 20_000)], 64)
    alone = judge(times(decode=900 * US), ceilings(), [speed(0, 47_500)], 64)

    assert (busy.limit, busy.share) == ("consumer", pytest.approx(0.95))
    assert idle.limit == alone.limit == "decode"


def test_a_store_that_is_slower_than_the_loader_limits():
    slow = {"first_read": 10_000 * US, "store_bytes_per_s": 1e7}
    found = judge(times(decode=900 * US), ceilings(**slow), [speed(4, 4000)], 4)
    cached = judge(times(decode=900 * US), ceilings(first_read=0), [speed(4, 4000)], 4)

    assert (found.limit, found.share) == ("store", pytest.approx(1 - 100 / 4000))
    assert cached.limit == "decode"


def test_more_workers_are_named_where_cpus_are_left():
    few = [speed(0, 900, cpus=1.0), speed(1, 1800, cpus=2.0)]
    assert judge(times(), ceilings(), few, 8).more
    assert not judge(times(), ceilings(), few, 2).more  # all CPUs are busy
    assert judge(times(), ceilings(), few, 2).full
    over = [*few, speed(2, 1000)]
    assert not judge(times(), ceilings(), over, 8).more


def test_other_programs_make_the_verdict_unsure():
    calm = judge(times(), ceilings(), [speed(2, 900, others=0.1)], 2)
    busy = judge(times(), ceilings(), [speed(2, 900, others=1.4)], 2)
    unknown = judge(times(), ceilings(), [speed(2, 900, others=None)], 2)

    assert (calm.sure, busy.sure, unknown.sure) == (True, False, True)
    assert busy.full
    assert not calm.full


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Six photos of 2 megapixels."""
    place = tmp_path_factory.mktemp("large") / "photos/one"
    place.mkdir(parents=True)
    for i in range(6):
        Image.fromarray(soft_noise(i, 1250, 1600)).save(place / f"p{i}.jpg")
    return str(place.parent)


def bench(shards, transform, **options):
    given = {"batch_size": 4, "workers": (0, 1), "seconds": 0.1, "progress": False}
    return run_bench(BenchOptions(shards=shards, recipe=transform, **(given | options)))


def test_a_set_of_large_photos_is_limited_by_decoding(large):
    found = bench(large, A.Compose([A.CenterCrop(8, 8)]))

    assert found.verdict.limit == "decode"
    assert found.verdict.share > 0.5
    assert found.verdict.workers in {0, 1}


def test_a_slow_operation_limits_and_is_named(write_set):
    found = bench(write_set(16), [A.Compose([A.RandomCrop(24, 24)]), Burn()])

    assert found.verdict.limit == "augment"
    assert found.operations[0].name == "Burn"
    spent = sum(cost.seconds for cost in found.operations)
    assert spent == pytest.approx(found.times.stages.augment)
    (hint,) = (hint for hint in found.hints if hint.name == "operation")
    assert hint.text.startswith("Burn (transforms[")
    assert hint.remedy == ""  # it is behind the crop already
    assert all(speed.images % 4 == 0 for speed in found.speeds)  # whole batches


def test_an_operation_before_the_crop_is_told_to_go_behind_it(large):
    slow = [Burn(), A.Compose([A.RandomCrop(24, 24)])]
    one = open_set(BenchOptions(shards=large, recipe=slow, batch_size=4))
    costs = [cost for cost in bench(large, slow).operations if cost.name == "Burn"]
    verdict = judge(times(), ceilings(), [speed(0, 10)], 2)
    (hint,) = (
        hint
        for hint in give_hints(
            one, times(), ceilings(), operations=costs, verdict=verdict, trials=Trials()
        )
        if hint.name == "operation"
    )
    assert "behind the crop" in hint.remedy


def hints(one, *, of=None, about=None, trials=None, verdict=None):
    found = give_hints(
        one, of or times(decode=900 * US), about or ceilings(), operations=[],
        verdict=verdict or judge(times(), ceilings(), [speed(0, 10, cpus=2.0)], 2),
        trials=trials or Trials(),
    )  # fmt: skip
    return {hint.name: hint for hint in found}


@pytest.fixture
def one(write_set):
    transform = A.Compose([A.RandomCrop(24, 24)])
    return open_set(BenchOptions(shards=write_set(40), recipe=transform, batch_size=4))


@pytest.fixture(autouse=True)
def _as_here(monkeypatch):
    """A compiled decoder, unless a test says otherwise."""
    _compiled(monkeypatch, "")


def _compiled(monkeypatch, why_not):
    there = SimpleNamespace(why_not=lambda: why_not)
    monkeypatch.setattr("fiberaug.benching.hints.turbo", there)


def test_a_hint_stands_on_what_was_measured(one):
    slow, half = times(decode=900 * US), Stages(450 * US, 0, 0, 0, 0)
    same = Stages(880 * US, 0, 0, 0, 0)

    assert hints(one) == {}
    assert set(hints(one, of=slow._replace(first=half._replace(decode=2e-3)))) == {
        "first-epoch"
    }
    told = slow._replace(first=half._replace(decode=2e-3))
    assert hints(one, of=told, about=ceilings(known_sound=1.0)) == {}
    assert set(hints(one, trials=Trials(fast=half))) == {"fast"}
    assert hints(one, trials=Trials(fast=same)) == {}
    assert set(hints(one, trials=Trials(plain=same, seekable=half))) == {"seekable"}
    assert hints(one, trials=Trials(plain=half, seekable=same)) == {}
    # Where decoding is no matter, nothing of it is told.
    assert hints(one, of=times(augment=9e-3), trials=Trials(fast=half)) == {}


def test_photos_that_are_large_or_of_a_slow_kind_are_told(one):
    kinds = (Kind("jpeg", 0.6, 2e-3), Kind("progressive jpeg", 0.3, 9e-3))
    kinds += (Kind("CMYK jpeg", 0.1, 5e-3),)
    found = hints(one, about=ceilings(kinds=kinds, pixels=7e6))

    assert set(found) == {"progressive", "cmyk", "resize"}
    assert "30% of the photos" in found["progressive"].text
    assert "9.0 ms a megapixel, others 2.0" in found["progressive"].text
    assert "--resize 448" in found["resize"].remedy


def test_a_decoder_that_is_absent_is_told_with_its_reason(one, monkeypatch):
    jpegs = ceilings(kinds=(Kind("jpeg", 1.0, 2e-3),))
    assert hints(one, about=jpegs) == {}
    _compiled(monkeypatch, "no C compiler was there")

    assert hints(one, about=jpegs)["compiled-decoder"].remedy == (
        "no C compiler was there"
    )
    assert hints(one, about=ceilings(kinds=(Kind("png", 1.0, 2e-3),))) == {}


def test_a_slow_store_is_told_in_bytes(one):
    slow = ceilings(first_read=1e-2, store_bytes_per_s=1e7)
    verdict = judge(times(), slow, [speed(0, 1000, cpus=2.0)], 2)
    found = hints(one, about=slow, verdict=verdict)

    assert "10.0 MB/s" in found["store"].text
    assert "100.0 MB/s" in found["store"].text  # 1,000 images of 100 kB
    disk = judge(times(), ceilings(first_read=1e-2), [speed(0, 1000, cpus=2.0)], 2)
    assert "disk" in hints(one, verdict=disk)["store"].remedy


def test_the_run_itself_is_told_of(one):
    verdict = Verdict(
        "decode", 0.9, 16, 900, 2.0, 0.0, full=False, sure=True, more=True
    )
    assert set(hints(one, verdict=verdict)) == {"few-batches", "more-workers"}
    assert set(hints(one, verdict=verdict._replace(sure=False, more=False))) == {
        "few-batches", "busy-machine",
    }  # fmt: skip
    assert set(hints(one, of=times()._replace(failures=2))) == {"broken"}


def test_the_report_says_what_the_json_says(write_set):
    found = bench(write_set(16), A.Compose([A.RandomCrop(24, 24)]), train_step_ms=0.5)
    told, lines = describe(found), "\n".join(tell(found))

    assert told["step"]["steps"] == found.step.steps > 0
    costs = dict(told["stages_s"])
    assert costs.pop("whole") == pytest.approx(sum(costs.values()))
    for name, seconds in costs.items():
        assert f"{seconds * 1e6:,.0f}" in lines, name
    assert "RandomCrop" in lines
    assert f"limit    {found.verdict.limit}:" in lines
    assert "step     0 ms a batch" in lines or "step     1 ms a batch" in lines
    waits = "\n".join(tell(found._replace(step=StepWait(0.08, 2, 0.02, 50))))
    assert "with 2 workers: loses 20% of the time; 50 steps waited 20.0 ms" in waits
    keeps = "\n".join(tell(found._replace(step=StepWait(0.08, 2, 0.0005, 50))))
    assert "with 2 workers: keeps up" in keeps
    assert max(map(len, lines.splitlines())) <= 110
    for hint in found.hints:
        assert hint.text.split()[0] in lines


def test_workers_are_auto_or_numbers():
    assert parse_workers(" AUTO ") is None
    assert parse_workers("4, 0,4") == (4, 0, 4)
    options = BenchOptions(shards="x", workers=(4, 0, 4))
    assert options.tried == (0, 4)
    tried = BenchOptions(shards="x").tried
    assert tried[:2] == (0, 1)
    assert tried[-1] == usable_cpus()
    for text in ("", "two", "1,,2", "-1", "1.5", "9999999"):
        with pytest.raises(UsageError, match="--workers is auto"):
            parse_workers(text)


@pytest.mark.parametrize(
    "given", [{"batch_size": 0}, {"seconds": 0}, {"seconds": float("nan")},
              {"train_step_ms": -1}, {"workers": ()}, {"workers": (2000,)}],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(given):
    with pytest.raises(UsageError, match=next(iter(given)).split("_")[0]):
        BenchOptions(shards="x", **given)
