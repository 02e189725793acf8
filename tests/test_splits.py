"""Laws of parts: nothing is in two, nothing is lost, groups are never torn."""

import hashlib
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sets import samples

import fiberaug
from fiberaug.errors import DataRefused, ShardDamaged, UsageError
from fiberaug.jobs.splitting import assign, group_rule, parse_split
from fiberaug.jobs.summary import summarize
from fiberaug.shards.manifest import Manifest

SHARES = {"train": 0.7, "val": 0.2, "test": 0.1}


def keys(path, split, **options):
    data = fiberaug.StreamingDataset(str(path), split=split, **options)
    return [sample["__key__"] for sample in data]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of 30 patients of unequal number, in 3 unbalanced classes."""
    from sets import photo

    from fiberaug.jobs.encoding import encode_image

    root = tmp_path_factory.mktemp("patients")
    for i in range(240):
        patient = (i * i) % 31
        path = root / "abbccc"[patient % 6] / f"p{patient:02d}_{i:03d}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode_image(photo(i), "jpeg"))
    return root


def converted(folder, dst, **options):
    return fiberaug.convert(
        folder, dst, **{"shard_size": "20kB", "workers": 1, "progress": False} | options
    )


def test_parts_have_their_shares_and_make_the_whole(folder, tmp_path):
    converted(folder, tmp_path / "set", split="train=0.7,val=0.2,test=0.1")
    found = {part: keys(tmp_path / "set", part, train=False) for part in SHARES}

    assert {part: len(names) for part, names in found.items()} == {
        "train": 168, "val": 48, "test": 24,
    }  # fmt: skip
    together = [key for names in found.values() for key in names]
    assert len(together) == len(set(together)) == 240
    assert sorted(keys(tmp_path / "set", "all", train=False)) == sorted(together)


def test_info_counts_the_parts(folder, tmp_path):
    converted(folder, tmp_path / "set", split=SHARES)

    assert summarize(tmp_path / "set")["splits"] == {
        "train": 168,
        "val": 48,
        "test": 24,
    }


def test_a_class_is_split_like_the_others(folder, tmp_path):
    manifest = converted(folder, tmp_path / "set", split=SHARES, stratify=True)
    for part, share in SHARES.items():
        data = fiberaug.StreamingDataset(str(tmp_path / "set"), split=part, train=False)
        counts = np.bincount([sample["label"] for sample in data], minlength=3)
        for name, count in zip(manifest.classes, counts, strict=True):
            assert abs(count - share * manifest.counts[name]) <= 1


def test_a_group_is_never_torn(folder, tmp_path):
    converted(
        folder, tmp_path / "set", split=SHARES, group_by=r"(p\d+)_", stratify=True
    )
    patients = {
        part: {re.search(r"p\d+", key)[0] for key in keys(tmp_path / "set", part)}
        for part in SHARES
    }

    assert not patients["train"] & patients["val"]
    assert not patients["train"] & patients["test"]
    assert not patients["val"] & patients["test"]
    assert all(patients.values())
    # And the index says it: a share taken when the set is read keeps them, too.
    later = [
        {re.search(r"p\d+", key)[0] for key in keys(tmp_path / "set", "all", subset=c)}
        for c in ("split < 0.5", "split >= 0.5")
    ]
    assert not later[0] & later[1]
    assert all(later)


def test_a_set_with_parts_is_not_read_as_a_whole_by_mistake(folder, tmp_path):
    converted(folder, tmp_path / "set", split="train=0.8,val=0.2")

    with pytest.raises(UsageError, match=r"split='train', or split=\"all\""):
        fiberaug.StreamingDataset(str(tmp_path / "set"))
    with pytest.raises(UsageError, match=r"no part 'dev': it has \['train', 'val'\]"):
        fiberaug.StreamingDataset(str(tmp_path / "set"), split="dev")
    # Who names the shards of one part has said it.
    one = fiberaug.StreamingDataset(str(tmp_path / "set" / "val-*.tar"))
    assert len(one) == 48


def test_parts_are_the_same_bytes_from_any_workers(folder, tmp_path):
    hashes = []
    for workers in (1, 2):
        target = tmp_path / str(workers)
        converted(folder, target, split=SHARES, stratify=True, workers=workers)
        hashes.append(
            {p.name: hashlib.sha256(p.read_bytes()).digest() for p in target.iterdir()}
        )

    assert hashes[0] == hashes[1]


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.integers(0, 20), min_size=1, max_size=200),
    shares=st.sampled_from([[1.0], [0.5, 0.5], [0.8, 0.1, 0.1], [0.01, 0.99]]),
    seed=st.integers(0, 5),
    data=st.data(),
)
def test_dealing_groups_keeps_them_whole_and_shares_within_a_group(
    groups, shares, seed, data
):
    names = {f"p{i}": share for i, share in enumerate(shares)}
    sizes = np.unique(groups, return_counts=True)[1]
    hashed = np.array(groups, np.uint64)
    labels = None
    if data.draw(st.booleans()):
        size = {"min_size": len(groups), "max_size": len(groups)}
        labels = np.array(data.draw(st.lists(st.integers(0, 3), **size)))
    parts = assign(hashed, names, seed=seed, labels=labels)

    for group in set(groups):
        assert len(set(parts[hashed == group].tolist())) == 1
    again = np.random.default_rng(seed).permutation(len(groups))
    moved = assign(
        hashed[again],
        names,
        seed=seed,
        labels=None if labels is None else labels[again],
    )
    assert (moved == parts[again]).all(), "the order of the samples tells nothing"
    if labels is None:
        counts = np.bincount(parts, minlength=len(shares))
        wanted = np.array(shares) * len(groups)
        assert (counts <= wanted + sizes.max() + 1e-9).all()


@pytest.mark.parametrize("seed", range(20))
def test_small_groups_fill_what_a_large_one_leaves(seed):
    groups = np.array([7] * 50 + list(range(100, 150)), np.uint64)
    parts = assign(groups, {"a": 0.5, "b": 0.5}, seed=seed)

    assert np.bincount(parts).tolist() == [50, 50]


def test_a_part_is_a_set_of_its_own(folder, tmp_path):
    """So that a state or a record of one is refused by another."""
    converted(folder, tmp_path / "set", split=SHARES)
    prints = {
        part: fiberaug.StreamingDataset(
            tmp_path / "set", split=part
        ).shard_set.fingerprint
        for part in ("all", *SHARES)
    }

    assert len(set(prints.values())) == 4
    alone = fiberaug.StreamingDataset(str(tmp_path / "set/val-*.tar"))
    assert alone.shard_set.fingerprint == prints["val"]


def test_a_share_by_hash_does_not_move_when_data_is_added(tmp_path):
    rows = list(samples(60))
    fiberaug.convert(rows[:40], tmp_path / "old", progress=False)
    fiberaug.convert(rows[::-1], tmp_path / "new", shard_size="20kB", progress=False)
    for split in (("train", 0.75), ("val", 0.25), ("test", SHARES), ("val", SHARES)):
        old, new = (
            set(keys(tmp_path / name, split, train=False)) for name in ("old", "new")
        )
        assert new & {row["__key__"] for row in rows[:40]} == old


def test_shares_by_hash_are_apart_and_make_the_whole(tmp_path):
    fiberaug.convert(samples(200), tmp_path / "set", progress=False)
    two = [set(keys(tmp_path / "set", s)) for s in (("train", 0.8), ("val", 0.2))]
    three = [set(keys(tmp_path / "set", (part, SHARES))) for part in SHARES]

    for parts in (two, three):
        assert sum(map(len, parts)) == len(set.union(*parts)) == 200
    assert 140 < len(two[0]) < 180
    small = set(keys(tmp_path / "set", ("train", 0.8), subset="label == 0"))
    assert small == two[0] & set(keys(tmp_path / "set", None, subset="label == 0"))


@pytest.mark.parametrize(
    "split",
    [("train", 0), ("train", 1.5), ("val", {"train": 0.8}), ("x",), 7, ("train", "x"),
     ("a", {"a": 0.8, "b": 0.3})],
    ids=str,
)  # fmt: skip
def test_a_split_that_is_none_says_so(tmp_path, split):
    fiberaug.convert(samples(4), tmp_path / "set", progress=False)
    with pytest.raises(UsageError, match=r"split|share|parts"):
        fiberaug.StreamingDataset(str(tmp_path / "set"), split=split)


@pytest.mark.parametrize(
    "split",
    ["train=0.8", "train=0.8,val=0.1", "train=a", "a=0.5,a=0.5", "a=1.5,b=-0.5", "",
     "a/b=1", "train"],
)  # fmt: skip
def test_shares_add_up_and_have_names(split):
    with pytest.raises(UsageError, match="split"):
        parse_split(split)


def test_a_rule_that_is_no_expression_is_refused():
    with pytest.raises(UsageError, match="group_by"):
        group_rule("(")


def test_a_part_without_a_sample_is_refused(tmp_path, folder):
    with pytest.raises(UsageError, match="'b' would have no sample"):
        converted(folder, tmp_path / "set", split="a=0.999,b=0.001")
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("splits", ['["a"]', '{"train": 3}', '{"train": [1]}', '"a"'])
def test_parts_that_are_none_are_damage(tmp_path, splits):
    fiberaug.convert(samples(4), tmp_path / "set", progress=False)
    path = tmp_path / "set" / "dataset.json"
    path.write_text(path.read_text().replace('"splits": {}', f'"splits": {splits}'))
    with pytest.raises(ShardDamaged):
        Manifest.read(tmp_path / "set")


def test_a_part_that_lists_foreign_shards_reads_none_of_them(tmp_path):
    fiberaug.convert(samples(4), tmp_path / "set", progress=False)
    path = tmp_path / "set" / "dataset.json"
    text = path.read_text().replace('"splits": {}', '"splits": {"a": ["../x.tar"]}')
    path.write_text(text)
    with pytest.raises((UsageError, DataRefused), match="none of the shards"):
        fiberaug.StreamingDataset(str(tmp_path / "set"), split="a")
