"""What the race makes of its runs: medians, ratios, checks, tables."""

import json
import math
import platform
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("not in a checkout", allow_module_level=True)
sys.path += [str(BENCHMARKS), str(BENCHMARKS / "rivals")]  # scripts, no package

import checks  # noqa: E402  # their folder is known now
import contract  # noqa: E402  # their folder is known now
import figures  # noqa: E402  # their folder is known now
import probes  # noqa: E402  # their folder is known now
import race  # noqa: E402  # their folder is known now
import tally  # noqa: E402  # their folder is known now
from entrants import ENTRANTS, Entrant  # noqa: E402  # same
from environments import CannotMake, find_environment  # noqa: E402  # same

MEAN, STD = probes.MEAN, probes.STD
TEXTURE = dict.fromkeys(checks.TEXTURES, 0.5) | {"gray": 0.0, "images": 1024}


def run(number=0, *, images=128, cpu_s=2.0, wall_s=1.0, layout="float32 [3, 224, 224]"):
    facts = {"images": images, "layouts": {layout: images}}
    facts |= {"mean": [0.0, 0.1, 0.2], "std": [1.0, 1.0, 1.0]}
    return {
        "round": number, "images": images, "cpu_s": cpu_s, "wall_s": wall_s,
        "timed": facts, "texture": dict(TEXTURE),
        "warmup": facts | {"labels": {"0": images // 2, "1": images - images // 2}},
    }  # fmt: skip


def crop(image, box, size=224, *, flip=False):
    """Sampled at the nearest pixel, so that it owes nothing to any library."""
    left, top, right, bottom = box
    x = np.floor(left + (np.arange(size) + 0.5) * (right - left) / size).astype(int)
    y = np.floor(top + (np.arange(size) + 0.5) * (bottom - top) / size).astype(int)
    pixels = image[y][:, x[::-1] if flip else x].transpose(2, 0, 1)
    return (pixels.astype(np.float32) / 255 - MEAN) / STD


class TestTally:
    def test_the_rates_are_medians_and_extremes_over_rounds(self):
        runs = [run(i, images=100, cpu_s=s, wall_s=1) for i, s in enumerate((1, 2, 4))]
        assert tally.rates(runs)["per_cpu_s"] == {"median": 50, "min": 25, "max": 100}
        assert tally.rates(runs)["per_s"] == {"median": 100, "min": 100, "max": 100}

    def test_ratios_pair_runs_of_the_same_round(self):
        """A machine that is ten times slower in one round changes no ratio."""
        ours = [run(0, cpu_s=1, wall_s=1), run(1, cpu_s=10, wall_s=10)]
        theirs = [run(1, cpu_s=20, wall_s=40), run(0, cpu_s=2, wall_s=4)]
        found = tally.ratios(ours, theirs)
        assert found["cpu"] == {"median": 2, "min": 2, "max": 2}
        assert found["wall"] == {"median": 4, "min": 4, "max": 4}

    def test_more_images_in_the_same_time_is_more(self):
        found = tally.ratios([run(images=300)], [run(images=200)])
        assert found["cpu"]["median"] == 1.5

    @given(st.lists(st.floats(0.1, 9), min_size=1, max_size=7), st.randoms())
    def test_the_order_of_runs_is_nothing(self, seconds, random):
        runs = [run(i, cpu_s=s) for i, s in enumerate(seconds)]
        mixed = random.sample(runs, len(runs))
        assert tally.ratios(mixed, runs)["cpu"] == {"median": 1, "min": 1, "max": 1}
        assert tally.rates(mixed) == tally.rates(runs)

    def test_rounds_that_one_of_them_lacks_are_left_out(self):
        assert tally.ratios([run(0)], [run(1)]) == {}


class TestCpu:
    def test_seconds_of_children_count_running_and_reaped(self):
        spin = "import time\nwhile time.process_time() < 0.5: pass\n"
        before = contract.tree_cpu_s()
        subprocess.run([sys.executable, "-c", spin], check=True)
        assert contract.tree_cpu_s() - before >= 0.49
        code = f"{spin}print('spun', flush=True)\ninput()"
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            child.stdout.readline()
            running = contract.tree_cpu_s() - before
            child.communicate(b"\n")
        ended = contract.tree_cpu_s() - before
        assert running >= 0.98
        assert ended >= running  # what was counted while it ran is not lost


class TestRunsAreChecked:
    def judge(self, found, **changes):
        about = {"photos": 128, "labels": {"0": 64, "1": 64}}
        arguments = {"work": "rrc", "about": about, "batch": 64} | changes
        return checks.judge_run(found, **arguments)

    def test_what_is_right_passes(self):
        assert self.judge(run()) == []

    def test_a_last_batch_may_be_filled_and_may_be_dropped(self):
        about = {"photos": 100, "labels": {}}
        for images in (64, 100, 128):
            found = run(images=images)
            del found["warmup"]["labels"]
            assert self.judge(found, about=about) == []

    @pytest.mark.parametrize(
        "layout",
        [
            "uint8 [3, 224, 224]",
            "float32 [224, 224, 3]",
            "float32 [3, 192, 192]",
            "float32 [3, 224, 224] strided",
        ],
    )
    def test_other_batches_do_not(self, layout):
        assert layout in self.judge(run(layout=layout))[0]

    def test_half_an_epoch_does_not(self):
        found = run(images=256)
        found["timed"] = {"images": 64, "layouts": found["timed"]["layouts"]}
        assert "no whole epochs" in self.judge(found)[0]

    def test_labels_of_other_images_do_not(self):
        found = run()
        found["warmup"]["labels"] = {"0": 128}
        assert "labels of 128 images" in self.judge(found)[0]

    def test_other_pixels_do_not(self):
        assert checks.compare([run()], [run()]) == []
        dull = run()
        dull["texture"] |= {"contrast": 0.3}
        assert "contrast" in checks.compare([dull], [run()])[0]

    def test_who_smooths_may_have_fewer_edges_but_not_fewer_than_pillow(self):
        soft, softer = run(), run()
        soft["texture"] |= {"edges": 0.2}
        softer["texture"] |= {"edges": 0.1}
        assert "edges" in checks.compare([soft], [run()])[0]
        assert checks.compare([soft], [run()], [soft]) == []
        assert "edges" in checks.compare([softer], [run()], [soft])[0]
        assert checks.compare([softer], [run()], []) == []
        sharp = run()
        sharp["texture"] |= {"edges": 0.9}
        assert "edges" in checks.compare([sharp], [run()], [soft])[0]

    def test_other_means_do_not(self):
        shifted = run()
        shifted["timed"] = shifted["timed"] | {"mean": [0.5, 0.1, 0.2]}
        assert "mean of pixels" in checks.compare([shifted], [run()])[0]


class TestFacts:
    def test_a_batch_is_told_by_type_shape_and_layout(self):
        facts = contract.Facts("rrc")
        images = np.zeros((4, 8, 8, 3), np.float32)
        facts.study({"image": images.transpose(0, 3, 1, 2), "label": [1, 1, 2, 3]})
        found = facts()
        assert found["layouts"] == {"float32 [3, 8, 8] strided": 4}
        assert found["labels"] == {"1": 2, "2": 1, "3": 1}

    def test_labels_must_be_as_many_as_images(self):
        with pytest.raises(ValueError, match="4 images, 3 labels"):
            contract.Facts("rrc").study(
                {"image": np.zeros((4, 3, 8, 8), np.float32), "label": [1, 2, 3]}
            )


WIDTH, HEIGHT = 500, 375
PLACE = {"kind": "place", "width": WIDTH, "height": HEIGHT}
BOXES = st.tuples(
    st.integers(0, 300),
    st.integers(0, 200),
    st.integers(122, 200),
    st.integers(122, 170),
).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


class TestCropsAreReadOffThePixels:
    @given(BOXES, st.booleans(), st.integers(0, 99))
    def test_place_gives_box_and_direction(self, box, flip, number):
        image = crop(probes.render("place", number, WIDTH, HEIGHT), box, flip=flip)
        found = probes.measure(image[None], {"label": [number]}, PLACE)[0]
        left, top, right, bottom = box
        w, h = right - left, bottom - top
        assert found["area"] == pytest.approx(w * h / WIDTH / HEIGHT, rel=0.03)
        assert found["aspect"] == pytest.approx(w / h, rel=0.03)
        assert found["x"] == pytest.approx((left + right) / 2 / WIDTH, abs=0.01)
        assert found["y"] == pytest.approx((top + bottom) / 2 / HEIGHT, abs=0.01)
        assert (found["flip"], found["upright"], found["match"]) == (flip, 1, 1)

    def test_a_label_of_another_photo_is_seen(self):
        image = crop(probes.render("place", 3, WIDTH, HEIGHT), (0, 0, WIDTH, HEIGHT))
        found = probes.measure(image[None], {"label": [4]}, PLACE)[0]
        assert found["match"] == 0

    @given(BOXES, st.floats(0.6, 1.3))
    def test_stripes_give_the_sides_whatever_the_contrast(self, box, contrast):
        image = crop(probes.render("stripes", 0, WIDTH, HEIGHT), box)
        image = ((image * STD + MEAN) * contrast - MEAN) / STD
        probe = PLACE | {"kind": "stripes"}
        found = probes.measure(image[None].astype(np.float32), {}, probe)[0]
        w, h = box[2] - box[0], box[3] - box[1]
        assert found["aspect"] == pytest.approx(w / h, rel=0.04)
        assert found["area"] == pytest.approx(w * h / WIDTH / HEIGHT, rel=0.05)

    @settings(max_examples=25)
    @given(st.integers(0, 9999), st.booleans())
    def test_boxes_and_masks_are_compared_with_the_pixels(self, number, flip):
        image = probes.render("boxes", number, 640, 480).transpose(2, 0, 1)
        left, top, right, bottom = probes.box(number, 640, 480)
        mask = np.zeros((480, 640), np.uint8)
        mask[top:bottom, left:right] = 1
        box = [left, top, right, bottom]
        if flip:
            image, mask = image[..., ::-1], mask[:, ::-1]
            box = [640 - right, top, 640 - left, bottom]
        probe = {"kind": "boxes", "width": 640, "height": 480}
        batch = {"bboxes": [np.array([box])], "mask": mask[None]}
        found = probes.measure(image[None], batch, probe)[0]
        assert found["box"] == found["mask"] == 1
        assert found["flip"] == flip
        batch["bboxes"] = [np.array([[left, top, right, bottom]]) + 60]
        batch["mask"] = np.roll(mask, 60, 0)[None]
        moved = probes.measure(image[None], batch, probe)[0]
        assert max(moved["box"], moved["mask"]) < 0.9


class TestCropsAreChecked:
    def found(self, count=1024, **changes):
        """What a loader is that draws as it should, but for the changes."""
        rng = np.random.default_rng(5)
        drawn = {name: [] for name in ("area", "aspect", "x", "y")}
        for _ in range(count):
            w = h = math.inf
            while not (w <= WIDTH and h <= HEIGHT):
                area = rng.uniform(0.08, 1) * WIDTH * HEIGHT
                aspect = math.exp(rng.uniform(-math.log(4 / 3), math.log(4 / 3)))
                w, h = math.sqrt(area * aspect), math.sqrt(area / aspect)
            drawn["area"].append(w * h / WIDTH / HEIGHT)
            drawn["aspect"].append(w / h)
            drawn["x"].append((rng.uniform(0, WIDTH - w) + w / 2) / WIDTH)
            drawn["y"].append((rng.uniform(0, HEIGHT - h) + h / 2) / HEIGHT)
        drawn = {name: np.array(values) for name, values in drawn.items()}
        drawn |= {"flip": rng.integers(0, 2, count), "match": np.ones(count)}
        drawn["upright"] = np.ones(count)
        drawn |= {name: change(drawn[name]) for name, change in changes.items()}
        rows = [{name: float(v[i]) for name, v in drawn.items()} for i in range(count)]
        labels = {str(i): 1 for i in range(count)}
        return {"probe": rows, "warmup": {"images": count, "labels": labels}}

    def judge(self, found, photos=1024):
        return checks.judge_probe(found, probe=PLACE, photos=photos, batch=64)[0]

    def test_crops_as_asked_for_pass(self):
        assert self.judge(self.found()) == []

    @pytest.mark.parametrize(
        ("name", "change"),
        [
            ("area", lambda v: 0.25 + 0.75 * v),  # no small crops: the usual mistake
            ("aspect", lambda v: v * 0 + 1),
            ("x", lambda v: v * 0 + 0.5),  # centre crops
            ("y", lambda v: np.clip(v + 0.1, 0, 1)),
            ("flip", lambda v: v * 0),
            ("upright", lambda v: v * 0),
            ("match", lambda v: v * 0),
        ],
    )
    def test_other_crops_do_not(self, name, change):
        wrong = self.judge(self.found(**{name: change}))
        assert len(wrong) == 1
        assert name in wrong[0]

    def test_photos_that_did_not_come_are_missed(self):
        found = self.found()
        found["warmup"]["labels"].popitem()
        assert self.judge(found) == ["1 photos did not come in an epoch"]
        assert "960 images of 1024" in self.judge(self.found(960))[0]

    def test_two_distributions_are_apart_as_kolmogorov_and_smirnov_say(self):
        assert checks.apart([1, 2, 3, 4], [1, 2, 3, 4]) == 0
        assert checks.apart([1, 2], [3, 4]) == pytest.approx(1)  # 1 / sqrt(1/2 + 1/2)
        assert checks.apart([1, 2, 3, 4], [3, 4, 5, 6]) == pytest.approx(0.5 / 0.5**0.5)


class TestRanking:
    def task(self):
        slow = [run(i, cpu_s=4, wall_s=2) for i in range(3)]
        wrong = [run(i, cpu_s=0.1) for i in range(3)]
        for one in wrong:
            one["texture"] |= {"edges": 0.01}
        entrants = {
            "fiberaug": {"runs": [run(i) for i in range(3)], "about": "FiberAug"},
            "webdataset": {"runs": slow, "about": "A & <B>"},
            "dali": {"runs": [run(i, cpu_s=1) for i in range(3)], "about": "DALI"},
            "grain": {"runs": wrong, "about": "Grain"},
            "spdl": {
                "runs": [], "about": "SPDL", "status": "absent", "reason": "no | wheel",
            },
        }  # fmt: skip
        found = {"entrants": entrants, "about": "crops", "work": "rrc"}
        race.judge(found)
        return found

    def results(self):
        return {
            "date": "2026-01-01", "rounds": 3, "workers": 2,
            "tasks": {"rrc": self.task()},
            "machine": {"cpu": "A <CPU>", "cores": 2},
            "environments": {"venv": {"python": "3.11.7", "packages": {"torch": "2"}}},
        }  # fmt: skip

    def test_wrong_pixels_are_not_ranked_however_fast(self):
        task = self.task()
        assert task["entrants"]["grain"]["status"] == "failed"
        assert "edges" in task["entrants"]["grain"]["reason"]
        assert set(task["ratios"]["fiberaug"]) == {"webdataset", "dali"}
        assert task["ratios"]["fiberaug"]["webdataset"]["cpu"]["median"] == 2
        assert task["ratios"]["fiberaug"]["dali"]["cpu"]["median"] == 0.5

    def test_a_race_without_the_reference_ranks_what_passed_by_itself(self):
        found = {"entrants": {"dali": {"runs": [run()], "about": "DALI"}}}
        race.judge(found)
        assert found["entrants"]["dali"]["status"] == "ranked"
        assert found["ratios"] == {}

    def test_the_page_has_a_row_for_everyone_losses_included(self):
        page = figures.full(json.loads(json.dumps(self.results())))
        rows = [line for line in page.splitlines() if line.startswith("| ")]
        assert [row.split(" | ")[0] for row in rows] == [
            "| loader", "| DALI", "| FiberAug", "| A & <B>", "| Grain", "| SPDL",
        ]  # fmt: skip
        assert rows[1].endswith("| 0.50 / 1.00 |")
        assert rows[3].endswith("| 2.00 / 2.00 |")
        assert "failed: edges of the images" in rows[4]
        assert "absent: no / wheel" in rows[5]
        assert {row.count("|") for row in rows} == {rows[0].count("|")}

    def test_the_readmes_table_tells_rate_and_ratio(self):
        table = figures.short(self.results())
        assert "| DALI | 128 (0.50) |" in table
        assert "| FiberAug | 64 |" in table
        assert "| Grain | failed its check |" in table
        assert "SPDL" not in table

    def test_the_plot_is_well_formed_and_shows_who_is_ranked(self):
        root = ET.fromstring(figures.plot(self.results()))  # noqa: S314  # our own text
        texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
        assert [t for t in texts if t in {"DALI", "FiberAug", "A & <B>", "Grain"}] == [
            "DALI", "FiberAug", "A & <B>",
        ]  # fmt: skip


def test_every_form_of_ours_is_shown_as_ours():
    assert set(figures.OURS) == {name for name, e in ENTRANTS.items() if e.ours}


def test_only_what_stands_between_the_markers_changes():
    page = f"a\n{figures.BEGIN}\nold\n{figures.END}\nb\n"
    once = figures.between(page, "new")
    assert once == f"a\n{figures.BEGIN}\nnew\n{figures.END}\nb\n"
    assert figures.between(once, "new") == once
    for wrong in ("a", f"{figures.END}{figures.BEGIN}", page + page):
        with pytest.raises(ValueError, match="each once"):
            figures.between(wrong, "new")


def test_the_machine_has_no_name_and_no_path():
    told = json.dumps(race.machine())
    assert platform.node() not in told
    assert "/" not in race.machine()["cpu"]


@pytest.mark.slow
def test_an_environment_that_cannot_be_made_is_absent_with_the_reason(tmp_path):
    (tmp_path / "odd.txt").write_text("./there-is-no.whl\n")
    entrant = Entrant(script="fiberaug", home="odd", about="")
    for _ in range(2):  # what was begun is not taken for what was made
        with pytest.raises(CannotMake, match=r"there-is-no\.whl"):
            find_environment(entrant, tmp_path / "made", tmp_path)
