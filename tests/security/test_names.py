"""No name in a shard leaves its folder, forges a field or fools a terminal."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sets import photo
from tars import END, entry, shard

import fiberaug
from fiberaug.errors import DataRefused, SecurityRefused, UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.shards.naming import escape_folder, escape_stem
from fiberaug.shards.reader import build_index
from fiberaug.shards.tar import scan
from fiberaug.shards.writer import check_key

IMAGE = encode_image(photo(0), "png")
HOSTILE = ["../../x.png", "/etc/x.png", "a/../../x.png", "C:\\x.png", "c:x.png",
           "..\\x.png", "a\x1b[2Jx.png", "a\nb.png", "a\x00b.png", "a\u2028b.png",
           "a\x85b.png"]  # fmt: skip
RESERVED = ["a.__bad__", "a.__local_path__", "a.__aug__", "a.__url__", "a.__key__",
            "a.png.__aug__", "a.__record__.json", "b/a.__is_pad__"]  # fmt: skip
pieces = st.sampled_from(
    [*"/\\a\0\n\x1b~ é\u202e", "..", "C:", ".png", "e\u0301", "__aug__"]
)
names = st.one_of(st.text(max_size=40), st.lists(pieces, max_size=8).map("".join))


def read_names(name):
    return [m.name for m in scan(entry(name) + END, shard="s.tar")]


@given(names)
@settings(max_examples=500, deadline=None)
def test_a_name_is_refused_or_stays_in_any_folder_it_is_put_in(tmp_path_factory, name):
    root = (tmp_path_factory.getbasetemp() / "root").resolve()
    try:
        found = read_names(name)
    except DataRefused:
        return
    for member in found:
        assert (root / member).resolve().is_relative_to(root)
        assert "\\" not in member
        assert not any(unicodedata.category(c) in {"Cc", "Cs", "Zl"} for c in member)
        assert len(member) <= 1024
        member.encode()


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_name_that_leaves_its_folder_is_an_error_with_its_place(tmp_path, name):
    path = shard(tmp_path / "s.tar", [("good.png", IMAGE), (name, IMAGE)])
    if "\0" in name:  # a name ends at its first zero byte, whoever reads it
        assert [m.name for m in scan(path.read_bytes(), shard="s.tar")][1] == "a"
        return

    with pytest.raises(SecurityRefused) as caught:
        list(fiberaug.StreamingDataset(str(path), fields={"image": "png"}))
    assert caught.value.shard == "s.tar"
    assert caught.value.offset == len(entry("good.png", IMAGE))
    assert str(caught.value).isprintable()


def test_a_name_has_a_longest_length():
    read_names("n" * 1020 + ".png")
    with pytest.raises(SecurityRefused, match="name_chars=1024"):
        read_names("n" * 1021 + ".png")


@pytest.mark.parametrize("name", RESERVED)
def test_a_field_that_loaders_keep_for_themselves_cannot_come_from_a_shard(
    tmp_path, name
):
    path = shard(tmp_path / "s.tar", [("a.png", IMAGE), (name, b'{"v": 1}')])

    with pytest.raises(SecurityRefused, match="reserved"):
        list(fiberaug.StreamingDataset(str(path), fields={"image": "png"}))
    with path.open("rb") as file, pytest.raises(SecurityRefused, match="reserved"):
        build_index(file.read(), shard="s.tar")


@given(names)
@settings(max_examples=300, deadline=None)
def test_a_key_is_refused_or_read_back_as_it_was_written(name):
    try:
        check_key(name, {"png": b""})
    except UsageError:
        return
    assert read_names(f"{name}.png") == [f"{name}.png"]


@pytest.mark.parametrize("bad", ["a\ud800", "a\x1b", "a\n", "a\x7f"])
def test_a_key_that_no_log_can_hold_is_refused_when_written_and_when_read(
    tmp_path, bad
):
    with fiberaug.ShardWriter(tmp_path / "set") as writer:
        with pytest.raises(UsageError, match="key"):
            writer.write({"__key__": bad, "label": 1})
        writer.write({"__key__": "good", "label": 1})
    with pytest.raises(SecurityRefused):
        read_names(f"{bad}.png")


def test_both_ways_to_write_an_accent_are_one_key(tmp_path):
    composed, apart = "caf\u00e9", "cafe\u0301"
    with fiberaug.ShardWriter(tmp_path / "set") as writer:
        writer.write({"__key__": apart, "image": photo(0)})
        with pytest.raises(UsageError, match="written before"):
            writer.write({"__key__": composed, "image": photo(1)})

    (sample,) = fiberaug.StreamingDataset(str(tmp_path / "set"), train=False)
    assert sample["__key__"] == composed
    assert escape_stem(apart) == escape_stem(composed)
    assert escape_folder(apart) == escape_folder(composed)
