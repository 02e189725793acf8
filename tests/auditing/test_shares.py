"""Shares are held to the law of the mix: in every window, and in every class."""

import json
import shutil

import albumentations as A
import numpy as np
import pytest
from audited import edit, lines_of, make_run, outside
from hypothesis import given
from hypothesis import strategies as st
from sets import samples

import fiberaug
from fiberaug.auditing import audit
from fiberaug.auditing.deviations import Asked, Deviation

PIPELINE = A.Compose([A.HorizontalFlip(p=0.5)])
SCHEDULE = fiberaug.Schedule.linear(0.6, 0.1, epochs=2)
MIXES = {
    "replace": {"ratio": 0.3},
    "ramp": {"schedule": SCHEDULE},
    "append": {"ratio": 0.2, "mode": "append"},
    "unit": {"ratio": 0.25, "mode": "unit"},
    "class": {"ratio": 0.3, "per_class": True},
    "classes": {"ratio": 0.3, "per_class": {0: 0.5, 1: 0.1, 2: SCHEDULE, 3: 0}},
    "dry": {"ratio": 0.5, "dry": "real"},
    "stop": {"ratio": 0.5, "dry": "stop"},
    "none": {"ratio": 0},
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A set of 150 samples, and two pools of the same classes."""
    folder = tmp_path_factory.mktemp("sets")
    for name, size in (("own", 150), ("gan", 40), ("diffusion", 24)):
        fiberaug.convert(samples(size), folder / name, progress=False)
    return folder


def run(sets, folder, name, *, many=False, **options):
    pools = {n: str(sets / n) for n in ("gan", "diffusion")} if many else {
        "gan": str(sets / "gan")
    }  # fmt: skip
    mix = fiberaug.Mix(pools, **MIXES[name])
    return make_run(
        str(sets / "own"), folder, PIPELINE, epochs=2, batch_size=10, mix=mix, **options
    )


@pytest.fixture(scope="module")
def plain(sets, tmp_path_factory):
    return run(sets, tmp_path_factory.mktemp("plain") / "run", "replace")


@pytest.fixture
def copy(plain, tmp_path):
    return shutil.copytree(plain, tmp_path / "copy")


@pytest.mark.parametrize("many", [False, True], ids=["one", "two"])
@pytest.mark.parametrize("name", MIXES)
def test_a_mix_as_asked_for_has_nothing_outside(sets, tmp_path, name, many):
    found = audit(run(sets, tmp_path / "run", name, many=many))
    assert outside(found) == [], found.findings
    for share in found.shares:
        if share.label is None and name != "none":
            assert share.asked is not None
            assert share.window is not None or share.worst == 0


def test_of_several_sources_windows_are_within_two(sets, tmp_path):
    pools = {name: str(sets / name) for name in ("gan", "diffusion")}
    mix = fiberaug.Mix(pools, 0.5, weights={"gan": 5, "diffusion": 3})
    folder = make_run(str(sets / "own"), tmp_path / "run", PIPELINE, mix=mix)
    found = audit(folder)
    assert found.ok
    assert 1 < max(s.worst for s in found.shares if s.label is None) < 2
    relabelled(folder, real_in(folder, 2, start=70), "gan")
    assert {*outside(audit(folder))} == {"share"}


def test_what_was_delivered_and_asked_for_is_told(plain):
    shares = {
        (share.epoch, share.source): share
        for share in audit(plain).shares
        if share.label is None
    }
    assert shares[0, "gan"].asked == pytest.approx(45)
    assert shares[0, "gan"].delivered == 45
    assert shares[1, "real"].delivered == 105
    assert shares[0, "gan"].worst < 1
    assert shares[0, "gan"].worst_unit < 1


def real_in(plain, count, start=0, epoch=0):
    """The first real positions of an epoch from some position on."""
    found = [
        line["position"]
        for line in lines_of(plain)
        if line.get("epoch") == epoch and line["origin"] == "real"
    ]
    return [p for p in sorted(found) if p >= start][:count]


def relabelled(folder, places, origin, epoch=0):
    def change(line):
        if line["epoch"] == epoch and line["position"] in places:
            line["origin"] = origin
            line["index"] %= 40  # a sample of the same class, that pools have, too

    edit(folder, change)


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_share_that_is_off_by_two_in_a_window_is_found(copy, epoch):
    places = real_in(copy, 2, start=70, epoch=epoch)
    relabelled(copy, places, "gan", epoch)
    found = audit(copy)
    assert set(outside(found)) == {"share"}
    off = {s.source: s for s in found.shares if s.is_off and s.label is None}
    assert set(off) == {"gan", "real"}
    gan = off["gan"]
    assert gan.epoch == epoch
    assert gan.window[0] <= places[0] < places[1] < gan.window[1]


def test_a_share_that_is_right_in_all_but_not_where_it_should_be_is_found(copy):
    """Two samples of the first half of an epoch stand in its second half."""
    synthetic = [
        line["position"]
        for line in lines_of(copy)
        if line.get("epoch") == 0 and line["origin"] == "gan"
    ]
    relabelled(copy, sorted(synthetic)[:2], "real")
    relabelled(copy, real_in(copy, 2, start=120), "gan")
    found = audit(copy)
    assert "share" in outside(found)
    share = next(s for s in found.shares if s.source == "gan" and s.label is None)
    assert share.delivered == share.asked == 45


def test_a_source_that_the_run_does_not_have_is_found(copy):
    relabelled(copy, [11], "other")
    assert "share" in outside(audit(copy))
    assert "'other', a source that the run does not have" in str(audit(copy).findings)


def test_a_source_is_found_where_the_run_has_no_mix(sets, tmp_path):
    folder = make_run(str(sets / "own"), tmp_path / "run", PIPELINE)
    relabelled(folder, [11], "gan")
    assert outside(audit(folder)) == ["share"]


def off_classes(folder):
    off = [s for s in audit(folder).shares if s.is_off and s.label is not None]
    return {(share.source, share.label) for share in off}


def test_a_class_that_is_off_is_found(sets, tmp_path):
    """Of two classes one has two mixed-in samples more, and one two less."""
    folder = run(sets, tmp_path / "run", "class")
    by_class = {label: [] for label in range(4)}
    for line in lines_of(folder):
        if line.get("epoch") == 0:
            kind = line["origin"], int(line["key"][1:]) % 4
            by_class.setdefault(kind, []).append(line["position"])
    relabelled(folder, by_class["real", 1][:2], "gan")
    assert off_classes(folder) == {("gan", 1), ("real", 1)}
    relabelled(folder, by_class["gan", 2][:2], "real")
    assert off_classes(folder) == {("gan", 1), ("real", 1), ("gan", 2), ("real", 2)}


def test_a_class_of_appended_samples_that_is_off_is_found(sets, tmp_path):
    folder = run(sets, tmp_path / "run", "append")
    assert audit(folder).ok
    mixed = [
        line
        for line in lines_of(folder)
        if line.get("epoch") == 0 and line["origin"] == "gan"
    ]
    other = next(line for line in mixed if int(line["key"][1:]) % 4 == 3)
    changed = [x["position"] for x in mixed if int(x["key"][1:]) % 4 == 0][:2]

    def change(line):
        if line["epoch"] == 0 and line["position"] in changed:
            line.update({name: other[name] for name in ("key", "url", "index")})

    edit(folder, change)
    found = audit(folder)
    assert {s.label for s in found.shares if s.is_off} == {0, 3}


def test_a_unit_that_is_off_is_found(sets, tmp_path):
    folder = run(sets, tmp_path / "run", "unit")
    relabelled(folder, real_in(folder, 2, start=64), "gan")
    found = audit(folder)
    assert {*outside(found)} == {"share"}
    assert max(s.worst_unit for s in found.shares if s.label is None) >= 2


def test_real_samples_stand_in_for_a_dry_source_only_where_that_is_allowed(
    sets, tmp_path, copy
):
    dry = run(sets, tmp_path / "run", "dry")
    found = audit(dry)
    assert found.ok
    short = next(s for s in found.shares if s.source == "gan")
    assert short.delivered < short.asked - 2
    synthetic = [x["position"] for x in lines_of(copy) if x.get("origin") == "gan"]
    relabelled(copy, synthetic[:3], "real")
    assert "share" in outside(audit(copy))


def test_stand_ins_are_counted(copy):
    edit(copy, lambda line: line.update(visit=2**40 + 16 * line["position"])
         if line["position"] == 9 else None)  # fmt: skip
    assert sum(audit(copy).stand_ins.values()) == 2


def test_without_the_pool_nothing_is_claimed_of_shares(sets, copy, tmp_path):
    manifest = json.loads((copy / "manifest.json").read_text())
    (gan,) = manifest["mix"]["sources"]
    gan["shards"] = [str(tmp_path / "gone.tar")]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    relabelled(copy, real_in(copy, 5), "gan")
    found = audit(copy)
    assert found.ok
    assert any("shares of a mix are not known" in f.text for f in found.findings)


def test_which_source_is_not_there_again_is_told(tmp_path):
    for name, size in (("own", 60), ("gan", 20), ("diffusion", 20)):
        fiberaug.convert(samples(size), tmp_path / name, progress=False)
    folder = run(tmp_path, tmp_path / "run", "replace", many=True)
    (tmp_path / "gan").rename(tmp_path / "elsewhere")

    (note,) = [f.text for f in audit(folder).findings if "are not known" in f.text]
    assert f"source 'gan' is not where it was: {tmp_path / 'gan'}" in note
    assert "'diffusion'" not in note


class Steady:
    """Asks for a share of positions, and for the rest of two other sources."""

    mode = "replace"

    def __init__(self, share, split):
        self.share, self.split = share, split

    def asked(self, epoch, start, stop):
        mixed = (stop - start) * self.share
        return {"real": stop - start - mixed, "a": mixed * self.split,
                "b": mixed * (1 - self.split)}  # fmt: skip


@given(
    numbers=st.lists(st.integers(0, 2), min_size=1, max_size=40),
    share=st.floats(0, 1), split=st.floats(0, 1), first=st.integers(0, 40),
)  # fmt: skip
def test_no_window_is_further_off_than_is_said(numbers, share, split, first):
    numbers = np.array(numbers, np.uint8)
    mix = Steady(share, split)
    asked = Asked(mix, 0, first)
    for number, name in enumerate(("real", "a", "b")):
        one = Deviation(name)
        one.measure(numbers == number, asked, asked.marks(numbers != 0, 16), 16)
        worst = max(
            abs((numbers[a:b] == number).sum() - mix.asked(0, a, b)[name])
            for a in range(len(numbers) + 1)
            for b in range(a, len(numbers) + 1)
        )
        assert one.worst == pytest.approx(worst, abs=1e-9)
        start, stop = one.window or (first, first)
        window = numbers[start - first : stop - first] == number
        off = window.sum() - mix.asked(0, start, stop)[name]
        assert abs(off) == pytest.approx(worst, abs=1e-9)
