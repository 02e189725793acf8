"""What a mix cannot be is refused with the value, the bound and the remedy."""

import json
import math
import shutil

import pytest
from mixsets import opened, rows

import fiberaug
from fiberaug import Mix, Schedule
from fiberaug.errors import DataRefused, FiberAugError, StoreError, UsageError

OUT_OF_RANGE = [-0.1, 1.5, math.nan, math.inf, True, "0.5"]


@pytest.mark.parametrize("ratio", OUT_OF_RANGE, ids=repr)
def test_a_ratio_out_of_range_is_refused_in_every_form(sets, ratio):
    for make in (
        lambda: Mix(sets["gan"], ratio),
        lambda: Mix(sets["gan"], schedule={"constant": {"ratio": ratio}}),
        lambda: Mix(
            sets["gan"], schedule={"linear": {"start": ratio, "end": 0, "epochs": 2}}
        ),
        lambda: Mix(sets["gan"], 0.1, per_class={"ant": ratio}),
        lambda: Mix(sets["gan"], schedule=Schedule(lambda t: ratio, epochs=1)),
        lambda: Mix.of({"sources": sets["gan"], "ratio": ratio}),
    ):
        with pytest.raises(UsageError):
            make()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"mode": "add"}, "mode must be one of"),
        ({"dry": "end"}, "dry must be one of"),
        ({"match": "both"}, "match must be one of"),
        ({"max_reuse": 0}, "max_reuse must be a number >= 1, got 0"),
        ({"max_reuse": 1.5}, "max_reuse"),
        ({"max_reuse": True}, "max_reuse"),
        ({"mode": "append", "dry": "stop"}, 'give dry="real"'),
        ({"mode": "unit", "per_class": {"ant": 0.5}}, "one excludes the other"),
        ({"per_class": {"ant": 0.5}, "match_labels": False}, "needs match_labels=True"),
        ({"per_class": 0.5}, "per_class gives classes their ratio"),
        ({"per_class": {}}, "per_class gives classes their ratio"),
        ({"per_class": {"ant": "much"}}, "a schedule is"),
        ({"weights": {"gan": 1}}, "weights give each of the sources"),
        ({"weights": {"synthetic": 0}}, "weights must be above 0"),
        ({"weights": {"synthetic": -1}}, "weights must be above 0"),
        ({"weights": {"synthetic": math.nan}}, "must be a number"),
        ({"weights": [1, 2]}, "weights give each of the sources"),
        ({"ratio": 0.5, "schedule": Schedule.constant(0.25)}, "leave ratio out"),
        ({"schedule": "linear"}, "a schedule is"),
        ({"ratio": math.nan, "schedule": Schedule.constant(0.25)}, "ratio"),
        ({"ratio": "0.25", "schedule": Schedule.constant(0.25)}, "ratio"),
        ({"match_labels": "no"}, "match_labels"),
    ],
    ids=str,
)
def test_arguments_that_do_not_fit_are_refused(sets, arguments, said):
    with pytest.raises(UsageError, match=said):
        Mix(sets["gan"], **arguments)


@pytest.mark.parametrize(
    "sources",
    [{}, {"real": "x"}, {"": "x"}, {"a b": "x"}, {"a/b": "x"}, {1: "x"}, {"a": None},
     {"a": 3}, 3, None, {f"s{i}": "x" for i in range(65)}, {"x" * 65: "x"}],
    ids=lambda sources: f"{sources!r:.30}",
)  # fmt: skip
def test_sources_without_a_name_or_a_place_are_refused(sources):
    with pytest.raises(UsageError):
        Mix(sources)


@pytest.mark.parametrize(
    "section",
    [3, "pool", [], {}, {"ratio": 0.5}, {"sources": "x", "ratios": 0.5}],
    ids=str,
)
def test_a_section_of_a_recipe_that_is_no_mix_is_refused(section):
    with pytest.raises(UsageError, match="mix"):
        Mix.of(section)


@pytest.mark.parametrize(
    "mix",
    [
        Mix("place", 0.3),
        Mix({"a": "x", "b": "y"}, 0.5, weights={"a": 2, "b": 1}, mode="append"),
        Mix("x", schedule=Schedule.linear(0.5, 0, epochs=3), dry="real", match="pool"),
        Mix("x", per_class={"ant": 0.5, "bee": Schedule.constant(0.1)}, max_reuse=3),
        Mix("x", 0.5, match_labels=True),
    ],
    ids=["ratio", "two", "schedule", "classes", "each class"],
)
def test_a_section_of_a_recipe_means_the_same_mix(mix):
    again = Mix.of({**mix.to_dict(), "sources": mix.sources})
    assert again.describe() == mix.describe()
    assert again.reuse == mix.reuse


def test_a_sample_may_come_without_end_where_a_source_cycles_else_once():
    assert Mix("x").reuse is None
    assert Mix("x", max_reuse=3).reuse == 3
    assert Mix("x", dry="real").reuse == Mix("x", dry="stop").reuse == 1
    assert Mix("x", dry="real", max_reuse=2).reuse == 2


def test_an_empty_pool_is_refused(sets, tmp_path):
    shutil.copytree(sets["gan"], tmp_path / "pool")
    about = json.loads((tmp_path / "pool/dataset.json").read_text())
    about = {**about, "shards": [], "samples": 0, "counts": {}}
    (tmp_path / "pool/dataset.json").write_text(json.dumps(about))
    with pytest.raises(DataRefused, match="source 'synthetic' of the mix"):
        opened(sets["real"], Mix(str(tmp_path / "pool")))


def test_a_pool_that_is_nowhere_is_refused_with_its_place(sets, tmp_path):
    (tmp_path / "void").mkdir()
    for place in (tmp_path / "nowhere", tmp_path / "void"):
        with pytest.raises(FiberAugError, match=str(place)):
            opened(sets["real"], Mix(str(place)))


def test_a_class_that_the_pool_lacks_is_named_with_the_ways_out(sets, write_set):
    place = write_set((r for r in rows(9) if r["label"] != "bee"), name="no-bees")
    with pytest.raises(UsageError) as refused:
        opened(sets["real"], Mix({"gan": place}))
    for said in (
        "'gan'",
        "['bee']",
        "per_class={name: 0}",
        'dry="real"',
        "match_labels=False",
    ):
        assert said in str(refused.value)
    for way_out in (
        Mix(place, per_class={"bee": 0}),
        Mix(place, dry="real"),
        Mix(place, match_labels=False),
    ):
        assert opened(sets["real"], way_out).mixture is not None


def test_classes_of_other_names_are_refused_with_both(sets, write_set):
    place = write_set(rows(9, classes=("ant", "bee", "wasp")), name="wasps")
    with pytest.raises(UsageError, match=r"\['wasp'\].*'cow'"):
        opened(sets["real"], Mix(place))


def test_a_pool_without_an_index_is_refused_with_the_command(sets, write_set, tmp_path):
    for name in ("real", "pool"):
        write_set(rows(9), name=name)
    for path in (tmp_path / "pool").iterdir():
        if path.suffix != ".tar":
            path.unlink()
    with pytest.raises(UsageError, match=r"'synthetic'.*fiberaug index"):
        opened(sets["real"], Mix(str(tmp_path / "pool" / "*.tar")))
    for path in (tmp_path / "real").iterdir():
        if path.suffix != ".tar":
            path.unlink()
    with pytest.raises(UsageError, match="fiberaug index"):
        opened(str(tmp_path / "real" / "*.tar"), Mix(sets["gan"]))


def test_fields_that_the_pool_lacks_are_named_and_may_be_optional(sets, write_set):
    real = write_set(rows(9, caption=lambda i: f"sample {i}"), name="captions")
    fields = {"image": "jpg;png", "label": "cls", "caption": "txt"}
    with pytest.raises(UsageError, match=r"needs \['caption'\].*with '\?'"):
        opened(real, Mix(sets["gan"]), fields=fields)
    for others in ({"caption?": "txt"}, {}):
        fields = {"image": "jpg;png", "label": "cls", **others}
        assert opened(real, Mix(sets["gan"]), fields=fields).mixture is not None


def test_a_class_that_the_set_lacks_is_refused_in_per_class(sets):
    for name in ("wasp", 7):
        with pytest.raises(UsageError, match=f"per_class names {name!r}.*'ant'"):
            opened(sets["real"], Mix(sets["gan"], per_class={name: 0.5}))


def test_a_share_that_is_no_whole_number_of_a_unit_is_refused_with_its_neighbours(sets):
    with pytest.raises(UsageError, match=r"unit of 4 .* is 1\.2; give 0\.25 or 0\.5"):
        opened(sets["real"], Mix(sets["gan"], 0.3, mode="unit"))


def test_an_appended_share_of_1_is_refused(sets):
    with pytest.raises(UsageError, match="must stay below 1"):
        opened(sets["real"], Mix(sets["gan"], 1, mode="append")).positions(0)


def test_evaluation_and_a_mix_exclude_each_other(sets):
    with pytest.raises(UsageError, match="train=False"):
        opened(sets["real"], Mix(sets["gan"]), train=False)


def test_a_mix_given_twice_is_refused(sets, tmp_path):
    recipe = tmp_path / "recipe.json"
    section = {"sources": {"gan": sets["gan"]}, "ratio": 0.5}
    recipe.write_text(json.dumps({"version": 1, "mix": section}))
    assert opened(sets["real"], None, transform=recipe).mixture is not None
    with pytest.raises(UsageError, match="given twice"):
        opened(sets["real"], Mix(sets["gan"]), transform=recipe)
    evaluated = opened(sets["real"], None, transform=recipe, train=False)
    assert evaluated.mixture is None


def test_labels_are_matched_where_all_have_a_class_and_refused_where_only_some(
    sets, write_set
):
    bare = write_set(
        ({k: v for k, v in row.items() if k != "label"} for row in rows(9)), name="bare"
    )
    with pytest.raises(UsageError):
        opened(sets["real"], Mix(bare))
    fields = {"image": "jpg;png"}
    with pytest.raises(UsageError, match="match_labels=False"):
        opened(sets["real"], Mix(bare), fields=fields)
    with pytest.raises(UsageError, match="have no class id"):
        opened(sets["real"], Mix(bare, match_labels=True), fields=fields)
    assert not opened(bare, Mix(bare)).mixture.law.matched
    mix = Mix(bare, match_labels=False)
    assert not opened(sets["real"], mix, fields=fields).mixture.law.matched


@pytest.mark.parametrize("place", ["/dev/null", "", "pool\0.tar"], ids=[*"abc"])
def test_a_hostile_place_is_refused_clearly(sets, place):
    with pytest.raises((UsageError, StoreError, DataRefused)):
        opened(sets["real"], Mix({"gan": place}))


def messages(caplog, part):
    return [r.getMessage() for r in caplog.records if part in r.getMessage()]


def test_a_share_above_one_half_is_warned_of_once(sets, caplog):
    opened(sets["real"], Mix(sets["gan"], 0.5))
    assert not messages(caplog, "mixed in")
    dataset = opened(sets["real"], Mix(sets["gan"], per_class={"ant": 0.7}))
    with fiberaug.DataLoader(dataset, 8, num_workers=1) as loader:
        list(loader)
    assert len(messages(caplog, "up to 70 %")) == 1


def test_pool_images_that_would_be_enlarged_are_warned_of_once(sets, write_set, caplog):
    near = write_set(rows(9, size=10), name="near")
    opened(sets["real"], Mix(near))
    assert not messages(caplog, "enlarged")
    tiny = write_set(rows(9, size=9), name="tiny")
    dataset = opened(sets["real"], Mix({"gan": tiny}))
    with fiberaug.DataLoader(dataset, 8, num_workers=1) as loader:
        list(loader)
    (said,) = messages(caplog, "enlarged")
    assert "'gan' are 9 px" in said
    assert 'match="pool"' in said


def test_pool_images_of_another_codec_are_warned_of_once(sets, tmp_path, caplog):
    fiberaug.convert(rows(9), tmp_path / "jpegs", encode="jpeg", progress=False)
    opened(sets["real"], Mix({"gan": str(tmp_path / "jpegs")}))
    (said,) = messages(caplog, "codec")
    assert "'gan' are jpeg, real ones png" in said
    caplog.clear()
    opened(sets["real"], Mix({"gan": str(tmp_path / "jpegs")}, match="pool"))
    assert not messages(caplog, "codec")


def test_weights_in_the_order_of_the_sources_are_those_by_name(sets):
    pools = {"gan": sets["gan"], "other": sets["small"]}
    by_name = Mix(pools, 0.5, weights={"gan": 3, "other": 1})

    assert Mix(pools, 0.5, weights=[3, 1]).weights == by_name.weights
    assert Mix(pools, 0.5, weights=(1, 3)).weights != by_name.weights
